"""The seam between networks and the machines that run them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vidsr.errors import DeviceMemoryError

Work = Callable[[Sequence[Tensor]], list[Tensor]]  # tensors on a device to tensors on it, none of which it looks at


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
    max_pixels: int | None = None  # input pixels of one call, over all its frames; None: as many as fit into memory
    flops_per_pixel: float | None  # per input pixel, a multiply-add counted as two

    def peak_bytes(self, height: int, width: int) -> int:
        """Working memory that one frame of that size takes at most."""
        return width * (self.bytes_per_column + height * self.bytes_per_pixel)

    def largest_side(self, num_bytes: float) -> int:
        """Side in pixels of the largest square that one call takes and whose `peak_bytes` are no more than that."""
        column, pixel = self.bytes_per_column, max(self.bytes_per_pixel, 1)
        side = int((math.sqrt(column**2 + 4 * pixel * num_bytes) - column) / (2 * pixel))
        return side if self.max_pixels is None else min(side, math.isqrt(self.max_pixels))

    def most_frames(self, height: int, width: int, num_bytes: float) -> int:
        """Frames of that size that one call takes within so much memory; 0: not one."""
        num_frames = int(num_bytes // max(self.peak_bytes(height, width), 1))
        return num_frames if self.max_pixels is None else min(num_frames, self.max_pixels // (height * width))

    def require_size(self, rgb_nchw: Tensor) -> None:
        """Refuse a batch of more pixels than one call takes.

        Raises:
            DeviceMemoryError: it is one; fewer frames at once or smaller tiles are not.
        """
        num_frames, _, height, width = rgb_nchw.shape
        if self.max_pixels is not None and num_frames * height * width > self.max_pixels:
            raise DeviceMemoryError(
                f"{num_frames} frames of {width}x{height} are more than the {self.max_pixels} pixels that engine "
                f"{self.engine} takes at once; try a smaller --tile or --batch"
            )


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

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        """What does the same as a work of which `run` is a part, launched as one where the engine can.

        Args:
            work: returned as it is by engines that cannot.
            recordable: the same with the same launches each time: it lets a lack of memory through and tries nothing
                else.
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

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        return work
