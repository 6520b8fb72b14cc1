"""Whole pictures out of fields, before upscaling: what is to be done with a video, and FFmpeg's filters doing it."""

from __future__ import annotations

import dataclasses
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vidsr.errors import SourceError, UsageError
from vidsr.frames import FrameTime, PictureFormat, PixelLayout
from vidsr.media.read.fields import MIN_SIDE, FieldOrder, Scan
from vidsr.media.read.filters import add_source, push
from vidsr.media.read.probe import SourceInfo
from vidsr.options.upscale import UpscaleOptions

# bwdif: one frame from each, at its time. bwdif:double: one from each field. fieldmatch: the fields of telecined film
# put together again, frame by frame, and what stays combed deinterlaced. detelecine: that, and the frame in five that
# pulldown added taken out.
Method = Literal["bwdif", "bwdif:double", "fieldmatch", "detelecine"]

_CYCLE, _KEPT = 5, 4  # frames of 2:3 pulldown, and of the film in them
# What bwdif (FFmpeg 8.1) would convert before it works: to another depth or chroma.
_NOT_FOR_BWDIF = frozenset(
    f"{name}le"
    for name in (
        *("yuv440p10", "yuv440p12", "yuva422p12", "yuva444p12", "gray9", "gray10", "gray12", "gray14"),
        *("gbrap10", "gbrap12", "gbrap14"),
    )
)
# What fieldmatch compares; other depths go through it beside a copy in one of these.
_FOR_FIELDMATCH = ("yuv420p", "yuv422p", "yuv444p", "yuv411p")


@dataclass(frozen=True, kw_only=True)
class FieldWork:
    """What is done to the frames of a video between decoding and upscaling."""

    method: Method
    field_order: FieldOrder | None = None  # None: as each frame is flagged
    flagged_only: bool = False  # frames that are flagged progressive stay as they are

    @property
    def ticks(self) -> int:
        """Ticks of the delivered time stamps in one of the source's: all new stamps fall on whole ones."""
        return {"bwdif:double": 2, "detelecine": _KEPT}.get(self.method, 1)

    @property
    def frame_ratio(self) -> Fraction:
        """Frames delivered for each of the source's, but for a last cycle of film that is cut short."""
        return {"bwdif:double": Fraction(2), "detelecine": Fraction(_KEPT, _CYCLE)}.get(self.method, Fraction(1))

    @property
    def puts_film_together(self) -> bool:
        return self.method in ("fieldmatch", "detelecine")

    @property
    def margin(self) -> int:
        """Frames before and after a window that its own frames depend on.

        Inverse telecine counts its cycles from the first frame that it gets, so a part of a video may begin with
        another phase than the same frames have in the whole.
        """
        return {"bwdif": 1, "bwdif:double": 2, "fieldmatch": 2, "detelecine": 0}[self.method]

    def stamps(self, pts: Sequence[int]) -> Iterator[int]:
        """The time stamps, in the finer ticks, of what is delivered for frames with these."""
        if self.method == "bwdif:double":
            for index, stamp in enumerate(pts):
                step = pts[index + 1] - stamp if index + 1 < len(pts) else stamp - pts[index - 1] if index else 1
                yield from (2 * stamp, 2 * stamp + step)
        elif self.method == "detelecine":
            for start in range(0, len(pts), _CYCLE):
                yield from _film_stamps(pts[start : start + _CYCLE])
        else:
            yield from pts


def choose_field_work(source: SourceInfo, scan: Scan, options: UpscaleOptions) -> FieldWork | None:
    """What the options make of a video that was found to be `scan`; None: its frames are taken as they are.

    Raises:
        UsageError: a filter was asked for that cannot work on the video's format or size.
    """
    picture, wish = source.video.picture, options.deinterlace
    # The flags know of changes in mid-stream; where they were found wrong, the content's order holds throughout.
    order = None if scan.field_order == scan.frame_order else scan.field_order
    if options.detelecine:
        _check(_fieldmatch_takes(picture.layout), "--detelecine", picture)
        return FieldWork(method="detelecine", field_order=order)
    if wish in ("bwdif", "bwdif:double"):
        _check(_bwdif_takes(picture.layout), f"--deinterlace {wish}", picture)
        flagged_only = scan.flagged == "mixed" and wish == "bwdif"
        return FieldWork(method=wish, field_order=order, flagged_only=flagged_only)
    # A few combed shots in a progressive film are no reason to touch the rest of it.
    is_minority = scan.kind == "mixed" and scan.flagged == "progressive"
    if wish == "off" or scan.kind == "progressive" or is_minority:
        return None
    if scan.kind == "telecined" and _fieldmatch_takes(picture.layout):
        return FieldWork(method="fieldmatch", field_order=order)
    if not _bwdif_takes(picture.layout) or min(picture.width, picture.height) < MIN_SIDE:
        return None
    return FieldWork(method="bwdif", field_order=order, flagged_only=scan.flagged == "mixed")


