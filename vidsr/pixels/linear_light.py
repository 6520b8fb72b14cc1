"""Linear light: the sRGB curve, and how a network that knows coded pictures enlarges light without losing any."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vidsr.pixels.resample import resize

# IEC 61966-2-1: linear up to the knee, a shifted power of 2.4 above.
_KNEE, _SLOPE, _SHIFT, _POWER = 0.0031308, 12.92, 0.055, 2.4


def encode_srgb(light: Tensor) -> Tensor:
    """Linear light as the sRGB curve codes it (IEC 61966-2-1); 0 and 1 stay, negative light mirrors positive."""
    size = light.abs()
    curve = (1 + _SHIFT) * size.clamp_min(_KNEE).pow(1 / _POWER) - _SHIFT
    return torch.where(size <= _KNEE, light * _SLOPE, torch.copysign(curve, light))


def decode_srgb(coded: Tensor) -> Tensor:
    """The inverse of `encode_srgb`."""
    size = coded.abs()
    curve = ((size.clamp_min(_KNEE * _SLOPE) + _SHIFT) / (1 + _SHIFT)).pow(_POWER)
    return torch.where(size <= _KNEE * _SLOPE, coded / _SLOPE, torch.copysign(curve, coded))


def enlarge_light(light_nchw: Tensor, height: int, width: int, network: Callable[[Tensor], Tensor]) -> Tensor:
    """Enlarge linear light with a network for coded pictures.

    What lies in [0, 1] is coded by the sRGB curve, enlarged by the network, clipped as a display would, and decoded.
    What lies above 1 or below 0 is enlarged by Lanczos, as light, and added; it keeps its sign, so that no highlight
    gets a dark rim.

    Args:
        light_nchw: float32 (N, 3, H, W), linear, any device.
        height, width: of the result.
        network: coded float32 (N, 3, H, W) to (N, 3, height, width).

    Returns:
        float32 (N, 3, height, width), linear, on the network's device.
    """
    inside = light_nchw.clamp(0, 1)
    result = decode_srgb(network(encode_srgb(inside)).clamp(0, 1))
    above = resize((light_nchw - 1).clamp_min_(0), height, width, "lanczos").clamp_min_(0)
    below = resize(light_nchw.clamp_max(0), height, width, "lanczos").clamp_max_(0)
    return result + (above + below).to(result.device)
