"""Repeated frames: batches of distinct ones, each with the times at which it is shown again.

Animation on twos and threes, telecine, stills and screen recordings show a decoded picture several times. Its result
is the same to the bit, so it is uploaded and computed once, and only encoded again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from vidsr.frames import Plane
from vidsr.media.read.video import DecodedFrame
from vidsr.pipeline.stage import Channel
from vidsr.run.batch import HostBatch

# Of a still of hours, progress is to be seen as well: after so many repeats of a batch's frames it goes on its way.
_MAX_REPEATS = 64
# Lines compared at once: most frames differ in the first of them already.
_BAND_LINES = 64


def distinct_batches(
    frames: Iterable[DecodedFrame], free: Channel[HostBatch], borders: Sequence[int] = ()
) -> Iterator[HostBatch]:
    """Fill batches with the frames that differ from the one before.

    A full batch waits for the first frame that needs the next one. Nothing reaches over a border between segments:
    what is computed there is the same whether a run begins there or not.

    Args:
        frames: in order.
        free: where empty batches come from.
        borders: time stamps at which further segments begin, rising.
    """
    left, batch = deque(borders), None
    num_repeats = 0
    for frame in frames:
        follows = batch is not None
        while left and frame.time.pts >= left[0]:
            left.popleft()
            follows = False
        if batch is not None:
            if follows and num_repeats < _MAX_REPEATS and _is_shown_again(frame.planes, batch):
                batch.repeat(frame.time)
                num_repeats += 1
                continue
            if not follows or num_repeats == _MAX_REPEATS or len(batch) == batch.capacity:
                yield batch
                batch = None
        if batch is None:
            batch = free.get()
            batch.clear()
            batch.follows = follows
            num_repeats = 0
        batch.append(frame.planes, frame.time)
    if batch is not None:
        yield batch


def _is_shown_again(planes: Sequence[Plane], batch: HostBatch) -> bool:
    last = len(batch) - 1
    return all(_same_bytes(plane, kept[last]) for plane, kept in zip(planes, batch.planes, strict=True))


def _same_bytes(plane: Plane, other: Plane) -> bool:
    if plane.dtype.kind == "f":  # not as numbers: 0 equals -0, and what is no number equals nothing
        bits = f"u{plane.dtype.itemsize}"
        plane, other = plane.view(bits), other.view(bits)
    bands = range(0, len(plane), _BAND_LINES)
    return all(np.array_equal(plane[top : top + _BAND_LINES], other[top : top + _BAND_LINES]) for top in bands)