def _bwdif_takes(layout: PixelLayout) -> bool:
    return layout.name not in _NOT_FOR_BWDIF


def _fieldmatch_takes(layout: PixelLayout) -> bool:
    return layout.family == "yuv" and not layout.has_alpha and _bwdif_takes(layout)


def _check(takes: bool, flag: str, picture: PictureFormat) -> None:
    if not takes:
        raise UsageError(f"{flag} does not work on {picture.layout.name}; leave it out, or convert the video first")
    if min(picture.width, picture.height) < MIN_SIDE:
        size = f"{picture.width}x{picture.height}"
        raise UsageError(f"{flag} needs {MIN_SIDE}x{MIN_SIDE} pixels, the video has {size}; leave it out")


def field_notes(scan: Scan, work: FieldWork | None) -> list[str]:
    """What there is to know of a video's fields and of what is made of them."""
    lines = [scan.warning] if scan.warning else []
    if work is None:
        return lines
    if scan.kind == "progressive":
        return [*lines, f"the source was not found to be interlaced; {work.method} is run on it as asked"]
    done = {
        "bwdif": "deinterlaced, one frame from each of its own; bwdif:double would keep the motion of single fields",
        "bwdif:double": "deinterlaced, one frame from each field",
        "fieldmatch": "its fields are put together again; --detelecine also drops the frame in five that was added",
        "detelecine": "its fields are put together again, and the frame in five that was added is dropped",
    }
    return [*lines, f"the source is {scan}: {done[work.method]}"]


def field_losses(scan: Scan, work: FieldWork | None) -> list[str]:
    """What the upscaled video will not have of the source for what is done to its fields."""
    if work is None and scan.kind != "progressive":
        return [f"the source is {scan} and is upscaled as if it were not; --deinterlace bwdif would mend it"]
    if work is not None and work.method == "detelecine" and scan.kind != "telecined":
        return ["no telecine was found in the source, but one frame in five is dropped as asked"]
    return []


def delivered(source: SourceInfo, work: FieldWork | None) -> SourceInfo:
    """The source as `read_frames` delivers it under `work`: with the times of those frames, in their own ticks."""
    if work is None or work.ticks == 1:
        return source
    video = source.video
    pts = array("q", work.stamps(source.pts))
    return dataclasses.replace(
        source,
        pts=pts,
        keyframe_pts=array("q", (stamp * work.ticks for stamp in source.keyframe_pts)),
        video=dataclasses.replace(
            video,
            time_base=video.time_base / work.ticks,
            average_rate=None if video.average_rate is None else video.average_rate * work.frame_ratio,
            num_frames_from_index=len(pts),
            first_pts=pts[0],
        ),
    )


