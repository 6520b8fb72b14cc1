"""What a run will do, fixed before its first frame: which frames, in which segments, kept where."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A run of frames that one file holds: start <= pts < stop in source ticks; None is open."""

    index: int
    start: int | None
    stop: int | None

    @property
    def file_name(self) -> str:
        return f"{self.index:06d}.segment"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All segments of a run, in order, and the folder beside the target that they are written to."""

    work_folder: Path
    segments: tuple[Segment, ...]
    num_frames_expected: int

    def segment_path(self, segment: Segment) -> Path:
        return self.work_folder / segment.file_name


def make_plan(target: Path, num_frames_expected: int, start: int | None, stop: int | None) -> Plan:
    """Plan one segment from `start` to `stop`.

    Args:
        target: the file to be; the work folder goes beside it, so that publishing is a rename.
        num_frames_expected: how many of the source's time stamps lie in that range.
        start, stop: the range in source ticks.
    """
    # A name made from a digest stays within a file system's limits for any target name.
    digest = hashlib.sha256(target.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return Plan(
        work_folder=target.with_name(f".vidsr-{digest}"),
        segments=(Segment(index=0, start=start, stop=stop),),
        num_frames_expected=num_frames_expected,
    )


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
