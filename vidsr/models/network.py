"""What every network tells of itself, whatever family it is of."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn


class Network(nn.Module, ABC):
    """A picture in, `scale` times the picture out.

    Input: float (N, 3, H, W), RGB in [0, 1], any size from 1x1. Output: float (N, 3, H * scale, W * scale).
    """

    supports_half: bool = True  # whether its values stay within what half precision can hold

    @property
    @abstractmethod
    def scale(self) -> int:
        """Output side over input side."""

    @property
    @abstractmethod
    def align_px(self) -> int:
        """Tiles must start at multiples of this many input pixels to be cut as the whole picture is."""

    @property
    @abstractmethod
    def reach_px(self) -> int:
        """How many input pixels to each side an output pixel depends on."""

    @property
    @abstractmethod
    def flops_per_input_pixel(self) -> int | None:
        """Floating point operations per pixel of input, two for each multiply-add; None: not known."""

    @property
    @abstractmethod
    def peak_samples(self) -> int:
        """Numbers per input pixel that are held at once at most when PyTorch runs it, as measured on the CPU."""

    @property
    @abstractmethod
    def largest_samples(self) -> int:
        """Numbers per input pixel of its largest tensor."""

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())
