"""Joining: finished segments and every other stream of the source become the target file, packets untouched."""

from __future__ import annotations

import heapq
import io
import math
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

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


_COVER_SUFFIXES = {"mjpeg": "jpg"}
_COVER_MIME_TYPES = {"mjpeg": "jpeg"}
# By number of channels, for files that do not say which speakers they are for.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of the source that the segments cover, in seconds of its time stamps; None is open."""

    start: Fraction | None = None
    stop: Fraction | None = None
    shift: Fraction = Fraction(0)  # what time stamps lose: a part begins at zero, a whole only not before it


def join(
    segments: Sequence[Path],
    source: SourceInfo,
    picture: PictureFormat,
    sample_aspect_ratio: Fraction,
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
                joining = _Join(segments, source, picture, sample_aspect_ratio, cut, original, out, on_notice)
                num_frames = joining.run(tags)
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
        sample_aspect_ratio: Fraction,
        cut: Cut,
        original: InputContainer,
        out: OutputContainer,
        on_notice: OnNotice,
    ) -> None:
        self.segments, self.source, self.picture, self.cut = segments, source, picture, cut
        self.sample_aspect_ratio = sample_aspect_ratio
        self.original, self.out, self.on_notice = original, out, on_notice

    def run(self, tags: dict[str, str]) -> int:
        stamps, delay = _presentation_order(self.segments, self.source.video.time_base)
        with _open_segment(self.segments[0]) as first:
            video = self.out.add_stream_from_template(first.streams.video[0], opaque=True)
        if video.codec_context.name == "hevc" and self.out.format.name in ("mp4", "mov"):
            video.codec_context.codec_tag = "hvc1"  # the only tag that Apple's players take
        set_color(video.codec_context, self.picture)  # FFV1 and ProRes do not carry it in their packets
        self._set_sample_aspect_ratio(video)
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

    def _set_sample_aspect_ratio(self, video: VideoStream) -> None:
        video.codec_context.sample_aspect_ratio = self.sample_aspect_ratio
        # Matroska keeps it in a field that PyAV cannot set; H.264 and HEVC have one of their own.
        container, codec = self.out.format.name, video.codec_context.codec.canonical_name
        if self.sample_aspect_ratio != 1 and container in ("matroska", "webm") and codec not in ("h264", "hevc"):
            ratio = f"{self.sample_aspect_ratio.numerator}:{self.sample_aspect_ratio.denominator}"
            self.on_notice(f"{container} with {codec} does not keep the pixels' shape ({ratio}): set it in the player")

    def _add_copies(self) -> dict[int, Stream]:
        copies: dict[int, Stream] = {}
        for stream in self.original.streams:
            if stream.index == self.source.video.stream_index:
                continue
            reason = self._why_not(stream)
            if reason is None:
                try:
                    if is_cover(stream) and self.out.format.name == "matroska":
                        self._attach_cover(stream)
                        continue
                    self._try_alone(stream)
                    copies[stream.index] = self._add_copy(self.out, stream)
                    _copy_tags(stream, copies[stream.index])
                except (ValueError, av.error.FFmpegError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    reason = f"{self.out.format.name} cannot hold it ({reason})"
            if reason is not None:
                self.on_notice(f"left out: {_describe(stream)}: {reason}")
        return copies

    def _add_copy(self, out: OutputContainer, stream: Stream) -> Stream:
        copy: Stream = out.add_stream_from_template(stream, opaque=True)
        if isinstance(copy, AudioStream) and copy.codec_context.layout.name.endswith(" channels"):
            usual = _USUAL_LAYOUTS.get(copy.codec_context.layout.nb_channels)
            if usual is not None:  # PCM in MP4 fails without a name for its channels
                copy.codec_context.layout = usual
        return copy

    def _attach_cover(self, stream: Stream) -> None:
        """Matroska keeps covers as attachments; as a stream it would become a second video track."""
        with open_source(self.source.path) as again:
            packets = again.demux(again.streams[stream.index])
            data = next((bytes(packet) for packet in packets if packet.size), b"")
        codec = stream.codec_context.name
        name = stream.metadata.get("filename", f"cover.{_COVER_SUFFIXES.get(codec, codec)}")
        self.out.add_attachment(name, f"image/{_COVER_MIME_TYPES.get(codec, codec)}", data)

    def _try_alone(self, stream: Stream) -> None:
        """Raise what the container would fail with at its header: one stream must not cost the whole file."""
        if stream.type not in ("audio", "subtitle"):
            return
        trial = av.open(io.BytesIO(), "w", format=self.out.format.name)
        try:
            self._add_copy(trial, stream)
            trial.start_encoding()
        finally:
            with suppress(ValueError, av.error.FFmpegError):  # a file without packets may have no valid end
                trial.close()

    def _why_not(self, stream: Stream) -> str | None:
        container = self.out.format.name
        if stream.type == "data":
            return f"{container} gets no data streams yet"
        if stream.type == "video" and not is_cover(stream):
            return "only the first video stream is upscaled"
        if is_cover(stream) and container in ("mov", "matroska"):
            return "mov cannot hold cover pictures" if container == "mov" else None  # there, any image goes
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
            cover = is_cover(packet.stream)
            if cover and packet.size:
                packet.pts = packet.dts = 0  # has none of its own in many files
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.size == 0 or stamp is None or packet.time_base is None:
                continue
            if not cover and not self._is_inside(packet, stamp):
                continue
            if self.cut.shift and not cover:
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
