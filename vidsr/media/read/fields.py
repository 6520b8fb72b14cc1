"""Whether a video's frames are whole pictures, two fields of different times, or telecined film."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidsr.media.read.filters import make_graph, push
from vidsr.media.read.probe import SourceInfo, find_video_stream, open_source

Kind = Literal["progressive", "interlaced", "telecined", "mixed"]
FieldOrder = Literal["tff", "bff"]

# What is looked at: 54 frames in three runs, each from a keyframe on; 18 frames where nothing but the content could
# speak for fields and there are more lines than in SD. A run must hold three cycles of telecine and a few frames more.
# That is 0.2 s of work at SD and about 1 s at 1080 lines on one slow core.
_NUM_RUNS, _FRAMES_PER_RUN = 3, 18
_MAX_SD_LINES = 576
# No interlaced standard has more lines or more frames a second: such video is taken as it is flagged.
_MAX_LINES, _MAX_RATE = 1088, 31
MIN_SIDE = 32  # in pixels; below, FFmpeg's filters for fields do not work, and fieldmatch even crashes
_CYCLE = 5  # frames of 2:3 pulldown
_MOVED = 8  # code values (8 bit) by which a moving sample differs from the frame before; coding noise stays below
# |line - next| over |line - next but one| where things move: 0.5 for slopes, up to 0.96 in the sharpest progressive
# test pictures, 1.2 to 2.5 where fields of different times alternate.
_COMBED = 1.1
# AVFieldOrder: top field coded first, bottom first, and each with the other displayed first. FFmpeg's raw decoders read
# the latter two like the former, since MOV and Matroska mean by them how lines are interleaved.
_ORDERS_OF_STREAM: dict[int, FieldOrder] = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}
# Their frames know better than the container.
_CODECS_WITH_FLAGS = ("h264", "hevc", "mpeg2video", "mpeg4", "vc1", "dvvideo", "prores", "dnxhd")
_LEAST_EVIDENCE = 5  # frames that idet must be sure of


@dataclass(frozen=True, kw_only=True)
class Scan:
    """How a video's lines were taken: `mixed` has interlaced and progressive parts."""

    kind: Kind
    field_order: FieldOrder | None  # None for progressive
    flagged: Literal["progressive", "interlaced", "mixed"]  # what the coded frames or else the container say
    flagged_order: FieldOrder | None
    frame_order: FieldOrder | None  # what the frames alone say, and the filters can see
    found_by: Literal["flags", "content"]
    warning: str | None = None  # where content and flags contradict each other

    def __str__(self) -> str:
        order = f", {_named(self.field_order)}" if self.field_order else ""
        return f"{self.kind}{order} (by its {self.found_by})"


def _named(order: FieldOrder | None) -> str:
    return "bottom field first" if order == "bff" else "top field first"


@dataclass(frozen=True)
class _Run:
    """What a few frames in a row show."""

    order_of_stream: FieldOrder | None  # as the container says
    flags: str = ""  # of each frame: p, t or b
    idet: str = ""  # of each frame: p, t, b or u, undetermined
    combing: tuple[float, float] = (0, 0)  # differences to the next line and to the next but one, where things move
    is_telecined: bool = False


def recognise_fields(source: SourceInfo) -> Scan:
    """Look at a sample of the frames: at their flags, at FFmpeg's `idet` verdict, and for the cadence of telecine.

    Content that does not move enough to tell is taken as it is flagged. Where the two contradict each other the
    content wins, but to be called interlaced against its flags it must also be visibly combed.
    """
    runs = list(_sample(source))
    flagged, flagged_order = _by_flags(Counter("".join(run.flags for run in runs)))
    frame_order = flagged_order
    if flagged == "progressive" and (order_of_stream := runs[0].order_of_stream) is not None:
        flagged, flagged_order = "interlaced", order_of_stream
    is_flagged = flagged != "progressive"
    content = _agreed([_content_of(run, is_flagged=is_flagged) for run in runs], is_flagged=is_flagged)
    order = _order_of(Counter("".join(run.idet for run in runs)))
    if content is None or (flagged == "mixed" and content != "telecined"):
        return Scan(
            kind=flagged,
            field_order=flagged_order,
            flagged=flagged,
            flagged_order=flagged_order,
            frame_order=frame_order,
            found_by="flags",
        )
    return Scan(
        kind=content,
        field_order=None if content == "progressive" else order or flagged_order or "tff",
        flagged=flagged,
        flagged_order=flagged_order,
        frame_order=frame_order,
        found_by="content",
        warning=_contradiction(content, order, flagged, flagged_order),
    )


