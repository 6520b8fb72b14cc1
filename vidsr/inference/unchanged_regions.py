"""Unchanged regions: of a frame that differs from the one before in some places, only those are computed again.

A network of small reach sees nothing beyond a few pixels. So where a frame equals the one before by more than the
reach, the last result still holds, and only the changed area, dilated by the reach, needs the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Changes are looked at in squares of this side. It is also what the sizes of crops step by: engines prepare for each.
TILE_PX = 16
# What one more call of a network costs beside its pixels, in pixels: calls, layouts, small matrices.
_CALL_COST_PX = 1000
# Crops together must cost less than this share of the frame; else it is computed whole.
_WORTHWHILE = 0.6
# Networks that reach further would need crops as large as the frame.
_MAX_REACH_PX = 64


@dataclass(frozen=True)
class Box:
    """Part of a picture: rows [top, bottom), columns [left, right), in pixels or in tiles."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def dilated(self, by: int, height: int, width: int) -> Box:
        """Larger by so much on every side, within a picture of that size."""
        return Box(
            max(self.top - by, 0),
            min(self.bottom + by, height),
            max(self.left - by, 0),
            min(self.right + by, width),
        )

    def of(self, x_nchw: Tensor, scale: int = 1) -> Tensor:
        """The part of a picture that is `scale` times as large, as a view."""
        rows = slice(self.top * scale, self.bottom * scale)
        return x_nchw[..., rows, self.left * scale : self.right * scale]

    def within(self, outer: Box) -> Box:
        """The same, counted from the corner of another box."""
        return Box(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


class Regions:
    """Runs a network on single frames, each as far as it differs from the one before.

    Results are those of whole frames but for the order in which an engine adds up: equal with torch on the CPU, and
    within 0.004 levels of 255 with winograd, whose tiles lie elsewhere in a crop.

    Args:
        scale: the network's.
        reach_px: how far an output pixel looks, in input pixels.
        align_px: the network folds blocks of this many pixels; crops start on a block.
    """

    def __init__(self, *, scale: int, reach_px: int, align_px: int) -> None:
        self._scale = scale
        self._reach = -(-reach_px // align_px) * align_px
        self._seen_nchw: Tensor | None = None
        self._result_nchw: Tensor | None = None
        self.num_partly = 0  # frames that were not computed whole

    @staticmethod
    def suit(reach_px: int, align_px: int) -> bool:
        """Whether a network looks so little around that parts of a frame can be worth a call."""
        return 0 < reach_px <= _MAX_REACH_PX and TILE_PX % align_px == 0

    def forget(self) -> None:
        """Compute the next frame whole."""
        self._seen_nchw = self._result_nchw = None

    def run(self, x_nchw: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """What the network makes of a frame.

        Args:
            x_nchw: (N, C, H, W) on the CPU; not to be changed before the next call. Only N = 1 is remembered.
            network: takes (N, C, h, w) to (N, C', h * scale, w * scale).

        Returns:
            (N, C', H * scale, W * scale), good until the next call, which writes into it.
        """
        seen, result = self._seen_nchw, self._result_nchw
        self.forget()  # should the network fail, nothing half pasted stays
        crops = None
        if seen is not None and seen.shape == x_nchw.shape:
            height, width = x_nchw.shape[-2:]
            crops = crops_of(changed_tiles(x_nchw, seen), height, width, self._reach)
        if crops is None or result is None:
            seen = result = None  # their memory is the network's
            result = network(x_nchw)
        else:
            self.num_partly += 1
            for read, kept in crops:
                piece = network(read.of(x_nchw).contiguous())
                kept.of(result, self._scale).copy_(kept.within(read).of(piece, self._scale))
        if x_nchw.shape[0] == 1:
            self._seen_nchw, self._result_nchw = x_nchw, result
        return result


def changed_tiles(x_nchw: Tensor, before_nchw: Tensor) -> NDArray[np.bool_]:
    """(rows, columns) of tiles: whether any of their pixels differs between two pictures; the last are cut short."""
    differs = (x_nchw != before_nchw).flatten(0, 1).any(0)
    height, width = differs.shape
    whole = torch.nn.functional.pad(differs, (0, -width % TILE_PX, 0, -height % TILE_PX))
    rows, columns = (side // TILE_PX for side in whole.shape)
    tiles: NDArray[np.bool_] = whole.view(rows, TILE_PX, columns, TILE_PX).any(1).any(2).numpy()
    return tiles


def crops_of(tiles: NDArray[np.bool_], height: int, width: int, reach: int) -> list[tuple[Box, Box]] | None:
    """What to read and what of it to keep, in pixels, so that all that changed tiles reach is new.

    Args:
        tiles: of a picture of `height` by `width` pixels, see `changed_tiles`.
        reach: of the network, rounded up to the blocks it folds. `TILE_PX` is a multiple of those too, so crops begin
            on a block, and end on one or with the picture.

    Returns:
        None where the whole picture costs hardly more.
    """

    def crop(box: Box) -> tuple[Box, Box]:
        changed = Box(*(side * TILE_PX for side in (box.top, box.bottom, box.left, box.right)))
        kept = changed.dilated(reach, height, width)
        return kept.dilated(reach, height, width), kept

    def cost(box: Box) -> int:
        return crop(box)[0].area + _CALL_COST_PX

    if tiles.mean() >= _WORTHWHILE:
        return None
    boxes = _split(tiles, 0, 0, cost)
    if sum(map(cost, boxes)) >= _WORTHWHILE * height * width:
        return None
    return [crop(box) for box in boxes]


def _split(tiles: NDArray[np.bool_], top: int, left: int, cost: Callable[[Box], int]) -> list[Box]:
    """Boxes around all changed tiles: cut in two, again and again, where the two cost less than the one.

    The recursive cut of G. Nagy and S. Seth, "Hierarchical representation of optically scanned documents", 1984,
    at any line instead of at gaps only.
    """
    bounds = _bounds(tiles)
    if bounds is None:
        return []
    tiles = tiles[bounds.top : bounds.bottom, bounds.left : bounds.right]
    top, left = top + bounds.top, left + bounds.left
    whole = Box(top, top + tiles.shape[0], left, left + tiles.shape[1])
    least, halves = cost(whole), None
    for axis in (0, 1):
        for at in range(1, tiles.shape[axis]):
            first, second = (tiles[:at], tiles[at:]) if axis == 0 else (tiles[:, :at], tiles[:, at:])
            corner = (top + at, left) if axis == 0 else (top, left + at)
            found = [_bounds(first, top, left), _bounds(second, *corner)]
            total = sum(cost(box) for box in found if box is not None)
            if total < least:
                least, halves = total, ((first, top, left), (second, *corner))
    if halves is None:
        return [whole]
    return [box for part in halves for box in _split(*part, cost)]


def _bounds(tiles: NDArray[np.bool_], top: int = 0, left: int = 0) -> Box | None:
    """The smallest box around all changed tiles, of which the first lies at (top, left)."""
    rows, columns = np.flatnonzero(tiles.any(1)), np.flatnonzero(tiles.any(0))
    if not len(rows):
        return None
    return Box(top + int(rows[0]), top + int(rows[-1]) + 1, left + int(columns[0]), left + int(columns[-1]) + 1)
