"""A batch of planes in host memory that a device can copy from, and what became of its frames."""

from __future__ import annotations

import torch
from torch import Tensor

from vidsr.frames import PictureFormat, PlaneBatch
from vidsr.pipeline.tally import Tally
from vidsr.pixels.color import TORCH_DTYPES


class HostBatch(PlaneBatch):
    """A plane batch whose arrays are views of host tensors, in pinned memory where there is a GPU.

    `tallies[n]` is what became of frame n, once it is a result.
    """

    def __init__(self, picture: PictureFormat, capacity: int, *, pinned: bool) -> None:
        dtype = TORCH_DTYPES[picture.layout.dtype]
        self.tensors = [
            torch.empty((capacity, height, width), dtype=dtype, pin_memory=pinned)
            for height, width in picture.plane_shapes
        ]
        self.tallies: list[Tally] = []
        super().__init__(planes=tuple(tensor.numpy() for tensor in self.tensors))

    @property
    def filled(self) -> list[Tensor]:
        """The part of each tensor that holds frames."""
        return [tensor[: len(self)] for tensor in self.tensors]
