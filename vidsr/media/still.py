"""Single pictures: frames picked out of a video, and PNG files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidsr.errors import SourceError
from vidsr.media.writer import publish, target_errors


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


def stack_rows(rows: Sequence[Sequence[NDArray[np.uint8]]], gap_px: int = 8) -> NDArray[np.uint8]:
    """One picture from rows of equally sized (H, W, 3) pictures, with white gaps between."""
    height, width = rows[0][0].shape[:2]
    num_columns = len(rows[0])
    shape = (len(rows) * (height + gap_px) - gap_px, num_columns * (width + gap_px) - gap_px, 3)
    sheet = np.full(shape, 255, np.uint8)
    for row_index, row in enumerate(rows):
        for column_index, picture in enumerate(row):
            top, left = row_index * (height + gap_px), column_index * (width + gap_px)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) uint8 R'G'B' picture; the file appears complete or not at all.

    Raises:
        TargetError, DiskFullError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    with target_errors(path):
        try:
            part.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
            publish(part, path)
        finally:
            part.unlink(missing_ok=True)
