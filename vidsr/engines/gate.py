"""How close an engine must be to fp32 PyTorch to be chosen, and how close it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_PSNR_DB = 60.0  # of the worst frame
TYPICAL_LEVELS = 2.0  # of 255, which no more than that share of the samples may exceed, and those not by far
MOST_SHARE_OFF = 1e-4
MOST_LEVELS = 8.0


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """The distance of two batches of pictures, clipped to what is shown."""

    psnr_db: float  # of the worst frame; infinite where all are equal
    share_off: float  # of all samples, those more than `TYPICAL_LEVELS` apart
    max_levels: float  # the largest difference, in levels of 255

    @property
    def passed(self) -> bool:
        """Whether it is within the gate.

        Half precision rounds each value to 11 bits, and a deep network adds up hundreds of such roundings: on real
        frames fp16 is 62 to 78 dB from fp32, with single samples of millions 2.1 to 2.9 levels off. So the largest
        difference is no limit for an engine that is right, while a wrong layer, weight or border moves more than one
        sample in ten thousand.
        """
        return self.psnr_db >= LEAST_PSNR_DB and self.share_off <= MOST_SHARE_OFF and self.max_levels <= MOST_LEVELS


GATE_TEXT = (
    f"{LEAST_PSNR_DB:g} dB in the worst frame, {100 * (1 - MOST_SHARE_OFF):g} % of the samples within "
    f"{TYPICAL_LEVELS:g} levels and none beyond {MOST_LEVELS:g}"
)


def closeness(out: Tensor, expected: Tensor) -> Closeness:
    """How close pictures are.

    Args:
        out: floats (N, ...), 0 black and 1 white, on any device.
        expected: of the same shape.

    Returns:
        0 dB, a share of 1 and 255 levels where `out` is not finite.
    """
    out = out.cpu()
    if not torch.isfinite(out).all():
        return Closeness(psnr_db=0.0, share_off=1.0, max_levels=255.0)
    difference = (out.clamp(0, 1).double() - expected.cpu().clamp(0, 1).double()).abs()
    worst = float(difference.square().flatten(1).mean(1).max())
    return Closeness(
        psnr_db=-10 * math.log10(worst) if worst else math.inf,
        share_off=float((difference > TYPICAL_LEVELS / 255).double().mean()),
        max_levels=255 * float(difference.max()),
    )
