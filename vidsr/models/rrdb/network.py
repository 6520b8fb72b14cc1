"""RRDBNet, the generator of ESRGAN and Real-ESRGAN."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.models.graph import pad_to_multiple
from vidsr.models.network import Network

Upsampler = Literal["nearest+conv", "pixelshuffle"]

# Networks below 4x were built by folding pixels into channels, so that the body still upsamples by four.
_FOLD_OF_SCALE = {1: 4, 2: 2, 4: 1, 8: 1}
NEGATIVE_SLOPE = 0.2
RESIDUAL_WEIGHT = 0.2


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def _activate(x_nchw: Tensor) -> Tensor:
    # In place is safe for autograd here: a convolution does not need its own output to differentiate.
    return F.leaky_relu(x_nchw, NEGATIVE_SLOPE, inplace=True)


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees everything before it."""

    def __init__(self, num_features: int, growth_channels: int) -> None:
        super().__init__()
        widths = [num_features + i * growth_channels for i in range(5)]
        self.conv1 = _conv(widths[0], growth_channels)
        self.conv2 = _conv(widths[1], growth_channels)
        self.conv3 = _conv(widths[2], growth_channels)
        self.conv4 = _conv(widths[3], growth_channels)
        self.conv5 = _conv(widths[4], num_features)

    def forward(self, x: Tensor) -> Tensor:
        x1 = _activate(self.conv1(x))
        # The concatenations have no name, so that each is freed before the next is made.
        x2 = _activate(self.conv2(torch.cat((x, x1), 1)))
        x3 = _activate(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = _activate(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        residual: Tensor = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return residual.mul_(RESIDUAL_WEIGHT).add_(x)


class RRDB(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, num_features: int, growth_channels: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_features, growth_channels)
        self.rdb2 = ResidualDenseBlock(num_features, growth_channels)
        self.rdb3 = ResidualDenseBlock(num_features, growth_channels)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return residual.mul_(RESIDUAL_WEIGHT).add_(x)


class RRDBNet(Network):
    """A picture in, `scale` times the picture out.

    Input: float NCHW, RGB in [0, 1], any size from 1x1. Output: the same, unclamped. Parameter names are
    BasicSR's; those of a pixelshuffle upsampler are `upsampler.0`, `upsampler.3`, ...: in each three stand
    convolution, shuffle and activation.

    Args:
        scale: output size over input size: 1, 2, 4 or 8.
        num_blocks: RRDB blocks in the body.
        num_features: channels between blocks.
        growth_channels: channels that each convolution of a dense block adds.
        in_channels: channels of the input picture, before folding.
        out_channels: channels of the output picture.
        upsampler: how each doubling is made.
        fold: side of the pixel block that becomes channels at the input; unset, 4 for scale 1, 2 for scale 2
            and else 1. The early ESRGAN networks of scale 1 and 2 do not fold.
    """

    def __init__(
        self,
        *,
        scale: int,
        num_blocks: int = 23,
        num_features: int = 64,
        growth_channels: int = 32,
        in_channels: int = 3,
        out_channels: int = 3,
        upsampler: Upsampler = "nearest+conv",
        fold: int | None = None,
    ) -> None:
        super().__init__()
        if scale not in _FOLD_OF_SCALE:
            raise ValueError(f"scale is {scale}; an RRDBNet has 1, 2, 4 or 8")
        self._scale = scale
        self._fold = _FOLD_OF_SCALE[scale] if fold is None else fold
        self._num_doublings = (scale * self._fold).bit_length() - 1
        if 1 << self._num_doublings != scale * self._fold:
            raise ValueError(f"fold is {fold}; it must be a power of two")
        self._num_blocks = num_blocks
        self.upsampler_kind: Upsampler = upsampler
        self.conv_first = _conv(in_channels * self._fold**2, num_features)
        self.body = nn.Sequential(*(RRDB(num_features, growth_channels) for _ in range(num_blocks)))
        self.conv_body = _conv(num_features, num_features)
        if upsampler == "pixelshuffle":
            self.upsampler = nn.Sequential(*self._shuffling_layers(num_features))
        else:
            for i in range(self._num_doublings):
                self.add_module(f"conv_up{i + 1}", _conv(num_features, num_features))
        self.conv_hr = _conv(num_features, num_features)
        self.conv_last = _conv(num_features, out_channels)

    def _shuffling_layers(self, num_features: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for _ in range(self._num_doublings):
            layers += [_conv(num_features, 4 * num_features), nn.PixelShuffle(2), nn.LeakyReLU(NEGATIVE_SLOPE, True)]
        return layers

    @property
    def upsampling_convs(self) -> list[nn.Conv2d]:
        """Of the nearest+conv upsampler, one for each doubling."""
        return [getattr(self, f"conv_up{i + 1}") for i in range(self._num_doublings)]

    @property
    def scale(self) -> int:
        return self._scale

    @property
    def align_px(self) -> int:
        return self._fold

    @property
    def reach_px(self) -> int:
        num_body_convs = 1 + 15 * self._num_blocks + 1
        # In output pixels: conv_hr, conv_last, then the doublings from the last to the first. A shuffled
        # doubling convolves before it doubles, so there each counts one level lower.
        shift = 1 if self.upsampler_kind == "pixelshuffle" else 0
        tail_px = 2 + sum(1 << (i + shift) for i in range(self._num_doublings))
        doubled = 1 << self._num_doublings
        # The worst place of an output pixel within the `doubled` ones of its feature pixel.
        return max(
            self._fold * (num_body_convs + (place + tail_px) // doubled) + (self._fold - 1 - place // self._scale)
            for place in range(doubled)
        )

    @property
    def peak_samples(self) -> int:
        return 4 * self.largest_samples  # 15 kB for x4plus, which ends at the output's size

    @property
    def largest_samples(self) -> int:
        return 64 * self._scale**2

    @property
    def flops_per_input_pixel(self) -> int:
        return round(2 * sum(m.weight.numel() * self._density(name) for name, m in self._convs()))

    def _convs(self) -> list[tuple[str, nn.Conv2d]]:
        return [(name, m) for name, m in self.named_modules() if isinstance(m, nn.Conv2d)]

    def _density(self, name: str) -> float:
        """Times that the convolution of this name runs for each input pixel."""
        room, _, rest = name.partition(".")
        if room in ("conv_hr", "conv_last"):
            level = self._num_doublings
        elif room == "upsampler":
            level = int(rest) // 3
        else:
            level = int(room.removeprefix("conv_up")) if room.startswith("conv_up") else 0
        return (2.0**level / self._fold) ** 2

    def forward(self, x: Tensor) -> Tensor:
        return self.picture(self._upsampled(self.features(x, self.body)), x.shape[-2], x.shape[-1])

    def features(self, x: Tensor, body: nn.Module) -> Tensor:
        """All that is computed before the first doubling, with this body or one that gives the same."""
        if self._fold > 1:
            x = F.pixel_unshuffle(pad_to_multiple(x, self._fold), self._fold)
        x = self.conv_first(x)
        residual: Tensor = self.conv_body(body(x))
        return residual.add_(x)

    def _upsampled(self, x: Tensor) -> Tensor:
        if self.upsampler_kind == "pixelshuffle":
            out: Tensor = self.upsampler(x)
            return out
        for conv in self.upsampling_convs:
            x = _activate(conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return x

    def picture(self, x: Tensor, height: int, width: int) -> Tensor:
        """What the doubled features show, for an input of that height and width."""
        # One expression each: at full size every tensor kept by a name would cost 64 channels.
        x = _activate(self.conv_hr(x))
        x = self.conv_last(x)
        return x[..., : height * self._scale, : width * self._scale]
