"""Joining: finished segments and every other stream of the source become the target file, packets untouched."""

from __future__ import annotations

import heapq
import math
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vidsr.errors import TargetError
from vidsr.frames import PictureFormat
from vidsr.media.probe import SourceInfo, is_cover, open_source
from vidsr.media.writer import publish, set_color, target_errors

OnNotice = Callable[[str], None]
if TYPE_CHECKING:
    AnyPacket = Packet[Stream]  # generic for type checkers only

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of the source that the segments cover, in seconds of its time stamps; None is open."""

    start: Fraction | None = None
    stop: Fraction | None = None

    @property
    def shift(self) -> Fraction:
        """What time stamps lose so that a part begins at zero; a whole keeps its own."""
        return self.start or Fraction(0)


def join(
    segments: Sequence[Path],
    source: SourceInfo,
    picture: PictureFormat,
    cut: Cut,
    part: Path,
    target: Path,
    tags: dict[str, str],
    on_notice: OnNotice,
) -> int:
    """Write `target` from finished segments and the source's audio, subtitles, attachments, tags and chapters.

    The file is written as `part`, on the same file system, and gets its name only when it is complete and on disk.

    Returns:
        The number of video frames in it.

    Raises:
        TargetError, DiskFullError: it cannot be written. SourceError: the source went away.
    """
    name = CONTAINERS[target.suffix.lower()]
    try:
        with open_source(source.path) as original, target_errors(target):
            with av.open("file:" + os.fspath(part), "w", format=name, options=_mux_options(name, source)) as out:
                num_frames = _Join(segments, source, picture, cut, original, out, on_notice).run(tags)
            publish(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return num_frames


def _mux_options(container: str, source: SourceInfo) -> dict[str, str]:
    if container not in ("mp4", "mov"):
        return {}
    # Edit lists hold start offsets in this unit; the default of 1/1000 would round sound against picture.
    scale = math.lcm(source.video.time_base.denominator, 48000)
    return {
        "movflags": "+faststart+use_metadata_tags" if container == "mov" else "+faststart",
        "movie_timescale": str(scale if scale < 2**31 else 90000),
    }


class _Join:
    def __init__(
        self,
        segments: Sequence[Path],
        source: SourceInfo,
        picture: PictureFormat,
        cut: Cut,
        original: InputContainer,
        out: OutputContainer,
        on_notice: OnNotice,
    ) -> None:
        self.segments, self.source, self.picture, self.cut = segments, source, picture, cut
        self.original, self.out, self.on_notice = original, out, on_notice

    def run(self, tags: dict[str, str]) -> int:
        stamps, delay = _presentation_order(self.segments, self.source.video.time_base)
        with _open_segment(self.segments[0]) as first:
            video = self.out.add_stream_from_template(first.streams.video[0], opaque=True)
        if video.codec_context.name == "hevc" and self.out.format.name in ("mp4", "mov"):
            video.codec_context.codec_tag = "hvc1"  # the only tag that Apple's players take
        set_color(video.codec_context, self.picture)  # FFV1 and ProRes do not carry it in their packets
        if self.out.format.name in ("mp4", "mov"):  # a timecode track needs it and fails the file without
            video.codec_context.framerate = self.source.video.average_rate or Fraction(25)
        original_video = self.original.streams[self.source.video.stream_index]
        _copy_tags(original_video, video)
        if self.source.display_matrix is not None:
            numbers = memoryview(self.source.display_matrix).cast("i")
            video.set_display_matrix(list(numbers))
        copies = self._add_copies()
        self.out.metadata.update({**self.source.tags, **tags})
        self._copy_chapters()
        packets = heapq.merge(
            self._video_packets(video, stamps, delay), self._copied_packets(copies), key=lambda item: item[0]
        )
        for _, packet in packets:
            self.out.mux_one(packet)
        return len(stamps)

    def _add_copies(self) -> dict[int, Stream]:
        copies: dict[int, Stream] = {}
        for stream in self.original.streams:
            if stream.index == self.source.video.stream_index:
                continue
            reason = self._why_not(stream)
            if reason is None:
                try:
                    copies[stream.index] = self.out.add_stream_from_template(stream, opaque=True)
                    _copy_tags(stream, copies[stream.index])
                except (ValueError, av.error.FFmpegError) as error:
                    reason = str(error)
            if reason is not None:
                self.on_notice(f"left out: {_describe(stream)}: {reason}")
        return copies

    def _why_not(self, stream: Stream) -> str | None:
        container = self.out.format.name
        if stream.type == "data":
            return f"{container} gets no data streams yet"
        if stream.type == "video" and not is_cover(stream):
            return "only the first video stream is upscaled"
        if stream.codec_context is not None:
            codec = stream.codec_context.codec
            if not {codec.name, codec.canonical_name} & self.out.supported_codecs:
                return f"{container} cannot hold {codec.canonical_name}"
        if stream.type == "attachment" and container != "matroska":
            return f"{container} cannot hold attachments"
        return None

    def _copy_chapters(self) -> None:
        chapters = self.original.chapters()
        if chapters and (self.cut.start is not None or self.cut.stop is not None):
            self.on_notice("left out: chapters, as only a part of the source is written")
        elif chapters:
            self.out.set_chapters(chapters)

    def _video_packets(self, stream: Stream, stamps: array[int], delay: int) -> Iterator[tuple[Fraction, AnyPacket]]:
        """Packets in decoding order with decoding times made anew, so that they rise across segment borders."""
        base = self.source.video.time_base
        step = stamps[1] - stamps[0] if len(stamps) > 1 else 1
        for position, packet in enumerate(_packets_of(self.segments, base)):
            earlier = position - delay
            packet.dts = stamps[earlier] if earlier >= 0 else stamps[0] + earlier * step
            decoding_time = packet.dts * base
            packet.stream = stream
            yield decoding_time, packet

    def _copied_packets(self, copies: dict[int, Stream]) -> Iterator[tuple[Fraction, AnyPacket]]:
        streams = [self.original.streams[index] for index in copies]
        if not any(stream.type != "attachment" for stream in streams):
            return
        for packet in self._demuxed([stream for stream in streams if stream.type != "attachment"]):
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.size == 0 or stamp is None or packet.time_base is None:
                continue
            cover = is_cover(packet.stream)
            if not cover and not self._is_inside(packet, stamp):
                continue
            if self.cut.start is not None and not cover:
                shift = round(self.cut.shift / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                stamp -= shift
            time = stamp * packet.time_base
            packet.stream = copies[packet.stream.index]
            yield time, packet

    def _demuxed(self, streams: list[Stream]) -> Iterator[AnyPacket]:
        try:
            yield from self.original.demux(streams)
        except av.error.FFmpegError as error:  # a file cut short: what came before is kept
            self.on_notice(f"the source is damaged: sound and subtitles end early ({error.strerror})")

    def _is_inside(self, packet: AnyPacket, stamp: int) -> bool:
        base = packet.time_base
        assert base is not None
        start = (packet.pts if packet.pts is not None else stamp) * base
        stop = start + (packet.duration or 0) * base
        if self.cut.start is not None and (stop <= self.cut.start if packet.duration else start < self.cut.start):
            return False
        return self.cut.stop is None or start < self.cut.stop


def _open_segment(path: Path) -> InputContainer:
    return av.open("file:" + os.fspath(path))


def _packets_of(segments: Sequence[Path], time_base: Fraction) -> Iterator[AnyPacket]:
    for path in segments:
        with _open_segment(path) as container:
            stream: Stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and stream.time_base is not None:
                    # NUT may use a finer time base than it was given; the ticks are whole multiples.
                    ticks = packet.pts * stream.time_base / time_base
                    if ticks.denominator != 1:
                        raise TargetError(f"{path}: a time stamp changed in the segment; delete it and run again")
                    duration = round((packet.duration or 0) * stream.time_base / time_base)
                    packet.time_base = time_base
                    packet.pts, packet.duration = int(ticks), duration
                    yield packet


def _presentation_order(segments: Sequence[Path], time_base: Fraction) -> tuple[array[int], int]:
    """All time stamps sorted, and by how many frames decoding must run ahead of showing."""
    in_decoding_order = array("q", (_pts(packet) for packet in _packets_of(segments, time_base)))
    stamps = array("q", sorted(in_decoding_order))
    ahead = (position - bisect_left(stamps, pts) for position, pts in enumerate(in_decoding_order))
    return stamps, max(ahead, default=0)


def _pts(packet: AnyPacket) -> int:
    assert packet.pts is not None
    return packet.pts


def _copy_tags(source: Stream, target: Stream) -> None:
    target.metadata.update(source.metadata)
    target.disposition = source.disposition


def _describe(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
    language = f", {stream.language}" if stream.language else ""
    return f"stream {stream.index} ({stream.type}, {codec}{language})"
