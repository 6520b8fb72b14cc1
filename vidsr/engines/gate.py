"""The gate: how close to fp32 PyTorch the pictures of an engine must be before it may be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_PSNR_DB = 60.0  # of the worst frame
# The greatest difference of all samples says little: plain fp16 has single ones 3 levels off at 62 dB.
TYPICAL_LEVELS, MOST_SHARE_OFF = 2.0, 1e-4
MOST_LEVELS = 8.0


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How close pictures are to those that are right."""

    psnr_db: float  # of the worst frame; infinite where all are equal
    share_off: float  # of the samples that are off by more than TYPICAL_LEVELS
    max_levels: float  # the greatest difference, in levels of 255

    @property
    def passed(self) -> bool:
        return self.psnr_db >= LEAST_PSNR_DB and self.share_off <= MOST_SHARE_OFF and self.max_levels <= MOST_LEVELS


def closeness(out: Tensor, expected: Tensor) -> Closeness:
    """Compare two batches of pictures, clipped to what is shown.

    Args:
        out: floats (N, C, H, W), 0 black and 1 white, on any device.
        expected: of the same shape.

    Returns:
        The worst there is where `out` is not finite.
    """
    out = out.cpu()
    if not torch.isfinite(out).all():
        return Closeness(psnr_db=0.0, share_off=1.0, max_levels=255.0)
    difference = (out.clamp(0, 1).double() - expected.cpu().clamp(0, 1).double()).abs()
    mean_square = float(difference.square().mean((1, 2, 3)).max())
    return Closeness(
        psnr_db=-10 * math.log10(mean_square) if mean_square else math.inf,
        share_off=float((255 * difference > TYPICAL_LEVELS).double().mean()),
        max_levels=255 * float(difference.max()),
    )
