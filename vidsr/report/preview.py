"""Before and after on one sheet: frames of a video enlarged plainly and by the model, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidsr.errors import SourceError
from vidsr.events import OnEvent, ignore
from vidsr.inference.upscaler import Upscaler
from vidsr.media.read.deinterlace import choose_field_work, delivered
from vidsr.media.read.moments import find_moments
from vidsr.media.read.source import probe, recognise_fields
from vidsr.media.write.still import write_png
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.linear_light import encode_srgb
from vidsr.pixels.sizes import orientation
from vidsr.report.sheet import stack_rows
from vidsr.run.source_picture import picture_at

# A cell of the sheet: the middle of the picture, so that the sheet can be looked at pixel by pixel.
_CELL_WIDTH_PX, _CELL_HEIGHT_PX = 960, 720


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What `make_preview` wrote: one row per time, on the left enlarged by Lanczos, on the right by the model."""

    path: Path
    seconds: tuple[float, ...]
    model: str
    model_reason: str


def make_preview(
    source: Path, target: Path, options: UpscaleOptions, num_frames: int, on_event: OnEvent = ignore
) -> Sheet:
    """Write a PNG that compares plain enlargement with the model on frames spread over the video.

    Raises:
        SourceError, UsageError, WeightsError, TargetError.
    """
    info = probe(source, options.rate)
    fields = choose_field_work(info, recognise_fields(info), options)
    shown, turn = delivered(info, fields), orientation(info.display_matrix)
    model = Upscaler(options, on_event)
    plain = Upscaler(replace(options, model="lanczos", blend=1.0, denoise=1.0, engine="auto"), on_event)
    rows, seconds = [], []
    for position in find_moments(shown, num_frames):
        found = picture_at(info, shown.pts[position], fields, turn)
        if found is None:  # damage up to the end
            continue
        time, rgb_nchw = found
        coded_nchw = encode_srgb(rgb_nchw) if info.video.picture.layout.is_float else rgb_nchw
        cut_nchw, size = _middle(coded_nchw, model)
        rows.append([_in_8_bit(upscaler.upscale_tensor(cut_nchw, size)) for upscaler in (plain, model)])
        seconds.append(float(time.pts * shown.video.time_base - info.start_seconds))
    if not rows:
        raise SourceError(f"{source}: none of the pictures chosen can be decoded")
    write_png(target, stack_rows(rows))
    return Sheet(path=target, seconds=tuple(seconds), model=model.model.name, model_reason=model.model.reason)


def _middle(rgb_nchw: Tensor, model: Upscaler) -> tuple[Tensor, tuple[int, int]]:
    """The part of a frame that fills a cell, and its (width, height) there."""
    height, width = rgb_nchw.shape[-2:]
    out_width, out_height = model.output_size(width, height)
    growth_x, growth_y = Fraction(out_width, width), Fraction(out_height, height)
    keep_x, keep_y = min(width, int(_CELL_WIDTH_PX / growth_x)), min(height, int(_CELL_HEIGHT_PX / growth_y))
    left, top = (width - keep_x) // 2, (height - keep_y) // 2
    cut_nchw = rgb_nchw[..., top : top + keep_y, left : left + keep_x].contiguous()
    return cut_nchw, (round(keep_x * growth_x), round(keep_y * growth_y))


def _in_8_bit(rgb_nchw: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3), rounded, of the first picture."""
    codes = (rgb_nchw[0] * 255).round_().clamp_(0, 255).to(torch.uint8)
    return cast(NDArray[np.uint8], codes.permute(1, 2, 0).contiguous().cpu().numpy())
