"""Handing out what is left of a plan to several takers, in runs of neighbours that each can read in one go."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

from vidsr.pipeline.plan import Segment


class Handout:
    """What is left, for takers in threads of their own; whoever is done with one run takes the next.

    Runs shrink towards the end, so that all takers finish at about the same time, whatever their speeds, and few are
    needed, as each costs a seek: guided self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers C-36, 1987),
    with a quarter of what that paper hands out at once. One taker gets each run of neighbours whole.

    Args:
        segments: in order.
        num_takers: how many there are.
    """

    def __init__(self, segments: Sequence[Segment], num_takers: int) -> None:
        self._left = list(segments)
        self._num_shares = 4 * num_takers if num_takers > 1 else 1
        self._lock = threading.Lock()

    def take(self) -> list[Segment]:
        """The next run of neighbours, later in the video than all runs before; empty when nothing is left."""
        with self._lock:
            most = -(-len(self._left) // self._num_shares)
            length = min(most, _num_neighbours(self._left))
            run, self._left = self._left[:length], self._left[length:]
            return run


def _num_neighbours(segments: Sequence[Segment]) -> int:
    """How many of the first ones follow each other without a gap."""
    gaps = (n for n, (one, other) in enumerate(pairwise(segments), 1) if other.index != one.index + 1)
    return next(gaps, len(segments))
