"""What a packet holds, whatever container it came in: for comparing the packets of two files."""

from __future__ import annotations

import re
from hashlib import blake2b

import numpy as np

_PCM = re.compile(r"pcm_[suf](?P<bits>16|24|32|64)(?P<order>le|be)$")
TEXT_SUBTITLES = frozenset({"srt", "subrip", "ass", "ssa", "mov_text", "webvtt", "text"})


def short_digest(data: bytes) -> int:
    """64 bits that tell one payload from another."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def bare_payload(codec: str, data: bytes) -> bytes:
    """A packet's payload without what the container, not the codec, asks for."""
    # Transport streams carry AAC with a header on each packet that MP4 and Matroska keep once per stream.
    if codec == "aac" and len(data) > 9 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return data[7 if data[1] & 1 else 9 :]
    # The same samples, stored from the other end.
    if (match := _PCM.match(codec)) and match["order"] == "be":
        width = int(match["bits"]) // 8
        usable = len(data) // width * width
        return np.frombuffer(data[:usable], np.uint8).reshape(-1, width)[:, ::-1].tobytes() + data[usable:]
    return data


def words_of(codec: str, data: bytes) -> bytes:
    """What a text subtitle says, without format and markup."""
    if codec == "mov_text":
        data = data[2 : 2 + int.from_bytes(data[:2], "big")]
    text = data.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):
        text = text.split(",", 8)[-1].replace("\\N", " ").replace("\\n", " ").replace("\\h", " ")
    text = re.sub(r"<[^>]*>|\{[^}]*\}", "", text)
    return " ".join(text.split()).encode()


def shows_nothing(codec: str, data: bytes) -> bool:
    """Whether a packet of VP8 or VP9 holds only a picture for others to refer to.

    Sources: RFC 6386 9.1 (show_frame); VP9 bitstream specification 6.2 (show_existing_frame, show_frame) and
    annex B (superframes, which end in a shown picture). AV1 packets are temporal units, with one shown picture each.
    """
    if codec == "vp8":
        return not data[0] >> 4 & 1
    if codec != "vp9" or data[0] >> 6 != 0b10 or data[-1] >> 5 == 0b110:
        return False
    profile = (data[0] >> 5 & 1) | (data[0] >> 4 & 1) << 1
    position = 5 if profile == 3 else 4  # the bit of show_existing_frame, from the most significant one
    if data[0] >> (7 - position) & 1:
        return False
    show_frame = position + 2
    return not (data[0] >> (7 - show_frame) & 1)
