"""Joining: finished segments and every other stream of the source become the target file, packets untouched."""

from __future__ import annotations

import heapq
import math
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vidsr.errors import TargetError
from vidsr.files import appearing
from vidsr.frames import PictureFormat
from vidsr.media.containers import Container, container_of
from vidsr.media.errors import target_errors
from vidsr.media.read.probe import ALPHA_MODE, SourceInfo, is_cover, open_source
from vidsr.media.timecode import advance, rate_of, tagged_timecode
from vidsr.media.views import sphere_loss, stereo_loss
from vidsr.media.write.chapters import move_chapters
from vidsr.media.write.copies import CopyPlan
from vidsr.media.write.matroska import VideoFields, placeholder, write_fields
from vidsr.media.write.segment import set_color
from vidsr.media.write.subtitles import TextTrack
from vidsr.media.write.template import add_video

OnNotice = Callable[[str], None]
if TYPE_CHECKING:
    AnyPacket = Packet[Stream]  # generic for type checkers only

_PEEKED_PACKETS = 64  # enough to see the first of each sound track


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
    display_matrix: bytes | None,
    copies: CopyPlan,
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
    container = container_of(target)
    with open_source(source.header_file) as original, target_errors(target), appearing(target, part):
        options = _mux_options(container, source, copies)
        with av.open("file:" + os.fspath(part), "w", format=container.name, options=options) as out:
            joining = _Join(segments, source, picture, copies, cut, original, out, container, on_notice)
            fields = _video_fields(source, container, picture, sample_aspect_ratio)
            num_frames = joining.run(fields, display_matrix, tags)
        if container.picture_fields == "matroska":
            with part.open("rb+") as file:
                write_fields(file, joining.title, fields)
    return num_frames


def _mux_options(container: Container, source: SourceInfo, copies: CopyPlan) -> dict[str, str]:
    if not container.edit_lists:
        return {}
    # They hold start offsets in this unit; the default of 1/1000 would round sound against picture.
    scale = math.lcm(source.video.time_base.denominator, 48000)
    options = {
        "movflags": "+faststart+use_metadata_tags" if copies.tags.keeps_any_tag else "+faststart",
        "movie_timescale": str(scale if scale < 2**31 else 90000),
    }
    if source.sphere is not None:
        options["strict"] = "unofficial"  # its box is a vendor's, though everybody reads it
    return options


def _video_fields(
    source: SourceInfo, container: Container, picture: PictureFormat, sample_aspect_ratio: Fraction
) -> VideoFields:
    """What the container is to say of the picture, whether or not the stream says it, too."""
    layout = picture.layout
    is_420 = layout.chroma_shift_x == layout.chroma_shift_y == 1
    return VideoFields(
        sample_aspect_ratio=sample_aspect_ratio,
        hdr=source.hdr,
        stereo=source.stereo if stereo_loss(container, source.stereo) is None else None,
        sphere=source.sphere if sphere_loss(container, source.sphere) is None else None,
        chroma_on_the_left=is_420 and picture.color.siting == "left",
    )


