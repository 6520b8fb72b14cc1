"""Before and after on one sheet: frames of a video enlarged plainly and by the model, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from vidsr.errors import SourceError
from vidsr.events import Notice, OnEvent, ignore
from vidsr.inference.upscaler import Upscaler
from vidsr.media.read.deinterlace import choose_field_work
from vidsr.media.read.probe import SourceInfo
from vidsr.media.read.source import probe, read_frames, recognise_fields
from vidsr.media.read.still import pick_frames
from vidsr.media.read.video import Window
from vidsr.media.write.still import write_png
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.color import planes_to_rgb
from vidsr.pixels.linear_light import encode_srgb
from vidsr.report.sheet import stack_rows

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
    info = probe(source)  # says what is wrong with a file that is no video
    scan = recognise_fields(info)
    if choose_field_work(info, scan, options) is not None:
        on_event(
            Notice(text=f"the source is {scan}; its fields are shown as they are here, which upscale would not do")
        )
    model = Upscaler(options, on_event)
    plain = Upscaler(replace(options, model="lanczos", blend=1.0, denoise=1.0, engine="auto"), on_event)
    frames = pick_frames(source, num_frames) if info.sequence is None else _pick_pictures(info, num_frames)
    rows = []
    for _, picture in frames:
        cut, size = _middle(picture, model)
        rows.append([plain.upscale_image(cut, size), model.upscale_image(cut, size)])
    write_png(target, stack_rows(rows))
    return Sheet(
        path=target,
        seconds=tuple(time for time, _ in frames),
        model=model.model.name,
        model_reason=model.model.reason,
    )


def _pick_pictures(source: SourceInfo, num_frames: int) -> list[tuple[float, NDArray[np.uint8]]]:
    """As `pick_frames`, of an image sequence; light is coded by the sRGB curve."""
    total, frames = len(source.pts), []
    for position in sorted({(2 * n + 1) * total // (2 * num_frames) for n in range(num_frames)}):
        pts = source.pts[position]
        for frame in read_frames(source, Window(pts, pts + 1), lambda text: None):
            planes = [torch.from_numpy(np.ascontiguousarray(plane))[None] for plane in frame.planes]
            rgb = planes_to_rgb(planes, source.video.picture)
            coded = encode_srgb(rgb) if source.video.picture.layout.is_float else rgb
            codes = (coded[0].permute(1, 2, 0) * 255).round_().clamp_(0, 255).to(torch.uint8)
            frames.append((float(pts * source.video.time_base), cast(NDArray[np.uint8], codes.contiguous().numpy())))
    if not frames:
        raise SourceError(f"{source.path}: none of the pictures chosen can be decoded")
    return frames


def _middle(picture: NDArray[np.uint8], model: Upscaler) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The part of a frame that fills a cell, and its (width, height) there."""
    height, width = picture.shape[:2]
    out_width, out_height = model.output_size(width, height)
    growth_x, growth_y = Fraction(out_width, width), Fraction(out_height, height)
    keep_x, keep_y = min(width, int(_CELL_WIDTH_PX / growth_x)), min(height, int(_CELL_HEIGHT_PX / growth_y))
    left, top = (width - keep_x) // 2, (height - keep_y) // 2
    return picture[top : top + keep_y, left : left + keep_x], (round(keep_x * growth_x), round(keep_y * growth_y))