def _by_flags(flags: Counter[str]) -> tuple[Literal["progressive", "interlaced", "mixed"], FieldOrder | None]:
    if not flags["t"] + flags["b"]:
        return "progressive", None
    return "mixed" if flags["p"] else "interlaced", "tff" if flags["t"] >= flags["b"] else "bff"


def _agreed(kinds: list[Kind | None], *, is_flagged: bool) -> Kind | None:
    found = {kind for kind in kinds if kind is not None}
    if is_flagged and found == {"progressive"} and 2 * kinds.count("progressive") <= len(kinds):
        return None  # to leave combing in does more harm than to deinterlace what would not need it
    return None if not found else found.pop() if len(found) == 1 else "mixed"


def _content_of(run: _Run, *, is_flagged: bool) -> Kind | None:
    """What the pictures of a run show by themselves; None where they do not tell."""
    if run.is_telecined:
        return "telecined"
    found = Counter(run.idet)
    num_interlaced, num_progressive = found["t"] + found["b"], found["p"]
    near, far = run.combing
    if num_interlaced + num_progressive < _LEAST_EVIDENCE:
        return None
    if num_progressive > 9 * num_interlaced:
        return "progressive" if not is_flagged or 2 * num_progressive >= len(run.idet) else None
    # What moves up or down by a line in a frame looks interlaced to idet, but is not combed.
    if near > _COMBED * far and num_interlaced >= num_progressive * (1 if is_flagged else 3):
        return "interlaced" if is_flagged or _order_of(found) else None
    return None


def _order_of(found: Counter[str]) -> FieldOrder | None:
    """The field order that idet saw in most frames; None if it saw either in turn."""
    if max(found["t"], found["b"]) < max(3 * min(found["t"], found["b"]), 1):
        return None
    return "tff" if found["t"] > found["b"] else "bff"


def _contradiction(kind: Kind, order: FieldOrder | None, flagged: str, flagged_order: FieldOrder | None) -> str | None:
    if kind == "mixed":
        return f"the source is flagged as {flagged}, but some of its content is progressive and some is interlaced"
    if kind == "progressive":
        return (
            None if flagged == "progressive" else "the source is flagged as interlaced, but its content is progressive"
        )
    if flagged == "progressive":
        return f"the source is flagged as progressive, but its content is {kind}"
    if order is not None and order != flagged_order:
        return f"the source is flagged as {_named(flagged_order)}, but its content is {_named(order)}"
    return None


