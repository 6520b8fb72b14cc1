"""What a run will do, fixed before its first frame: which frames, in which segments, kept where."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

# A crash costs at most one segment, and every border costs the encoder a keyframe and a flush; encoders put a keyframe
# every 250 frames by themselves.
MIN_SEGMENT_FRAMES, MAX_SEGMENT_FRAMES = 100, 250


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A run of frames that one file holds: start <= pts < stop in source ticks; None is open."""

    index: int
    start: int | None
    stop: int | None
    num_frames: int  # by the time stamps; a damaged source may yield fewer

    @property
    def file_name(self) -> str:
        return f"{self.index:06d}.segment"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All segments of a run, in order, and the folder beside the target that they are written to."""

    work_folder: Path
    segments: tuple[Segment, ...]

    @property
    def num_frames_expected(self) -> int:
        return sum(segment.num_frames for segment in self.segments)

    def segment_path(self, segment: Segment) -> Path:
        return self.work_folder / segment.file_name


def make_plan(
    target: Path,
    stamps: Sequence[int],
    keyframes: Sequence[int],
    start: int | None,
    stop: int | None,
    *,
    min_frames: int = MIN_SEGMENT_FRAMES,
    max_frames: int = MAX_SEGMENT_FRAMES,
) -> Plan:
    """Cut the frames from `start` to `stop` into segments that tile them without gap or overlap.

    A segment begins at a keyframe of the source, where scenes usually do, unless there is none for `max_frames`.

    Args:
        target: the file to be; the work folder goes beside it, so that publishing is a rename.
        stamps: all time stamps of the source, sorted.
        keyframes: those of its keyframes, sorted.
        start, stop: the range in source ticks; None is open.
        min_frames, max_frames: how long a segment is, but for the last, which may be shorter.
    """
    first = 0 if start is None else bisect_left(stamps, start)
    last = len(stamps) if stop is None else bisect_left(stamps, stop)
    borders = [first]
    while last - borders[-1] > max_frames:
        lowest, highest = borders[-1] + min_frames, borders[-1] + max_frames
        # The latest keyframe in reach: as few borders as there can be.
        position = bisect_left(keyframes, stamps[highest] + 1) - 1
        at_keyframe = bisect_left(stamps, keyframes[position]) if position >= 0 else -1
        borders.append(at_keyframe if at_keyframe >= lowest else highest)
    borders.append(last)
    segments = [
        Segment(
            index=index,
            start=start if index == 0 else stamps[begin],
            stop=stop if end == last else stamps[end],
            num_frames=end - begin,
        )
        for index, (begin, end) in enumerate(pairwise(borders))
    ]
    return Plan(work_folder=work_folder(target), segments=tuple(segments))


def work_folder(target: Path) -> Path:
    """Where a target's segments are kept; the same in every process, as that is how a later run finds them."""
    # A name made from a digest stays within a file system's limits for any target name.
    digest = hashlib.sha256(target.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return target.with_name(f".vidsr-{digest}")


def point_to_ticks(
    point: int | Fraction | None, stamps: Sequence[int], start_seconds: Fraction, time_base: Fraction
) -> int | None:
    """A frame number or a time on the player's clock as a time stamp of the source.

    Args:
        point: a frame number (int) or seconds (Fraction); None stays None.
        stamps: all time stamps of the source, sorted.
        start_seconds: what the source's stamps say when the player's clock reads 0.
        time_base: seconds per tick.
    """
    if point is None:
        return None
    if isinstance(point, int):
        return stamps[point] if point < len(stamps) else stamps[-1] + 1
    ticks = (start_seconds + point) / time_base
    return -(-ticks.numerator // ticks.denominator)  # the first tick at or after that time
