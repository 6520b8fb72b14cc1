"""Single frames picked out of a video at random."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import SourceError


def pick_frames(path: Path, num_frames: int) -> list[tuple[float, NDArray[np.uint8]]]:
    """Frames spread evenly over a video, as a player shows them (8 bit, rotated as tagged).

    Returns:
        (time in seconds, (H, W, 3) uint8 R'G'B') of each; fewer than asked for in a shorter video.

    Raises:
        SourceError: the video cannot be accessed at random.
    """
    import decord

    # decord's own message is a native stack trace; what is wrong with the file `probe` has said before.
    try:
        reader: Any = decord.VideoReader(os.fspath(path), num_threads=1)
        total = len(reader)
        positions = sorted({(2 * n + 1) * total // (2 * num_frames) for n in range(num_frames)})
        pictures = reader.get_batch(positions).asnumpy()
        times = [float(np.mean(reader.get_frame_timestamp(position))) for position in positions]
    except (RuntimeError, decord.DECORDError) as error:
        raise SourceError(
            f"{path}: single frames cannot be picked out of it; try vidsr upscale with --start and --stop"
        ) from error
    return list(zip(times, pictures, strict=True))