class FieldFilter:
    """Runs a video's frames through the filters of a `FieldWork`, in the video's own pixel format.

    The filters are set up anew where the picture changes its size. Time stamps are reckoned from those that came in,
    one for one or by the rule of `FieldWork.stamps`, never by the filters' own clocks.
    """

    def __init__(self, source: SourceInfo, work: FieldWork) -> None:
        self._work, self._video, self._path = work, source.video, source.path
        self._reformatter = VideoReformatter()
        self._graph: Graph | None = None
        self._form: tuple[int, int, str] | None = None
        self._last: VideoFrame | None = None
        self._pending: deque[FrameTime] = deque()  # of frames that went in and have not come out
        self._step = 1  # source ticks between the last two of them

    def run(self, frames: Iterable[tuple[VideoFrame, FrameTime]]) -> Iterator[tuple[VideoFrame, FrameTime]]:
        """Frames in presentation order with source times, to frames with delivered times.

        Raises:
            SourceError: a frame too small for the filters.
        """
        for given, time in frames:
            frame = self._planar(given)
            form = (frame.width, frame.height, frame.format.name)
            if self._graph is None or form != self._form:
                yield from self._flush()
                self._graph, self._form = self._set_up(frame), form
            if self._pending:
                self._step = time.pts - self._pending[-1].pts
            self._pending.append(time)
            frame.pts, frame.time_base = time.pts, self._video.time_base
            self._last = frame
            yield from self._timed(push(self._graph, frame))
        yield from self._flush()

    def _planar(self, frame: VideoFrame) -> VideoFrame:
        name = self._video.picture.layout.name
        if frame.format.name == name:
            return frame
        same_range = {"src_color_range": 2, "dst_color_range": 2} if frame.format.name.startswith("yuvj") else {}
        return self._reformatter.reformat(frame, frame.width, frame.height, name, threads=1, **same_range)

    def _set_up(self, frame: VideoFrame) -> Graph:
        if min(frame.width, frame.height) < MIN_SIDE:
            raise SourceError(
                f"{self._path}: the picture changes its size to {frame.width}x{frame.height}, too small to be "
                "deinterlaced; add --deinterlace off"
            )
        graph, work = Graph(), self._work
        graph.threads = 1  # the network takes a hundred times longer
        rate = self._video.average_rate or Fraction(25)
        # Of these filters only decimate asks for a rate; bwdif, told of one, would share captions out anew by it.
        node = add_source(graph, frame, self._video.time_base, rate if work.method == "detelecine" else None)
        if work.puts_film_together:
            node = self._add_fieldmatch(graph, node, frame)
        mode = "send_field" if work.method == "bwdif:double" else "send_frame"
        deint = "interlaced" if work.flagged_only or work.puts_film_together else "all"
        nodes = [node, graph.add("bwdif", mode=mode, parity=work.field_order or "auto", deint=deint)]
        if work.method == "detelecine":
            nodes.append(graph.add("decimate"))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph

    def _add_fieldmatch(self, graph: Graph, node: FilterContext, frame: VideoFrame) -> FilterContext:
        order = self._work.field_order or "auto"
        if frame.format.name in _FOR_FIELDMATCH:
            matched = graph.add("fieldmatch", order=order)
            node.link_to(matched)
            return matched
        both, shallow = graph.add("split"), graph.add("format", pix_fmts="|".join(_FOR_FIELDMATCH))
        matched = graph.add("fieldmatch", order=order, ppsrc="1")
        node.link_to(both)
        both.link_to(shallow, 0, 0)
        shallow.link_to(matched, 0, 0)
        both.link_to(matched, 1, 1)
        return matched

    def _flush(self) -> Iterator[tuple[VideoFrame, FrameTime]]:
        if self._graph is None or self._last is None or self._form is None:
            return
        frames = []
        if self._work.puts_film_together and self._form[2] not in _FOR_FIELDMATCH:
            self._last.pts = (self._last.pts or 0) + 1
            frames += push(self._graph, self._last)  # with two inputs, fieldmatch withholds the last frame
        frames += push(self._graph, None)
        self._graph = None
        yield from self._timed(frames)
        self._pending.clear()

    def _timed(self, frames: list[VideoFrame]) -> Iterator[tuple[VideoFrame, FrameTime]]:
        """What came out of the filters, each with its time; bwdif gives two of each, decimate four for five."""
        if self._work.method == "detelecine":
            yield from zip(frames, self._film_times(len(frames)), strict=True)
        elif self._work.method == "bwdif:double":
            for first, second in zip(frames[0::2], frames[1::2], strict=True):
                time = self._pending.popleft()
                middle = time.pts + (self._pending[0].pts if self._pending else time.pts + self._step)
                yield first, dataclasses.replace(time, pts=2 * time.pts)
                yield second, FrameTime(pts=middle, duration=time.duration)
        else:
            for frame in frames:
                yield frame, self._pending.popleft()

    def _film_times(self, count: int) -> Iterator[FrameTime]:
        while count > 0:
            cycle = [self._pending.popleft() for _ in range(min(_CYCLE, len(self._pending)))]
            duration = cycle[0].duration * (_CYCLE if len(cycle) == _CYCLE else _KEPT)
            stamps = list(_film_stamps([time.pts for time in cycle]))
            for stamp, captions in zip(stamps, _film_captions(cycle, len(stamps)), strict=True):
                yield FrameTime(pts=stamp, duration=duration, captions=captions)
                count -= 1


def _film_stamps(cycle: Sequence[int]) -> Iterator[int]:
    """Stamps, in quarter ticks, of the four frames of film in a cycle of five: spread evenly over its duration.

    A cycle cut short by the end of the video loses no frame, and its frames keep their times.
    """
    if len(cycle) < _CYCLE:
        yield from (_KEPT * stamp for stamp in cycle)
        return
    for kept in range(_KEPT):  # at position 5/4 * kept
        before, quarters = divmod(_CYCLE * kept, _KEPT)
        yield cycle[before] * (_KEPT - quarters) + (cycle[before + 1] * quarters if quarters else 0)


def _film_captions(cycle: Sequence[FrameTime], num_frames: int) -> Iterator[bytes | None]:
    """The captions of a cycle spread over its fewer frames of film, in order and none lost; triplets stay whole."""
    data = b"".join(time.captions or b"" for time in cycle)
    num_triplets = len(data) // 3
    borders = [3 * (num_triplets * n // num_frames) for n in range(num_frames + 1)]
    for start, stop in pairwise(borders):
        yield data[start:stop] or None
