"""Single pictures: frames picked out of a video, and PNG files."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vidsr.files import appearing
from vidsr.media.errors import target_errors


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) uint8 R'G'B' picture; the file appears complete or not at all.

    Raises:
        TargetError, DiskFullError: it cannot be written.
    """
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    with target_errors(path), appearing(path) as part:
        part.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
