"""SPAN, a small network whose features weigh themselves.

C. Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", 2024 (arXiv:2311.12770).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.models.network import Network

# Of the pictures it was trained on, and what they were counted in. Files say only whether they are used.
MEAN_RGB = (0.4488, 0.4371, 0.4040)
RANGE = 255.0


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


class AttentionBlock(nn.Module):
    """Three convolutions, whose result says by itself how much of each place counts."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.c1_r = _conv(num_features, num_features)
        self.c2_r = _conv(num_features, num_features)
        self.c3_r = _conv(num_features, num_features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What goes on to the next block, and what the first convolution gave, activated."""
        first = F.silu(self.c1_r(x), inplace=True)
        y: Tensor = self.c3_r(F.silu(self.c2_r(first), inplace=True))
        attention = torch.sigmoid(y).sub_(0.5)
        return y.add_(x).mul_(attention), first


class SPAN(Network):
    """A chain of blocks at input size, of which four results are joined and shuffled into pixels; not clamped.

    Parameter names are those of the published files, each of whose convolutions of several branches is one here.

    Args:
        scale: output size over input size, any whole number.
        num_blocks: published networks have six.
        num_features: channels between blocks.
        normalises: whether the picture's mean is taken off and it is counted up to 255.
    """

    mean: Tensor

    def __init__(self, *, scale: int, num_blocks: int = 6, num_features: int = 48, normalises: bool = True) -> None:
        super().__init__()
        if scale < 1 or num_blocks < 1:
            raise ValueError(f"scale is {scale} and num_blocks {num_blocks}; both must be at least 1")
        self._scale, self._num_features, self.normalises = scale, num_features, normalises
        mean = torch.tensor(MEAN_RGB, dtype=torch.float32, device="cpu").view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        if not normalises:
            self.register_buffer("no_norm", torch.zeros(1))  # by which files say so
        self.conv_1 = _conv(3, num_features)
        for number in range(1, num_blocks + 1):
            self.add_module(f"block_{number}", AttentionBlock(num_features))
        self.conv_2 = _conv(num_features, num_features)
        self.conv_cat = nn.Conv2d(4 * num_features, num_features, kernel_size=1)
        self.upsampler = nn.Sequential(_conv(num_features, 3 * scale**2), nn.PixelShuffle(scale))

    @property
    def blocks(self) -> list[AttentionBlock]:
        return [child for child in self.children() if isinstance(child, AttentionBlock)]

    @property
    def scale(self) -> int:
        return self._scale

    @property
    def align_px(self) -> int:
        return 1

    @property
    def reach_px(self) -> int:
        return 3 * len(self.blocks) + 3

    @property
    def peak_samples(self) -> int:
        # Measured: 784 with 48 features at 4x, 564 at 2x, 459 with 32 at 4x.
        return 12 * self._num_features + 12 * self._scale**2

    @property
    def largest_samples(self) -> int:
        return max(4 * self._num_features, 3 * self._scale**2)

    @property
    def flops_per_input_pixel(self) -> int:
        return sum(2 * m.weight.numel() for m in self.modules() if isinstance(m, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        if self.normalises:
            x = (x - self.mean) * RANGE
        y = first = self.conv_1(x)
        results: list[Tensor] = []
        inside = first
        for block in self.blocks:
            y, inside = block(y)
            results = results or [y]
        joined = torch.cat((first, self.conv_2(y), *results, inside), 1)
        out: Tensor = self.upsampler(self.conv_cat(joined))
        return out
