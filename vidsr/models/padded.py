"""Networks whose first and last convolution have as many channels as tensor cores take at a time."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# In half precision and channels last, 16 bytes: with fewer, cuDNN takes kernels without tensor cores, or copies.
_MULTIPLE = 8


class PaddedConv2d(nn.Module):
    """What a convolution gives, by one with channels of zeros added on both sides: (N, C, H, W) in and out as before.

    Args:
        conv: without groups; its weights are copied.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None and conv.groups == 1
        self._out_channels = conv.out_channels
        self._more_in, more_out = -conv.in_channels % _MULTIPLE, -conv.out_channels % _MULTIPLE
        self._padding = conv.padding
        weight = F.pad(conv.weight.detach(), (0, 0, 0, 0, 0, self._more_in, 0, more_out))
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(F.pad(conv.bias.detach(), (0, more_out)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self._more_in:
            x = F.pad(x, (0, 0, 0, 0, 0, self._more_in))
        return F.conv2d(x, self.weight, self.bias, padding=self._padding)[:, : self._out_channels]


def pad_ends(network: nn.Module) -> nn.Module:
    """The network, in which every convolution of another number of channels was replaced by one of a multiple of 8."""
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d):
            if child.in_channels % _MULTIPLE or child.out_channels % _MULTIPLE:
                setattr(network, name, PaddedConv2d(child))
        else:
            pad_ends(child)
    return network
