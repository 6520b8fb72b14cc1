"""Resizing pictures on the device: separable kernels at exact rational steps, antialiased when shrinking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name that torch's own documentation uses
from torch import Tensor

from vidsr.pixels.axis_blocks import Block, block_length, from_blocks
from vidsr.pixels.stencil import Stencil, from_stencil, stencil_of

Kernel = Literal["nearest", "bicubic", "lanczos"]

# Beyond this the weights of a step repeat too rarely to be worth a filter each.
_MAX_PHASES = 64


def resize(x_nchw: Tensor, height: int, width: int, kernel: Kernel) -> Tensor:
    """Resize pictures so that their corners, not their corner samples, stay in place.

    Args:
        x_nchw: float32 (N, C, H, W) on any device.
        height, width: output size in pixels.
        kernel: `nearest`, `bicubic` (Keys 1981, a = -0.5) or `lanczos` (3 lobes, Duchon 1979). The last two
            widen when shrinking, so they do not alias.

    Returns:
        float32 (N, C, height, width) on the same device; values may over- and undershoot the input's range.
    """
    if kernel == "nearest":
        return F.interpolate(x_nchw, size=(height, width), mode="nearest-exact")
    if kernel == "bicubic":
        return F.interpolate(x_nchw, size=(height, width), mode="bicubic", antialias=True)
    # torch has Lanczos only in its newest releases and only for the CPU.
    in_height, in_width = x_nchw.shape[-2:]
    axes = [(-2, height, Fraction(in_height, height)), (-1, width, Fraction(in_width, width))]
    # The axis that shrinks goes first, so that the other pass has less to do.
    for axis, num_out, step in sorted(axes, key=lambda a: a[2], reverse=True):
        x_nchw = _lanczos_axis(x_nchw, axis, num_out, step)
    return x_nchw


def _lanczos_axis(x: Tensor, axis: int, num_out: int, step: Fraction) -> Tensor:
    if step == 1:
        return x
    if x.device.type == "cpu" and not x.requires_grad:
        return from_blocks(x, axis, _lanczos_blocks(x.shape[axis], num_out, block_length(axis)))
    stencil = _lanczos_stencil(x.shape[axis], num_out, x.device)
    if stencil is not None:
        return from_stencil(x, axis, stencil, num_out)
    if axis == -1:  # rows are gathered ten times faster than columns
        return _by_gather(x.transpose(-1, -2).contiguous(), num_out, step).transpose(-1, -2).contiguous()
    return _by_gather(x, num_out, step)


@lru_cache(maxsize=16)
def _lanczos_blocks(num_in: int, num_out: int, length: int) -> tuple[Block, ...]:
    rows = partial(_lanczos_rows, num_in, num_out)
    return tuple(rows(begin, min(begin + length, num_out)) for begin in range(0, num_out, length))


@lru_cache(maxsize=32)
def _lanczos_stencil(num_in: int, num_out: int, device: torch.device) -> Stencil | None:
    step = Fraction(num_in, num_out)
    if max(step.denominator, step.numerator) > _MAX_PHASES:
        return None
    rows = partial(_lanczos_rows, num_in, num_out)
    with torch.inference_mode(False):  # kept tensors must also serve a caller who differentiates
        return stencil_of(rows, num_in, num_out, step.denominator, step.numerator, device)


def _lanczos_rows(num_in: int, num_out: int, begin: int, end: int) -> Block:
    """Outputs [begin, end) of the resize of an axis; what lies beyond its ends is added up on its edge samples."""
    step = Fraction(num_in, num_out)
    taps = [_taps(i * step + (step - 1) / 2, step) for i in range(begin, end)]
    first = min(max(taps[0][0], 0), num_in - 1)
    last = min(max(start + len(weights) for start, weights in taps), num_in) - 1
    matrix = np.zeros((len(taps), max(last, first) - first + 1))
    for row, (start, weights) in zip(matrix, taps, strict=True):
        np.add.at(row, np.clip(np.arange(start, start + len(weights)), 0, num_in - 1) - first, weights)
    return Block(begin, first, torch.from_numpy(matrix).to(torch.float32))


def interleave(phases: Sequence[Tensor], axis: int) -> Tensor:
    """Merge p tensors so that sample k of tensor r becomes sample k*p + r along `axis` (-1 or -2)."""
    if len(phases) == 1:
        return phases[0]
    shape = _with(phases[0], axis, phases[0].shape[axis] * len(phases))
    return torch.stack(list(phases), dim=axis).reshape(shape)


def every(x: Tensor, axis: int, start: int, step: int) -> Tensor:
    """Samples start, start + step, ... along `axis`, contiguous."""
    if step == 1:
        return x
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, None, step)
    return x[tuple(index)].contiguous()


def _by_gather(x: Tensor, num_out: int, step: Fraction) -> Tensor:
    """Any step, along the rows: every output row has its own weights, gathered tap by tap."""
    starts, table = _gather_table(num_out, step, x.device)
    out = x.new_zeros(_with(x, -2, num_out))
    for tap in range(table.shape[1]):
        rows = x.index_select(-2, (starts + tap).clamp_(0, x.shape[-2] - 1))
        out.addcmul_(rows, table[:, tap, None])
    return out


@lru_cache(maxsize=16)
def _gather_table(num_out: int, step: Fraction, device: torch.device) -> tuple[Tensor, Tensor]:
    """First input row of each output row, (num_out,), and its weights, (num_out, taps)."""
    taps = [_taps(i * step + (step - 1) / 2, step) for i in range(num_out)]
    num_taps = max(len(weights) for _, weights in taps)
    with torch.inference_mode(False):  # kept tensors must also serve a caller who differentiates
        starts = torch.tensor([start for start, _ in taps], device=device)
        table = torch.tensor([w + [0.0] * (num_taps - len(w)) for _, w in taps], device=device)
    return starts, table


def _taps(position: Fraction, step: Fraction) -> tuple[int, list[float]]:
    """First input index and normalised weights of the output sample at `position` (in input samples)."""
    widening = max(step, Fraction(1))
    reach = 3 * widening
    start, stop = math.floor(position - reach) + 1, math.ceil(position + reach)
    weights = [_lanczos3(float((index - position) / widening)) for index in range(start, stop)]
    total = math.fsum(weights)
    return start, [w / total for w in weights]


def _lanczos3(x: float) -> float:
    if x == 0:
        return 1.0
    if abs(x) >= 3:
        return 0.0
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2


def pad_edge(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Repeat the edge sample along one axis, by any amount at either end."""
    num_in = x.shape[axis]
    pieces = [x]
    if before > 0:
        pieces.insert(0, x.narrow(axis, 0, 1).expand(_with(x, axis, before)))
    if after > 0:
        pieces.append(x.narrow(axis, num_in - 1, 1).expand(_with(x, axis, after)))
    return torch.cat(pieces, axis) if len(pieces) > 1 else x


def _with(x: Tensor, axis: int, length: int) -> list[int]:
    shape = list(x.shape)
    shape[axis] = length
    return shape
