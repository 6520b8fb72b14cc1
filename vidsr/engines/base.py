"""The seam between networks and the machines that run them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What the rest of vidsr needs to know of a loaded engine."""

    engine: str
    device: torch.device
    precision: str  # fp32 or fp16: what the arithmetic is done in
    scale: int  # output side over input side
    reach_px: int  # how far, in input pixels, an output pixel looks; tiles overlap by at most this
    align_px: int  # tiles start at multiples of this
    bytes_per_pixel: int  # peak working memory per input pixel and frame
    bytes_per_column: int = 0  # and beside that per column of the input, however high it is
    flops_per_pixel: float | None  # per input pixel, a multiply-add counted as two

    def peak_bytes(self, height: int, width: int) -> int:
        """Working memory that one frame of that size takes at most."""
        return width * (self.bytes_per_column + height * self.bytes_per_pixel)

    def largest_side(self, num_bytes: float) -> int:
        """Side in pixels of the largest square whose `peak_bytes` are no more than that."""
        column, pixel = self.bytes_per_column, max(self.bytes_per_pixel, 1)
        return int((math.sqrt(column**2 + 4 * pixel * num_bytes) - column) / (2 * pixel))


class Engine(Protocol):
    """Runs one network on one device. Implementations live beside this file; a contract test holds over all."""

    @property
    def info(self) -> EngineInfo: ...

    def run(self, rgb_nchw: Tensor) -> Tensor:
        """Upscale by `info.scale`.

        Args:
            rgb_nchw: float32 (N, 3, H, W), R'G'B' with 0 black and 1 white, on `info.device`; any N, H, W >= 1.

        Returns:
            float32 (N, 3, H * scale, W * scale), unclamped, on the same device.

        Raises:
            DeviceMemoryError: it does not fit; nothing is left allocated.
        """
        ...


class IdentityEngine:
    """Does nothing: what the classical models run, whose whole work is the resize that follows."""

    def __init__(self, device: torch.device) -> None:
        self._info = EngineInfo(
            engine="none",
            device=device,
            precision="fp32",
            scale=1,
            reach_px=0,
            align_px=1,
            bytes_per_pixel=0,
            flops_per_pixel=0.0,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        return rgb_nchw
