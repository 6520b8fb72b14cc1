"""Text subtitles in the form that another container holds: SubRip, WebVTT or the timed text of MP4.

Text, line breaks, times, bold and italics stay; colours and positions may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from vidsr.media.containers import Container
from vidsr.media.read.probe import open_source

_PLAIN_TEXT_CODECS = frozenset({"subrip", "webvtt", "mov_text", "text"})  # ASS says more than any of them can
_TIME_BASE = Fraction(1, 1000)  # of all these formats but MP4's, where it is one of many
_SECONDS_OF_ENDLESS_CUE = 5  # the last one, if it has no duration
_ASS_FIELDS = b"0,0,Default,,0,0,0,,"


@dataclass(frozen=True)
class Cue:
    """One text between two times, in seconds; `text` is UTF-8 with the markup of an ASS event."""

    start: Fraction
    stop: Fraction
    text: bytes


def converted_codec(codec: str, container: Container) -> str | None:
    """The codec that a text subtitle becomes in a container that does not hold its own; None if it would lose much.

    Args:
        codec: FFmpeg's canonical name, e.g. "subrip".
        container: where it is to go.
    """
    return container.text_codec if codec in _PLAIN_TEXT_CODECS else None


class TextTrack:
    """One subtitle stream of a file, read as a whole, to be written in another codec.

    Raises:
        SourceError: the file cannot be opened any more.
    """

    def __init__(self, path: Path, index: int, codec: str) -> None:
        self._codec = codec
        self._header, self._cues = _read_cues(path, index)
        self._stream: SubtitleStream | None = None

    def add_to(self, out: OutputContainer) -> SubtitleStream:
        """The new stream, in an output whose header is not written yet."""
        stream = self._stream = cast(SubtitleStream, out.add_stream(self._codec))
        context = stream.codec_context
        context.subtitle_header = self._header
        context.time_base = stream.time_base = _TIME_BASE
        context.open()
        return stream

    def packets(
        self, start: Fraction | None, stop: Fraction | None, shift: Fraction
    ) -> Iterator[tuple[Fraction, Packet[Stream]]]:
        """(seconds, packet) of each cue between two times, in order.

        Args:
            start, stop: seconds in the source; cues are clipped to them; None is open.
            shift: seconds that all times lose.
        """
        assert self._stream is not None
        context = self._stream.codec_context
        cues = [cue for cue in (_clip(cue, start, stop, shift) for cue in self._cues) if cue.start < cue.stop]
        for cue in without_overlaps(cues) if self._codec == "mov_text" else cues:
            begin, end = round(cue.start / _TIME_BASE), round(cue.stop / _TIME_BASE)
            text = _escape_for_webvtt(cue.text) if self._codec == "webvtt" else cue.text
            encoded = context.encode_subtitle(SubtitleSet.create(_ASS_FIELDS + text, 0, end - begin))
            packet = cast("Packet[Stream]", encoded)
            packet.stream, packet.time_base = self._stream, _TIME_BASE
            packet.pts = packet.dts = begin
            packet.duration = end - begin
            yield begin * _TIME_BASE, packet


def without_overlaps(cues: Sequence[Cue]) -> list[Cue]:
    """The same texts at the same times, one cue at a time: those that are shown together share one, line by line.

    MP4 has room for one text at any time; a later one would end the earlier.
    """
    times = sorted({time for cue in cues for time in (cue.start, cue.stop)})
    waiting, shown, result = list(reversed(cues)), [], []
    for start, stop in pairwise(times):
        while waiting and waiting[-1].start <= start:
            shown.append(waiting.pop())
        shown = [cue for cue in shown if cue.stop > start]
        if shown:
            result.append(Cue(start, stop, b"\\N".join(cue.text for cue in shown)))
    return result


def _read_cues(path: Path, index: int) -> tuple[bytes, list[Cue]]:
    """(ASS header, cues in order of their start)."""
    found: list[tuple[Fraction, Fraction, bytes]] = []
    with open_source(path) as container:
        stream = cast(SubtitleStream, container.streams[index])
        context = stream.codec_context
        with suppress(av.error.FFmpegError):  # a file cut short: what came before is kept, and reading it says so
            for packet in container.demux(stream):
                text = _text(context, packet) if packet.size else b""
                if text and packet.pts is not None and packet.time_base is not None:
                    start = packet.pts * packet.time_base
                    found.append((start, start + (packet.duration or 0) * packet.time_base, text))
        header = context.subtitle_header or b""
    found.sort(key=lambda cue: cue[0])
    cues = []
    for position, (start, stop, text) in enumerate(found):
        if stop <= start:  # no duration: until the next one
            later = (cue[0] for cue in found[position + 1 :] if cue[0] > start)
            stop = next(later, start + _SECONDS_OF_ENDLESS_CUE)
        cues.append(Cue(start, stop, text))
    return header, cues


def _text(context: SubtitleCodecContext, packet: Packet[SubtitleStream]) -> bytes:
    subtitles = context.decode2(packet)
    events = [rect.ass for rect in subtitles or () if isinstance(rect, AssSubtitle)]
    return b"\\N".join(text for event in events if (text := event.split(b",", 8)[-1].strip()))


def _clip(cue: Cue, start: Fraction | None, stop: Fraction | None, shift: Fraction) -> Cue:
    begin = cue.start if start is None else max(cue.start, start)
    end = cue.stop if stop is None else min(cue.stop, stop)
    return Cue(begin - shift, end - shift, cue.text)


def _escape_for_webvtt(text: bytes) -> bytes:
    """FFmpeg's encoder leaves these as they are, and readers then take them for markup."""
    parts = re.split(rb"(\{\\[^}]*\})", text)  # overrides stand between braces
    for position in range(0, len(parts), 2):
        parts[position] = parts[position].replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return b"".join(parts)
