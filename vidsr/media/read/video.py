"""Decoding: every frame of a video as planes with its exact time stamp, in order; gaps are reported."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidsr.errors import SourceError
from vidsr.frames import Crop, FrameTime, PictureFormat, Plane, clock_text
from vidsr.media.captions import captions_of
from vidsr.media.formats import plane_view
from vidsr.media.read.deinterlace import FieldFilter, FieldWork
from vidsr.media.read.probe import SourceInfo, find_video_stream, open_decoder, open_source

# These store reference frames that are never shown as packets of their own.
_CODECS_WITH_HIDDEN_FRAMES = ("vp8", "vp9", "av1", "libdav1d")

OnNotice = Callable[[str], None]


@dataclass(frozen=True)
class DecodedFrame:
    """One frame; the planes are views of the decoder's memory and hold it alive."""

    time: FrameTime
    planes: tuple[Plane, ...]


@dataclass(frozen=True)
class Window:
    """Frames with start <= pts < stop, in ticks of the video's time base as delivered; None is open."""

    start: int | None = None
    stop: int | None = None

    def __contains__(self, pts: int) -> bool:
        return (self.start is None or pts >= self.start) and (self.stop is None or pts < self.stop)

    def coarser(self, ticks: int) -> Window:
        """The same in a clock of which one tick is `ticks` of this one's: from the first tick inside on."""
        start, stop = (None if end is None else -(-end // ticks) for end in (self.start, self.stop))
        return Window(start, stop)


def read_frames(
    source: SourceInfo,
    window: Window,
    on_notice: OnNotice,
    fields: FieldWork | None = None,
    *,
    stop_at_damage: bool = False,
) -> Iterator[DecodedFrame]:
    """Decode the frames of `window` in presentation order.

    What a damaged file still yields is yielded; its gaps are reported with their time ranges. A frame whose
    size or pixel format differs from the first one's is scaled to it, with a notice.

    Args:
        source: as `probe` saw the file.
        window: the part, in ticks of `delivered(source, fields)`.
        on_notice: told about damage, in sentences.
        fields: what is done to the frames first; times and their number may then differ from the source's.
        stop_at_damage: raise at the first damage what would else be reported.

    Raises:
        SourceError: the file can no longer be opened, or has no video stream any more; or it is damaged.
    """
    reading = _Reading(source, window.coarser(fields.ticks if fields else 1), on_notice, fields, stop_at_damage)
    yield from reading.frames(window)


class _DecodeError(Exception):
    """Decoding on several threads met a damaged frame."""


@dataclass
class _Reading:
    source: SourceInfo
    window: Window  # in the source's own ticks
    on_notice: OnNotice
    fields: FieldWork | None
    stop_at_damage: bool
    last_pts: int | None = None
    num_frames: int = 0
    errors: list[str] = field(default_factory=list)
    next_expected: int = 0  # position in source.pts
    missing: list[int] = field(default_factory=list)  # positions in source.pts
    num_corrupt: int = 0
    noticed: set[str] = field(default_factory=set)

    def frames(self, wanted: Window) -> Iterator[DecodedFrame]:
        reformatter = VideoReformatter()
        picture = self.source.video.picture
        frames = self._in_reach()
        if self.fields is not None:
            frames = FieldFilter(self.source, self.fields).run(frames)
        for frame, time in frames:
            if time.pts in wanted:
                yield DecodedFrame(time, self._planes(frame, time, picture, reformatter))
        self._report_gaps()

    def _in_reach(self) -> Iterator[tuple[VideoFrame, FrameTime]]:
        """The window's frames, and on each side as many as the filters look at beyond it."""
        margin = self.fields.margin if self.fields else 0
        before: deque[tuple[VideoFrame, FrameTime]] = deque(maxlen=margin)
        num_after = 0
        for frame in self._decoded():
            time = self._time(frame)
            if self.window.stop is not None and time.pts >= self.window.stop:
                if num_after == margin:
                    return
                num_after += 1
            else:
                self._tick_off(time.pts)
                if frame.is_corrupt:
                    self.num_corrupt += 1
                    self._stop_if_asked(time.pts, "a frame with visible damage")
            if self.window.start is not None and time.pts < self.window.start:
                before.append((frame, time))
                continue
            yield from before
            before.clear()
            yield frame, time
        yield from before  # a window after the last frame may still hold that one's second field

    def _decoded(self) -> Iterator[VideoFrame]:
        """All frames from somewhere before the window on.

        Decoding on several threads is fast, but an error in one frame takes finished ones with it, and what fills
        the hole is chance. So at the first error or damaged frame the rest is decoded again on one thread, from a
        keyframe before what was delivered.
        """
        try:
            yield from self._decoded_from(self._keyframe_before(self._first_needed()), tolerant=False)
            return
        except _DecodeError:
            num_delivered, last_pts = self.num_frames, self.last_pts
        restart = self._keyframe_before(last_pts)
        for position, frame in enumerate(self._decoded_from(restart, tolerant=True)):
            if self.source.has_timestamps and frame.pts is not None and last_pts is not None:
                delivered = frame.pts <= last_pts
            else:
                delivered = position < num_delivered
            if not delivered:
                yield frame

    def _first_needed(self) -> int | None:
        """The stamp of the first frame that the window or the filters' margin before it begins with."""
        if self.window.start is None or self.fields is None:
            return self.window.start
        position = bisect_left(self.source.pts, self.window.start) - self.fields.margin
        return self.source.pts[max(position, 0)]

    def _decoded_from(self, keyframe: int | None, *, tolerant: bool) -> Iterator[VideoFrame]:
        with open_source(self.source.path) as container:
            stream = find_video_stream(container, self.source.path)
            decoder = open_decoder(stream)
            decoder.thread_type = "AUTO"
            decoder.thread_count = 1 if tolerant else 0  # 0: as many as the machine has
            can_seek = keyframe is None or _seek(container, stream, keyframe)
            frames = self._decode(container.demux(stream), decoder, tolerant)
            first = next(frames, None) if can_seek else None
            overshot = not can_seek or (keyframe is not None and first is not None and (first.pts or 0) > keyframe)
            if first is not None and not overshot:
                yield first
                yield from frames
        if overshot:  # as containers without an index may; from the beginning, then
            yield from self._decoded_from(None, tolerant=tolerant)

    def _keyframe_before(self, pts: int | None) -> int | None:
        """One keyframe earlier than `pts` needs, as open GOPs refer back; None is the beginning."""
        if pts is None or not self.source.has_timestamps:
            return None
        position = bisect_right(self.source.keyframe_pts, pts)
        return self.source.keyframe_pts[position - 2] if position > 2 else None

    def _decode(
        self, packets: Iterator[Packet[VideoStream]], decoder: VideoCodecContext, tolerant: bool
    ) -> Iterator[VideoFrame]:
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is not None and packet.size == 0:
                    packet = None  # the end: what the decoder still holds comes out with it
                for frame in decoder.decode(packet):
                    if frame.is_corrupt and not tolerant:
                        raise _DecodeError
                    yield frame
            except EOFError:
                return
            except av.error.FFmpegError as error:
                if not tolerant:
                    raise _DecodeError from error
                self._note_error(error, packet)
            if packet is None:
                return

    def _note_error(self, error: av.error.FFmpegError, packet: Packet[VideoStream] | None) -> None:
        stamp = packet.pts if packet is not None else None
        where = "" if stamp is None else f" at {clock_text(stamp * self.source.video.time_base)}"
        self.errors.append(f"{error.strerror}{where}")
        self._stop_if_asked(stamp, error.strerror or "a packet that cannot be decoded")

    def _stop_if_asked(self, pts: int | None, what: str) -> None:
        if self.stop_at_damage:
            where = "" if pts is None else f" at {clock_text(pts * self.source.video.time_base)}"
            raise SourceError(
                f"{self.source.path}: damaged{where} ({what}); decoding stops there as on_decode_error asks: get a "
                "whole copy, or go on with what can be decoded by on_decode_error=report"
            )

    def _time(self, frame: VideoFrame) -> FrameTime:
        """The frame's own stamp; made up only where there is none, moved only where it would go backwards."""
        ticks = self._ticks
        if frame.pts is not None and self.source.has_timestamps:
            pts = frame.pts
        elif frame.dts is not None and self.source.has_timestamps:
            pts = frame.dts
        elif self.num_frames < len(self.source.pts) and not self.source.has_timestamps:
            pts = self.source.pts[self.num_frames]
        else:
            pts = self.num_frames * ticks if self.last_pts is None else self.last_pts + ticks
        if self.last_pts is not None and pts <= self.last_pts:
            self._notice_once(
                f"time stamps stand still or go backwards at {clock_text(pts * self.source.video.time_base)}; "
                "such frames are shown one tick after the one before"
            )
            pts = self.last_pts + 1
        self.last_pts = pts
        self.num_frames += 1
        return FrameTime(pts=pts, duration=frame.duration or 0, captions=captions_of(frame))

    @property
    def _ticks(self) -> int:
        video = self.source.video
        rate = video.average_rate or Fraction(25)
        if not self.source.has_timestamps and len(self.source.pts) > 1:
            return self.source.pts[1] - self.source.pts[0]
        return max(round(1 / (rate * video.time_base)), 1)

    def _planes(
        self, frame: VideoFrame, time: FrameTime, picture: PictureFormat, reformatter: VideoReformatter
    ) -> tuple[Plane, ...]:
        layout, ticks = picture.layout, self.fields.ticks if self.fields else 1
        crop = self.source.crop or Crop(left=0, right=0, top=0, bottom=0)
        width, height = picture.width + crop.left + crop.right, picture.height + crop.top + crop.bottom
        same_size = (frame.width, frame.height) == (width, height)
        if not same_size:
            self._notice_once(
                f"the picture changes size to {frame.width}x{frame.height} at "
                f"{clock_text(time.pts * self.source.video.time_base / ticks)}; it is scaled to the first size, "
                f"{width}x{height}"
            )
        if not same_size or frame.format.name.replace("yuvj", "yuv") != layout.name:
            # The interpolation matters for a changed size only; else the same samples are just put elsewhere.
            frame = reformatter.reformat(frame, width, height, layout.name, interpolation="BICUBIC", threads=1)
        shapes = zip(layout.plane_shapes(width, height), picture.plane_shapes, strict=True)
        planes = []
        for index, (whole, (num_lines, num_columns)) in enumerate(shapes):
            is_chroma = index in (1, 2)
            top = crop.top >> layout.chroma_shift_y if is_chroma else crop.top
            left = crop.left >> layout.chroma_shift_x if is_chroma else crop.left
            plane = plane_view(frame.planes[index], whole, layout.dtype)
            planes.append(plane[top : top + num_lines, left : left + num_columns])
        return tuple(planes)

    def _tick_off(self, pts: int | None) -> None:
        """Note which of the expected stamps before `pts` (None: all that are left) no frame came for."""
        expected = self.source.pts
        while self.next_expected < len(expected):
            stamp = expected[self.next_expected]
            past_window = self.window.stop is not None and stamp >= self.window.stop
            if past_window or (pts is not None and stamp > pts):
                return
            if stamp in self.window and stamp != pts:
                self.missing.append(self.next_expected)
                if not self._has_hidden_frames:
                    self._stop_if_asked(stamp, "a frame cannot be decoded")
            self.next_expected += 1

    @property
    def _has_hidden_frames(self) -> bool:
        return self.source.video.codec in _CODECS_WITH_HIDDEN_FRAMES

    def _report_gaps(self) -> None:
        self._tick_off(None)
        if not self.errors and not self.num_corrupt and (self._has_hidden_frames or not self.missing):
            return
        base, stamps = self.source.video.time_base, self.source.pts
        parts = list(self.errors[:1])
        if len(self.errors) > 1:
            parts.append(f"{len(self.errors) - 1} more errors")
        if self.num_corrupt:
            parts.append(f"{self.num_corrupt} frames with visible damage")
        if self.missing:
            spots = [(clock_text(stamps[a] * base), clock_text(stamps[b] * base)) for a, b in _runs(self.missing)]
            ranges = ", ".join(first if first == last else f"{first} to {last}" for first, last in spots)
            parts.append(f"{len(self.missing)} frames could not be decoded, at {ranges}")
        else:
            parts.append("no frame was lost")
        self.on_notice("the source is damaged: " + "; ".join(parts))

    def _notice_once(self, text: str) -> None:
        kind = text[:20]
        if kind not in self.noticed:
            self.noticed.add(kind)
            self.on_notice(text)


def _runs(positions: list[int]) -> list[tuple[int, int]]:
    """Neighbouring positions as (first, last) pairs."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs


def _seek(container: InputContainer, stream: VideoStream, pts: int) -> bool:
    """Go to a keyframe at or before `pts`. False where bare MJPEG cannot: the container is spent then."""
    try:
        container.seek(pts, stream=stream)
    except av.error.FFmpegError:
        return False
    return True
