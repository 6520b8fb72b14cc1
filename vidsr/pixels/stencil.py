"""Linear maps along one axis whose weights repeat, as one strided convolution: what a GPU does with the fewest bytes.

A filter that goes over a picture tap by tap reads and writes all of it for each tap; here it is read once. The outputs
near the two ends, which see what lies beyond the picture in some way of their own, are products with small matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812, the name that torch's own documentation uses
from torch import Tensor

from vidsr.pixels.axis_blocks import Block

# CUDA's convolution of each channel by itself counts samples in 32 bits.
_MOST_SAMPLES = 2**31 - 1

Rows = Callable[[int, int], Block]  # outputs [start, stop) of a map


@dataclass(frozen=True, kw_only=True)
class Stencil:
    """A map along an axis: output k * p + r is row r of `weights` over the inputs from k * step + first on.

    Args:
        weights: float32 (p, number of taps).
        step: inputs by which p outputs move on.
        first: 0 or less.
        ends: what the outputs at the beginning and at the end are instead.
    """

    weights: Tensor
    step: int
    first: int
    ends: tuple[Block, ...]


def stencil_of(rows: Rows, num_in: int, num_out: int, period: int, step: int, device: torch.device) -> Stencil | None:
    """A map as a stencil on a device; None where the picture is so small that every output is near an end.

    Args:
        rows: of the map; blocks of `period` outputs that are near no end differ by their place alone.
        num_in, num_out: the map's length on both sides.
        period, step: so many outputs move on by so many inputs.
    """
    num_blocks = num_out // period  # whole ones
    begin = next((k for k in range(num_blocks) if rows(k * period, (k + 1) * period).first > 0), num_blocks)
    if begin == num_blocks:
        return None
    _, first, matrix = rows(begin * period, (begin + 1) * period)
    used = torch.nonzero(matrix.any(0)).flatten().tolist()
    matrix, first = matrix[:, used[0] : used[-1] + 1], first + used[0] - begin * step
    end = min((num_in - 1 - matrix.shape[1] - first) // step + 1, num_blocks)  # of the blocks that see no end
    if end <= begin or first > 0:
        return None
    ends = rows(0, begin * period), rows(end * period, num_out) if end * period < num_out else None
    return Stencil(
        weights=matrix.to(device),
        step=step,
        first=first,
        ends=tuple(Block(b.start, b.first, b.matrix.to(device)) for b in ends if b is not None and len(b.matrix)),
    )


def from_stencil(x_nchw: Tensor, axis: int, stencil: Stencil, num_out: int) -> Tensor:
    """Apply a map along an axis.

    Args:
        x_nchw: floats (N, C, H, W) on the stencil's device; may be differentiated.
        axis: -1 or -2.
        num_out: the map's length.

    Returns:
        As `x_nchw`, contiguous, but along `axis` of the map's length.
    """
    num_channels, num_in = x_nchw.shape[1], x_nchw.shape[axis]
    if len(x_nchw) * num_channels > 1 and max(1, num_out / num_in) * x_nchw.numel() > _MOST_SAMPLES:
        planes = torch.split(x_nchw.flatten(0, 1), 1)
        out = torch.cat([from_stencil(plane[None], axis, stencil, num_out) for plane in planes], 1)
        return out.view(len(x_nchw), num_channels, *out.shape[2:])
    period, num_taps = stencil.weights.shape
    step, num_blocks = stencil.step, -(-num_out // period)
    # Zeros before, a whole number of steps more than the first output needs, so that the last one is there as well.
    missing = (num_blocks - 1) * step + stencil.first + num_taps - num_in  # behind the picture
    before = -stencil.first + step * max(-(-(missing + stencil.first) // step), 0)
    weights = stencil.weights.to(x_nchw.dtype).repeat(num_channels, 1)
    across = axis == -1
    weights = weights[:, None, None] if across else weights[:, None, :, None]
    padding, stride = ((0, before), (1, step)) if across else ((before, 0), (step, 1))
    out = F.conv2d(x_nchw.contiguous(), weights, padding=padding, stride=stride, groups=num_channels)
    out = out.narrow(axis, (before + stencil.first) // step, num_blocks)
    if period > 1:
        size = list(x_nchw.shape)
        size[axis] = num_blocks * period
        phases = out.view(out.shape[0], num_channels, period, *out.shape[2:])
        out = phases.movedim(2, -1 if across else -2).reshape(size)
    out = out.narrow(axis, 0, num_out).contiguous()
    for start, first, matrix in stencil.ends:
        seen = x_nchw.narrow(axis, first, matrix.shape[1])
        matrix = matrix.to(x_nchw.dtype)
        end = torch.matmul(seen, matrix.t()) if across else torch.matmul(matrix, seen)
        out.narrow(axis, start, len(matrix)).copy_(end)
    return out
