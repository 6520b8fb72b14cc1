"""Linear maps along one axis of a picture, as products with small matrices: what a CPU does fastest.

A filter that goes over a picture tap by tap reads and writes all of it for each tap. Cut into blocks, each output line
of which depends on a few input lines only, it is read once, and the zeros multiplied on the way cost nothing beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Outputs per block. Along y a block's inputs should stay in the first cache, along x a product should fill a vector
# (measured at 2560x1440 to 1280x720: 7.4 ms at 8 and 13.2 at 64; 9.7 ms at 8, 5.3 at 32).
_LINES_Y, _LINES_X = 8, 32


class Block(NamedTuple):
    """Outputs [start, start + rows of the matrix) from inputs [first, first + columns of the matrix)."""

    start: int
    first: int
    matrix: Tensor


def block_length(axis: int) -> int:
    """Outputs per block that suit an axis, -1 or -2."""
    return _LINES_X if axis == -1 else _LINES_Y


def from_blocks(x: Tensor, axis: int, blocks: Sequence[Block]) -> Tensor:
    """Apply a map given as blocks, in the order of their outputs and without a gap.

    Args:
        x: float32 (..., H, W) on the CPU; nothing is kept for differentiating.
        axis: -1 or -2.
        blocks: with float32 matrices.

    Returns:
        As `x`, but along `axis` as long as the blocks reach. Each picture's result is the same in any batch.
    """
    shape = list(x.shape)
    shape[axis] = blocks[-1].start + len(blocks[-1].matrix)
    out = x.new_empty(shape)
    for picture, result in zip(x.reshape(-1, *x.shape[-2:]), out.view(-1, *shape[-2:]), strict=True):
        picture = _aligned(picture)
        for start, first, matrix in blocks:
            num_out, num_in = matrix.shape
            if axis == -2:
                torch.mm(matrix, picture[first : first + num_in], out=result[start : start + num_out])
            else:
                seen = picture[:, first : first + num_in]
                torch.mm(seen, matrix.t(), out=result[:, start : start + num_out])
    return out


def _aligned(picture: Tensor) -> Tensor:
    """Itself, or a copy that begins where PyTorch puts what is alone: the last bits of a product depend on it.

    On an AMD EPYC MKL adds up in another order where an operand begins at no multiple of 16 bytes. Pictures of a batch
    may begin anywhere, unless their size is a multiple of 64 bytes, as that of nearly all video is.
    """
    return picture if picture.data_ptr() % 64 == 0 else picture.clone()
