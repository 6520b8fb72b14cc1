"""Chapters of a part: those that overlap it, clipped to it and moved along with its time stamps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container.core import Chapter  # a name for type checkers only


def move_chapters(
    chapters: Sequence[Chapter], start: Fraction | None, stop: Fraction | None, shift: Fraction
) -> list[Chapter]:
    """The chapters between two times, each in its own time base and at most half a tick off.

    Args:
        chapters: as PyAV has them.
        start, stop: seconds on the chapters' clock; None is open.
        shift: seconds that all times lose.
    """
    moved = []
    for chapter in chapters:
        base = chapter["time_base"] or Fraction(1, 1000)
        begin, end = chapter["start"] * base, chapter["end"] * base
        if (start is not None and end <= start) or (stop is not None and begin >= stop):
            continue
        begin = begin if start is None else max(begin, start)
        end = end if stop is None else min(end, stop)
        entry = chapter.copy()
        entry["start"], entry["end"], entry["time_base"] = (
            round((begin - shift) / base),
            round((end - shift) / base),
            base,
        )
        moved.append(entry)
    return moved
