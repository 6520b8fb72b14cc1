"""The pictures of a source as a run sees them: the one way from its frames to RGB."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from vidsr.frames import FrameTime, PictureFormat, Plane
from vidsr.media.read.deinterlace import FieldWork
from vidsr.media.read.probe import SourceInfo
from vidsr.media.read.source import read_frames
from vidsr.media.read.video import Window
from vidsr.pixels.color import planes_to_rgb
from vidsr.pixels.sizes import Orientation


def to_rgb(planes: Sequence[Tensor], picture: PictureFormat, orientation: Orientation) -> Tensor:
    """Planes (N, h, w) of a picture's layout as float32 (N, 3, H, W), turned; coded, or linear as the layout has it."""
    return turned(planes_to_rgb(planes, picture), orientation)


def turned(x_nchw: Tensor, orientation: Orientation) -> Tensor:
    """Pictures (N, C, H, W) as they are to be shown, contiguous."""
    if orientation == Orientation():
        return x_nchw
    transposed = x_nchw.transpose(-1, -2) if orientation.transposed else x_nchw
    axes = [axis for axis, flipped in ((-1, orientation.flipped_x), (-2, orientation.flipped_y)) if flipped]
    return transposed.flip(axes).contiguous() if axes else transposed.contiguous()


def on_host(planes: Sequence[Plane]) -> list[Tensor]:
    """One frame's planes, which may be views of the decoder's memory, as tensors (1, h, w)."""
    return [torch.from_numpy(np.array(plane))[None] for plane in planes]


def picture_at(
    source: SourceInfo, pts: int, fields: FieldWork | None, orientation: Orientation
) -> tuple[FrameTime, Tensor] | None:
    """The first picture at a time or behind it; None where nothing decodes any more.

    Args:
        source: what is read.
        pts: in ticks of what is delivered.
        fields: what is done to its frames on reading.
        orientation: how they are to be turned.

    Returns:
        Its time in ticks of what is delivered, and float32 (1, 3, H, W) on the CPU, as `to_rgb` gives it.

    Raises:
        SourceError: the source went away.
    """
    with closing(read_frames(source, Window(pts, None), lambda text: None, fields)) as frames:  # type: ignore[type-var]
        frame = next(frames, None)
        if frame is None:
            return None
        return frame.time, to_rgb(on_host(frame.planes), source.video.picture, orientation)
