"""Moments worth looking at: where in a video there is something to see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.media.read.probe import SourceInfo

_CANDIDATES = 4  # looked at for each moment
_THUMBNAIL_WIDTH_PX = 64


def find_moments(source: SourceInfo, num_moments: int) -> list[int]:
    """Positions among the source's frames, one in each of so many equal stretches; fewer where there are fewer frames.

    Of some frames of a stretch it is the one whose brightness varies the most, so that fades, black frames and title
    cards are passed over. Pictures, and videos that cannot be looked into at random, have it in the middle.
    """
    total, parts = len(source.pts), 2 * _CANDIDATES * num_moments
    stretches = [
        sorted({(2 * (n * _CANDIDATES + k) + 1) * total // parts for k in range(_CANDIDATES)})
        for n in range(num_moments)
    ]
    contrasts = _contrasts(source, sorted(set().union(*stretches)))
    middles = [(2 * n + 1) * total // (2 * num_moments) for n in range(num_moments)]
    if not contrasts:
        return sorted(set(middles))
    found = []
    for middle, stretch in zip(middles, stretches, strict=True):
        found.append(max(stretch, key=lambda position: (contrasts[position], -abs(position - middle))))
    return sorted(set(found))


def _contrasts(source: SourceInfo, positions: Sequence[int]) -> dict[int, float]:
    """How much the brightness varies in each of these frames; empty where that cannot be told.

    decord finds frames at random in one call, where FFmpeg would be asked to seek for each. It is no judge of anything
    else: of DVDs and broadcasts its pictures are quite other ones, rotation is left out, and edit lists are counted in.
    """
    if source.sequence is not None:
        return {}
    import decord

    # Its own message is a native stack trace; what is wrong with a file `probe` has said before.
    try:
        height = max(round(_THUMBNAIL_WIDTH_PX * source.video.picture.height / source.video.picture.width), 1)
        size = {"width": _THUMBNAIL_WIDTH_PX, "height": height}
        reader: Any = decord.VideoReader(os.fspath(source.path), num_threads=1, **size)
        if len(reader) != len(source.pts):
            return {}
        pictures: NDArray[np.uint8] = reader.get_batch(list(positions)).asnumpy()
    except (RuntimeError, decord.DECORDError):
        return {}
    return {position: float(picture.mean(2).std()) for position, picture in zip(positions, pictures, strict=True)}