class _Join:
    def __init__(
        self,
        segments: Sequence[Path],
        source: SourceInfo,
        picture: PictureFormat,
        copies: CopyPlan,
        cut: Cut,
        original: InputContainer,
        out: OutputContainer,
        container: Container,
        on_notice: OnNotice,
    ) -> None:
        self.container = container
        self.segments, self.source, self.picture, self.cut = segments, source, picture, cut
        self.copies, self.original, self.out, self.on_notice = copies, original, out, on_notice
        self.title = ""  # of the video track

    def run(self, fields: VideoFields, display_matrix: bytes | None, tags: dict[str, str]) -> int:
        stamps, delay = _presentation_order(self.segments, self.source.video.time_base)
        with _open_segment(self.segments[0]) as first:
            video = add_video(self.out, self.container, first, fields)
        set_color(video.codec_context, self.picture)  # FFV1 and ProRes do not carry it in their packets
        video.codec_context.sample_aspect_ratio = fields.sample_aspect_ratio
        if self.container.timecode_tracks:  # one needs it and fails the file without
            video.codec_context.framerate = self._timecode_rate
        self.copies.tags.labels[self.source.video.stream_index].apply(video)
        _tag_alpha(video, self.picture)
        if self.container.picture_fields == "matroska":
            self.title = next((text for key, text in video.metadata.items() if key.lower() == "title"), "")
            video.metadata["title"] = placeholder(self.title)
        if display_matrix is not None:
            numbers = memoryview(display_matrix).cast("i")
            video.set_display_matrix(list(numbers))
        texts = {n: TextTrack(self.source.path, n, codec) for n, codec in self.copies.converted.items()}
        copies = self.copies.add_to(self.out, self.original, texts)
        self.out.metadata.update({**self.copies.tags.file_tags, **tags})
        self._advance_timecodes()
        copied = self._copied_packets(copies)
        head = list(islice(copied, _PEEKED_PACKETS))
        self._add_chapters(head)
        packets: Iterator[tuple[Fraction, AnyPacket]] = heapq.merge(
            self._video_packets(video, stamps, delay),
            chain(head, copied),
            *(track.packets(self.cut.start, self.cut.stop, self.cut.shift) for track in texts.values()),
            key=lambda item: item[0],
        )
        for _, packet in packets:
            self.out.mux_one(packet)
        return len(stamps)

    def _add_chapters(self, head: list[tuple[Fraction, AnyPacket]]) -> None:
        """Set the chapters where the pictures that they belong to will be."""
        shift = self.cut.shift
        if self.container.starts_at_zero:
            stamps = [
                p.pts * p.time_base + self._lead(p) for _, p in head if p.pts is not None and p.time_base is not None
            ]
            shift += min([*stamps, Fraction(0)])
        self.out.set_chapters(move_chapters(self.original.chapters(), self.cut.start, self.cut.stop, shift))

    def _lead(self, packet: AnyPacket) -> Fraction:
        """Seconds that packets of a track may begin below zero: what its decoder leaves out, where the file says so."""
        stream, tick = packet.stream, self.container.tick
        if not isinstance(stream, AudioStream) or tick is None or not stream.codec_context.sample_rate:
            return Fraction(0)
        delay = Fraction(stream.codec_context.delay, stream.codec_context.sample_rate)
        return math.floor(delay / tick + Fraction(1, 2)) * tick

    @property
    def _timecode_rate(self) -> Fraction:
        video, original = self.source.video, self.original.streams[self.source.video.stream_index]
        timecode = tagged_timecode(original.metadata) or tagged_timecode(self.source.tags) or ""
        return rate_of(timecode, video.average_rate or Fraction(25))

    def _advance_timecodes(self) -> None:
        """Let the time codes of a part say what its first frame had in the source."""
        stamps, base = self.source.pts, self.source.video.time_base
        if self.cut.start is None:
            num_frames = 0
        else:
            first = stamps[min(bisect_left(stamps, self.cut.start / base), len(stamps) - 1)]
            num_frames = round((first - stamps[0]) * base * self._timecode_rate)
        for tagged in (self.out, *self.out.streams):
            for key in [key for key in tagged.metadata if key.lower() == "timecode"]:
                try:
                    tagged.metadata[key] = advance(tagged.metadata[key], num_frames, self._timecode_rate)
                except ValueError:  # announced; it would fail the whole file
                    del tagged.metadata[key]

    def _video_packets(self, stream: Stream, stamps: array[int], delay: int) -> Iterator[tuple[Fraction, AnyPacket]]:
        """Packets in decoding order with decoding times made anew, so that they rise across segment borders."""
        base = self.source.video.time_base
        step = stamps[1] - stamps[0] if len(stamps) > 1 else 1
        last_duration = self._last_duration(stamps[-1]) or step
        # Of these the last is early where frames are reordered.
        by_decoding_time = self.container.length_by_decoding_times
        first_dts = stamps[0] - delay * step
        for position, packet in enumerate(_packets_of(self.segments, base)):
            earlier = position - delay
            packet.dts = stamps[earlier] if earlier >= 0 else stamps[0] + earlier * step
            decoding_time = packet.dts * base
            if by_decoding_time and position == len(stamps) - 1:
                packet.duration = max(stamps[-1] + last_duration - stamps[0] - (packet.dts - first_dts), 1)
            elif packet.pts == stamps[-1] and not by_decoding_time:
                packet.duration = last_duration
            packet.stream = stream
            yield decoding_time, packet

    def _last_duration(self, pts: int) -> int:
        """How long the source shows the last frame, in ticks; others last until the next. NUT does not keep it."""
        original = pts + round(self.cut.shift / self.source.video.time_base)
        following = bisect_right(self.source.pts, original)
        return self.source.pts[following] - original if following < len(self.source.pts) else self.source.last_duration

    def _copied_packets(self, copies: dict[int, Stream]) -> Iterator[tuple[Fraction, AnyPacket]]:
        streams = [self.original.streams[index] for index in copies]
        if not any(stream.type != "attachment" for stream in streams):
            return
        held: dict[int, AnyPacket] = {}  # subtitles without duration last until the next: what is shown at the start
        for packet in self._demuxed([stream for stream in streams if stream.type != "attachment"]):
            cover = is_cover(packet.stream)
            if cover and packet.size:
                packet.pts = packet.dts = 0  # has none of its own in many files
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.size == 0 or stamp is None or packet.time_base is None:
                continue
            if cover or self._is_inside(packet, stamp):
                for early in (*held.values(), packet):
                    yield self._placed(early, copies)
                held.clear()
            elif packet.stream.type == "subtitle" and not packet.duration and self._is_early(packet):
                held[packet.stream.index] = packet
        for early in held.values():
            yield self._placed(early, copies)

    def _placed(self, packet: AnyPacket, copies: dict[int, Stream]) -> tuple[Fraction, AnyPacket]:
        """A packet at its place in the target, with its decoding time in seconds."""
        base = packet.time_base
        assert base is not None
        if packet.stream.type == "subtitle":
            self._clip(packet)
        if self.cut.shift and not is_cover(packet.stream):
            shift = round(self.cut.shift / base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        stamp = packet.dts if packet.dts is not None else packet.pts
        assert stamp is not None
        packet.stream = copies[packet.stream.index]
        return stamp * base, packet

    def _clip(self, packet: AnyPacket) -> None:
        """Let a subtitle that is shown at an edge of the part begin or end there.

        Else Matroska would move all streams for the sake of one that begins before zero.
        """
        if packet.pts is None or packet.time_base is None:
            return
        stop = packet.pts + (packet.duration or 0)
        if self.cut.stop is not None:
            stop = min(stop, round(self.cut.stop / packet.time_base))
        if self._is_early(packet) and self.cut.start is not None:
            packet.pts = packet.dts = math.ceil(self.cut.start / packet.time_base)
        packet.duration = max(stop - packet.pts, 0)

    def _is_early(self, packet: AnyPacket) -> bool:
        if self.cut.start is None or packet.pts is None or packet.time_base is None:
            return False
        return packet.pts * packet.time_base < self.cut.start

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
        # Sound and subtitles that reach into the part belong to it; of telemetry, half a packet would be stretched.
        reaches_in = bool(packet.duration) and packet.stream.type != "data"
        if self.cut.start is not None and (stop <= self.cut.start if reaches_in else start < self.cut.start):
            return False
        return self.cut.stop is None or start < self.cut.stop


def _tag_alpha(video: Stream, picture: PictureFormat) -> None:
    """WebM says by a tag that a VP9 track has alpha."""
    if picture.layout.has_alpha and isinstance(video, VideoStream) and video.codec_context.name == "vp9":
        video.metadata[ALPHA_MODE] = "1"


def _open_segment(path: Path) -> InputContainer:
    return av.open("file:" + os.fspath(path))


def _packets_of(segments: Sequence[Path], time_base: Fraction) -> Iterator[AnyPacket]:
    for path in segments:
        with _open_segment(path) as container:
            stream: Stream = container.streams.video[0]
            is_matroska = "matroska" in container.format.name
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and stream.time_base is not None:
                    # NUT may use a finer time base than it was given; the ticks are whole multiples.
                    ticks = packet.pts * stream.time_base / time_base
                    if is_matroska:  # of milliseconds, as the target will be
                        ticks = Fraction(round(ticks))
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
