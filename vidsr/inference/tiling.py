"""Running a network over a picture in overlapping tiles when the whole does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Along one axis: read [start, stop), keep what lies in [keep_start, keep_stop); all in input pixels."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def spans(length: int, tile: int, overlap: int, align: int = 1) -> list[Span]:
    """Cut an axis into tiles that keep `tile` pixels or fewer and read `overlap` more on each side.

    Every span starts at a multiple of `align`. They all read equally many pixels, so that a compiled or captured
    network sees one shape; only where `length` is no multiple of `align`, those at its end read the rest as well.
    """
    if tile <= 0 or tile >= length:
        return [Span(0, length, 0, length)]
    num_tiles = -(-length // tile)
    width = -(-length // num_tiles) + 2 * overlap + align - 1
    width = min(-(-width // align) * align, length)
    result = []
    for index in range(num_tiles):
        keep_start, keep_stop = length * index // num_tiles, length * (index + 1) // num_tiles
        start = min(max(keep_start - overlap, 0), length - width) // align * align
        stop = start + width
        if length - stop < align:  # what is left is no block: without it, the tile would see a border that is none
            stop = length
        result.append(Span(start, stop, keep_start, keep_stop))
    return result


def run_tiled(
    network: Callable[[Tensor], Tensor],
    x_nchw: Tensor,
    *,
    scale: int,
    tile: int,
    overlap: int,
    align: int = 1,
    fade: int = 0,
) -> Tensor:
    """Apply `network` tile by tile and put its outputs together.

    Args:
        network: takes (N, C, h, w) to (N, C', h * scale, w * scale).
        x_nchw: (N, C, H, W) on any device.
        scale: the network's scale.
        tile: side in input pixels that a tile contributes; 0 runs the whole picture at once.
        overlap: context in input pixels read around each tile. From the network's reach on, the result
            equals the untiled one.
        align: the network folds blocks of this many pixels; tiles start on a block.
        fade: input pixels to each side of a border over which neighbours are cross-faded, so that where the
            overlap is less than the reach no edge shows; at most `overlap`. 0 puts them side by side.

    Returns:
        (N, C', H * scale, W * scale), same device and dtype as the network's output.
    """
    rows = spans(x_nchw.shape[-2], tile, overlap, align)
    columns = spans(x_nchw.shape[-1], tile, overlap, align)
    if len(rows) == len(columns) == 1:
        return network(x_nchw)
    fade_y, fade_x = _fade_that_fits(rows, fade), _fade_that_fits(columns, fade)
    out: Tensor | None = None
    for row in rows:
        for column in columns:
            piece = network(x_nchw[..., row.start : row.stop, column.start : column.stop])
            if out is None:
                height, width = x_nchw.shape[-2] * scale, x_nchw.shape[-1] * scale
                out = piece.new_zeros((*piece.shape[:-2], height, width))
            wide_row, wide_column = _widened(row, fade_y), _widened(column, fade_x)
            kept = piece[..., _inside(wide_row, scale), _inside(wide_column, scale)]
            if fade_y:
                kept = kept * _weights(wide_row, row, fade_y, scale, piece)[:, None]
            if fade_x:
                kept = kept * _weights(wide_column, column, fade_x, scale, piece)
            out[..., _scaled(wide_row, scale), _scaled(wide_column, scale)].add_(kept)
    assert out is not None
    return out


def _fade_that_fits(tiles: list[Span], fade: int) -> int:
    """No wider than half a tile, so that never more than two tiles meet."""
    if len(tiles) == 1:
        return 0
    return min(fade, *((span.keep_stop - span.keep_start) // 2 for span in tiles))


def _widened(span: Span, fade: int) -> Span:
    """The span with what it contributes beyond its borders, except at the picture's own edges."""
    first, last = span.keep_start == span.start, span.keep_stop == span.stop
    return Span(
        span.start,
        span.stop,
        span.keep_start - (0 if first else fade),
        span.keep_stop + (0 if last else fade),
    )


def _weights(wide: Span, span: Span, fade: int, scale: int, like: Tensor) -> Tensor:
    """(output pixels of `wide`,): rising from 0 to 1 around the span's first border, falling around its last."""
    position = torch.arange(wide.keep_start * scale, wide.keep_stop * scale, device=like.device, dtype=like.dtype) + 0.5
    ramp = 2 * fade * scale
    weights = torch.ones_like(position)
    if wide.keep_start < span.keep_start:
        weights = weights.minimum((position - (span.keep_start - fade) * scale) / ramp)
    if wide.keep_stop > span.keep_stop:
        weights = weights.minimum(((span.keep_stop + fade) * scale - position) / ramp)
    return weights


def _scaled(span: Span, scale: int) -> slice:
    return slice(span.keep_start * scale, span.keep_stop * scale)


def _inside(span: Span, scale: int) -> slice:
    return slice((span.keep_start - span.start) * scale, (span.keep_stop - span.start) * scale)
