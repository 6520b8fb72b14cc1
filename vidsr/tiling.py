"""Running a network over a picture in overlapping tiles when the whole does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    network: Callable[[Tensor], Tensor], x_nchw: Tensor, *, scale: int, tile: int, overlap: int, align: int = 1
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

    Returns:
        (N, C', H * scale, W * scale), same device and dtype as the network's output.
    """
    rows = spans(x_nchw.shape[-2], tile, overlap, align)
    columns = spans(x_nchw.shape[-1], tile, overlap, align)
    if len(rows) == len(columns) == 1:
        return network(x_nchw)
    out: Tensor | None = None
    for row in rows:
        for column in columns:
            piece = network(x_nchw[..., row.start : row.stop, column.start : column.stop])
            if out is None:
                height, width = x_nchw.shape[-2] * scale, x_nchw.shape[-1] * scale
                out = piece.new_empty((*piece.shape[:-2], height, width))
            out[..., _scaled(row, scale), _scaled(column, scale)] = piece[
                ..., _inside(row, scale), _inside(column, scale)
            ]
    assert out is not None
    return out


def _scaled(span: Span, scale: int) -> slice:
    return slice(span.keep_start * scale, span.keep_stop * scale)


def _inside(span: Span, scale: int) -> slice:
    return slice((span.keep_start - span.start) * scale, (span.keep_stop - span.start) * scale)
