"""How close the pictures of one engine are to those of another."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def closeness(out: Tensor, expected: Tensor) -> tuple[float, float]:
    """(PSNR in dB, largest difference in levels of 255) of two batches of pictures, clipped to what is shown.

    Args:
        out: floats of any shape, 0 black and 1 white, on any device.
        expected: of the same shape.

    Returns:
        Infinity and 0 where they are equal; 0 and 255 where `out` is not finite.
    """
    out = out.cpu()
    if not torch.isfinite(out).all():
        return 0.0, 255.0
    difference = (out.clamp(0, 1).double() - expected.cpu().clamp(0, 1).double()).abs()
    mean_square = float(difference.square().mean())
    return (-10 * math.log10(mean_square) if mean_square else math.inf), 255 * float(difference.max())