def _sample(source: SourceInfo) -> Iterator[_Run]:
    num_frames, num_runs = len(source.pts), _NUM_RUNS
    if not source.is_interlaced and source.video.picture.height > _MAX_SD_LINES:
        num_runs = 1
    with open_source(source.path) as container:
        stream = find_video_stream(container, source.path)
        stream.codec_context.thread_type = "AUTO"
        if not source.has_timestamps or num_frames <= num_runs * _FRAMES_PER_RUN:
            yield _look_at(_frames(container, stream, None, num_runs * _FRAMES_PER_RUN), stream, source)
            return
        for run in range(num_runs):
            start = source.pts[(2 * run + 1) * num_frames // (2 * num_runs)]
            yield _look_at(_frames(container, stream, start, _FRAMES_PER_RUN), stream, source)


def _frames(container: InputContainer, stream: VideoStream, start: int | None, num_frames: int) -> Iterator[VideoFrame]:
    try:
        if start is not None:
            container.seek(start, stream=stream)
        yield from islice(container.decode(stream), num_frames)
    except av.error.FFmpegError:
        return  # a damaged place tells nothing of fields; reading reports it


def _look_at(frames: Iterator[VideoFrame], stream: VideoStream, source: SourceInfo) -> _Run:
    look: _Look | None = None
    picture, rate = source.video.picture, source.video.average_rate or 0
    is_fitting = min(picture.width, picture.height) >= MIN_SIDE and picture.height <= _MAX_LINES
    for frame in frames:
        if look is None:
            look = _Look(frame, watches_content=is_fitting and rate <= _MAX_RATE)
        if not look.add(frame):
            break
    return _Run(_order_of_stream(stream)) if look is None else look.run(_order_of_stream(stream))


class _Look:
    """What frames in a row show, gathered one by one, up to a change of their size."""

    def __init__(self, first: VideoFrame, *, watches_content: bool) -> None:
        self._form = (first.width, first.height, first.format.name)
        # PyAV does not tell the order of fields; this filter lets frames pass whose top field is first.
        self._top_first = make_graph(first, "select", expr="eq(interlace_type,TOPFIRST)")
        self._idet = make_graph(first, "idet") if watches_content else None
        self._flags, self._verdicts = "", ""
        self._near = self._far = 0.0
        self._phases: list[list[float]] = [[] for _ in range(_CYCLE)]  # the top field's share, by place in the cycle
        self._before: npt.NDArray[np.int16] | None = None

    def add(self, frame: VideoFrame) -> bool:
        if (frame.width, frame.height, frame.format.name) != self._form:
            return False
        frame.pts = len(self._flags)
        is_top_first = bool(push(self._top_first, frame))
        self._flags += "p" if not frame.interlaced_frame else "t" if is_top_first else "b"
        if self._idet is not None:
            self._verdicts += _verdicts(push(self._idet, frame))
            now = _luma(frame)
            if self._before is not None:
                self._measure_combing(self._before, now)
                self._measure_cadence(self._before, now)
            self._before = now
        return True

    def run(self, order_of_stream: FieldOrder | None) -> _Run:
        verdicts = self._verdicts + (_verdicts(push(self._idet, None)) if self._idet is not None else "")
        return _Run(order_of_stream, self._flags, verdicts, (self._near, self._far), _is_pulldown(self._phases))

    def _measure_combing(self, before: npt.NDArray[np.int16], now: npt.NDArray[np.int16]) -> None:
        """Add |line - next| and |line - next but one| of samples whose surroundings moved, and of no others."""
        moved = np.abs(now - before) > _MOVED
        moved = moved[:-2] & moved[1:-1] & moved[2:]
        top, middle, bottom = (now[line : now.shape[0] - 2 + line][moved].astype(np.int32) for line in range(3))
        self._near += float(np.abs(top - middle).sum() + np.abs(middle - bottom).sum())
        self._far += 2 * float(np.abs(top - bottom).sum())

    def _measure_cadence(self, before: npt.NDArray[np.int16], now: npt.NDArray[np.int16]) -> None:
        moved = np.maximum(np.abs(now - before) - _MOVED, 0)[: now.shape[0] // 2 * 2]
        top, bottom = float(moved[0::2].sum()), float(moved[1::2].sum())
        if top + bottom > now.size / 1000:  # a still picture, or a drawn one held for another frame, tells nothing
            self._phases[len(self._flags) % _CYCLE].append(top / (top + bottom))


def _is_pulldown(phases: list[list[float]]) -> bool:
    """Whether, in every cycle of five frames, one repeats the top field of the frame before and another the bottom.

    A field that is repeated does not differ but for coding noise, so the share of the top field in the whole
    difference is near 0 at one place of the cycle and near 1 at another; elsewhere, and in all other video, it is 1/2.
    """
    if min(map(len, phases)) < 2:
        return False
    shares = [float(np.median(phase)) for phase in phases]
    lowest, highest = shares.index(min(shares)), shares.index(max(shares))
    others = [share for place, share in enumerate(shares) if place not in (lowest, highest)]
    return shares[lowest] < 0.3 and shares[highest] > 0.65 and all(0.3 < share < 0.65 for share in others)


def _order_of_stream(stream: VideoStream) -> FieldOrder | None:
    context = stream.codec_context
    if context.name in _CODECS_WITH_FLAGS:
        return None
    return _ORDERS_OF_STREAM.get(context.field_order)


def _verdicts(frames: list[VideoFrame]) -> str:
    return "".join(frame.metadata.get("lavfi.idet.single.current_frame", "undetermined")[0] for frame in frames)


def _luma(frame: VideoFrame) -> npt.NDArray[np.int16]:
    """(height, width) in 8-bit codes, whatever the format."""
    if not frame.format.is_planar or frame.format.is_big_endian:
        frame = frame.reformat(format="gray")
    bits = frame.format.components[0].bits
    plane = frame.planes[0]
    samples: npt.NDArray[Any] = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
    stride = plane.line_size // samples.itemsize
    lines = samples[: plane.height * stride].reshape(plane.height, stride)[:, : plane.width]
    return (lines >> (bits - 8)).astype(np.int16)
