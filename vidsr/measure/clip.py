"""The clip to measure with: the drawn scene as H.264, so that a run has something real to decode."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from vidsr.frames import (
    MATRIX_BT709,
    PRIMARIES_BT709,
    TRANSFER_BT709,
    ColorTags,
    FrameTime,
    PictureFormat,
    pixel_layout,
)
from vidsr.measure.scene import Scene
from vidsr.media.write.segment import EncodeSettings, SegmentWriter
from vidsr.pixels.color import rgb_to_planes

RATE = 25


def write_clip(path: Path, width: int, height: int, num_frames: int, *, keyframe_every: int = 250) -> Path:
    """Write the drawn scene as a video of 25 frames a second; the sides must be even.

    Args:
        path: a .mov file.
        keyframe_every: frames from one keyframe to the next, at most.

    Raises:
        TargetError, DiskFullError.
    """
    layout = pixel_layout("yuv420p")
    assert layout is not None
    color = ColorTags(
        matrix=MATRIX_BT709, full_range=False, siting="left", primaries=PRIMARIES_BT709, transfer=TRANSFER_BT709
    )
    picture = PictureFormat(width=width, height=height, layout=layout, color=color)
    settings = EncodeSettings(
        codec="libx264",
        segment_format="mov",
        options={"crf": "16", "preset": "veryfast", "g": str(keyframe_every)},
        picture=picture,
        time_base=Fraction(1, RATE),
        frame_rate=Fraction(RATE),
        sample_aspect_ratio=Fraction(1),
    )
    scene, writer = Scene(width, height), SegmentWriter(path, settings)
    try:
        for number in range(num_frames):
            rgb_nchw = torch.from_numpy(np.moveaxis(scene.frame(number), 2, 0)[None].astype(np.float32) / 255)
            planes = [plane[0].numpy() for plane in rgb_to_planes(rgb_nchw, picture)]
            writer.write(planes, FrameTime(pts=number, duration=1))
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return path
