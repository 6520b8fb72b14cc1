"""Whether what a network made of a frame is a picture: finite, and not one value where the source has many."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The result is one value on a screen of 8 bits.
_ONE_LEVEL = 1 / 255
# How much a source may vary (standard deviation) whose result is one value, or be away from black (root of the mean
# square) if that is black. Networks flatten what they take for grain: of noise and dots over black,
# RealESRGAN_x4plus_anime_6B leaves 0.7 to 1.3 levels where the source was 7 to 19 levels from black. Titles, faces
# and scenes in daylight have 30 and more.
_MOST_LOST = 25 / 255
# The same where all pixels are one number before they are clipped. No network of the catalogue does that, on plain
# black it leaves half a level of difference; others may where the source is plain, and be 3 levels off by bias.
_SAME_NUMBER = 1e-5
_MOST_LOST_TO_ONE_NUMBER = 8 / 255
# Every so many lines of the source tell how much it varies.
_LINE_STEP = 4

NUM_MEASURES = 6  # three of drift, peak, and what was lost to one value and to one number


def measure(source_nchw: Tensor, result_nchw: Tensor, *, is_light: bool = False) -> Tensor:
    """What `fault` judges by; made without waiting for the device.

    Args:
        source_nchw: (N, C, H, W) float32, 0 black and 1 white; C is 3, or 1 for alpha.
        result_nchw: (N, C, h, w) float32 on the same device, unclamped, not finite where something failed.
        is_light: the pictures are linear light, which has no upper limit and was clipped inside.

    Returns:
        (N, NUM_MEASURES) float32 on the device: mean of the result less the source's for each channel (alpha: 0);
        the largest magnitude; what of the source was lost to one value, and to one number; 0 where there are several.
    """
    low, high = result_nchw.amin((2, 3)), result_nchw.amax((2, 3))  # both are NaN where anything is
    drift = result_nchw.mean((2, 3)) - source_nchw.mean((2, 3))
    if drift.shape[1] == 1:
        drift = torch.zeros_like(drift).expand(-1, 3)
    peak = torch.maximum(low.abs(), high.abs()).amax(1, keepdim=True)
    shown_low, shown_high = (low, high) if is_light else (low.clamp(0, 1), high.clamp(0, 1))
    lines = source_nchw[:, :, ::_LINE_STEP]
    mean = lines.mean((2, 3), keepdim=True)
    variance = (lines - mean).square().mean((2, 3))
    is_black = (shown_high.amax(1) < _ONE_LEVEL)[:, None]
    lost = torch.where(is_black, variance + mean[..., 0, 0].square(), variance).amax(1, keepdim=True).sqrt()
    is_flat = (shown_high - shown_low).amax(1, keepdim=True) < _ONE_LEVEL
    is_number = (high - low).amax(1, keepdim=True) < (0 if is_light else _SAME_NUMBER)
    nothing = torch.zeros_like(lost)
    return torch.cat((drift, peak, torch.where(is_flat, lost, nothing), torch.where(is_number, lost, nothing)), dim=1)


def worse_of(colour: Tensor, alpha: Tensor) -> Tensor:
    """The measures of frames by those of their colour and of their alpha; the drift is the colour's."""
    return torch.cat((colour[:, :3], torch.maximum(colour[:, 3:], alpha[:, 3:])), dim=1)


def fault(measures: Tensor) -> str | None:
    """What is wrong with one frame by its (NUM_MEASURES,) on the host, as a noun; None if it may be a picture.

    Flat results of flat sources are pictures: fades, black frames, white flashes.
    """
    *_, peak, to_value, to_number = measures.tolist()
    if not math.isfinite(peak):
        return "values that are not finite"
    lost = to_value if to_value > _MOST_LOST else to_number if to_number > _MOST_LOST_TO_ONE_NUMBER else None
    if lost is None:
        return None
    return f"one value everywhere, where the source has {255 * lost:.0f} levels of 255 to show"
