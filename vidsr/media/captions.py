"""Closed captions: ATSC A/53 caption data found in coded pictures, and put into coded pictures.

The data of a frame ("cc_data", CEA-708-E table 2) is a run of triplets: five marker bits, a valid bit and a type in
the first byte, two bytes of payload. Types 0 and 1 are the CEA-608 pairs of fields 1 and 2, types 2 and 3 are CEA-708.
"""

from __future__ import annotations

from collections.abc import Iterator

from av.video.frame import VideoFrame

from vidsr.media.sidedata import side_data_of

CAPTION_KINDS = ("CEA-608 field 1", "CEA-608 field 2", "CEA-708", "CEA-708")  # by the type of a triplet
# Codecs with a place for captions in the picture itself, by FFmpeg's names of the codecs.
CARRYING_CODECS = frozenset({"h264", "hevc", "av1"})
CODECS_TO_SCAN = CARRYING_CODECS | {"mpeg2video", "libdav1d"}
SCAN_BYTES = 4096  # captions come before the picture's data

_VALID = 0x04
_PADDING = (b"\x80\x80", b"\x00\x00")
_MOST_TRIPLETS = 31  # the count has five bits
# Country USA, provider ATSC, identifier, type "cc_data".
_T35_HEADER = b"\xb5\x00\x31GA94\x03"
_START_CODE = b"\x00\x00\x01"
_AV1_METADATA_OBU = 0x2A  # type 5, with a size
_AV1_METADATA_T35 = 4
_AV1_FRAME_TYPES = (3, 6)  # a frame header of its own, or with its tiles


def captions_of(frame: VideoFrame) -> bytes | None:
    """The caption triplets that a decoder found with a frame."""
    data = (side_data_of(frame) or {}).get("A53_CC")
    return bytes(data) if data is not None and data.buffer_size else None


def scan_packet(data: bytes) -> bytes | None:
    """The first caption triplets in the beginning of a coded picture, without decoding it."""
    at = data.find(b"GA94\x03")
    if at < 0 or at + 7 > len(data) or not data[at + 5] & 0x40:
        return None
    # A third zero-like byte is kept apart by a 3 in H.264 and HEVC.
    body = data[at + 7 : at + 7 + 4 * _MOST_TRIPLETS].replace(b"\x00\x00\x03", b"\x00\x00")
    return body[: 3 * (data[at + 5] & 0x1F)]


def kinds_of(captions: bytes) -> set[str]:
    """Which of `CAPTION_KINDS` there are; padding does not count."""
    return {CAPTION_KINDS[kind] for kind, _ in triplets(captions)}


def triplets(captions: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, two bytes) of every valid triplet that is no padding."""
    for position in range(0, len(captions) - 2, 3):
        head, pair = captions[position], captions[position + 1 : position + 3]
        if head & _VALID and (pair not in _PADDING or head & 3 == 3):
            yield head & 3, pair


def embed(codec: str, packet: bytes, captions: bytes) -> bytes:
    """A coded picture with captions in it, where decoders look for them.

    Args:
        codec: one of `CARRYING_CODECS`.
        packet: all of one shown picture; H.264 and HEVC with start codes (Annex B), AV1 as a temporal unit.
        captions: the triplets.

    Source: ATSC A/53 Part 4 and SCTE 128-1 for H.264, the same message in HEVC; AV1 as in its metadata_itut_t35.
    """
    at = _before_frame(packet) if codec == "av1" else _before_slice(packet, is_hevc=codec == "hevc")
    inserted = b""
    for position in range(0, len(captions), 3 * _MOST_TRIPLETS):
        part = captions[position : position + 3 * _MOST_TRIPLETS]
        message = _T35_HEADER + bytes([0xC0 | len(part) // 3, 0xFF]) + part + b"\xff"
        inserted += _obu(message) if codec == "av1" else _sei(message, is_hevc=codec == "hevc")
    return packet[:at] + inserted + packet[at:]


def _sei(message: bytes, *, is_hevc: bool) -> bytes:
    payload = bytes([4, len(message)]) + message + b"\x80"  # type 4: user data, registered by ITU-T T.35
    escaped, num_zeros = bytearray(), 0
    for byte in payload:
        if num_zeros == 2 and byte <= 3:
            escaped.append(3)
            num_zeros = 0
        escaped.append(byte)
        num_zeros = num_zeros + 1 if byte == 0 else 0
    return b"\x00" + _START_CODE + (b"\x4e\x01" if is_hevc else b"\x06") + bytes(escaped)


def _before_slice(packet: bytes, *, is_hevc: bool) -> int:
    """Where the start code of the first slice begins: parameter sets and other messages come before it."""
    at = packet.find(_START_CODE)
    while at >= 0 and at + 3 < len(packet):
        header = packet[at + 3]
        if header >> 1 & 0x3F < 32 if is_hevc else 1 <= header & 0x1F <= 5:
            return at - 1 if at and packet[at - 1] == 0 else at
        at = packet.find(_START_CODE, at + 3)
    raise ValueError("a coded picture without a slice")


def _obu(message: bytes) -> bytes:
    body = bytes([_AV1_METADATA_T35]) + message + b"\x80"
    return bytes([_AV1_METADATA_OBU]) + _leb128(len(body)) + body


def _before_frame(unit: bytes) -> int:
    """Where the last frame of a temporal unit begins: the one that is shown."""
    at, found = 0, None
    while at < len(unit):
        header = unit[at]
        if not header & 0x02:
            raise ValueError("an AV1 unit without its size")
        size, shift, body = 0, 0, at + (2 if header & 0x04 else 1)
        while True:
            size |= (unit[body] & 0x7F) << shift
            shift, body = shift + 7, body + 1
            if not unit[body - 1] & 0x80:
                break
        if header >> 3 & 0x0F in _AV1_FRAME_TYPES:
            found = at
        at = body + size
    if found is None:
        raise ValueError("an AV1 unit without a frame")
    return found


def _leb128(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _leb128(value >> 7)
