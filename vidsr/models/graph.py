"""A network as a list of operations: what engines lower, and plain PyTorch runs as the reference.

Operation n makes value n and reads values of smaller numbers. Convolutions keep the size of what they read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Operation(ABC):
    """Args: of: the values it reads."""

    kind: ClassVar[str]  # in words
    of: tuple[int, ...]

    @abstractmethod
    def compute(self, *values_nchw: Tensor) -> Tensor:
        """What it makes of these values, each (N, C, H, W)."""


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """The picture, filled up as the graph says, which reads no value of the graph."""

    kind = "input"
    of: tuple[int, ...] = ()

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (picture,) = values_nchw
        return picture


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """Of one value, with zeros around it and stride 1; weight (O, I, K, K), K odd, bias (O,)."""

    kind = "convolution"
    weight: Tensor
    bias: Tensor

    @property
    def padding(self) -> int:
        return self.weight.shape[-1] // 2

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (x,) = values_nchw
        return functional.conv2d(x, self.weight, self.bias, padding=self.padding)


@dataclass(frozen=True, eq=False)
class Rectification(Operation):
    """What is negative times a slope: (1,) for all channels, or (C,) for each."""

    kind = "rectification"
    slopes: Tensor

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (x,) = values_nchw
        return functional.prelu(x, self.slopes.to(x.dtype))


@dataclass(frozen=True, eq=False)
class Sigmoid(Operation):
    kind = "sigmoid"

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (x,) = values_nchw
        return torch.sigmoid(x)


@dataclass(frozen=True, eq=False)
class Sum(Operation):
    """Each value times its factor, added up from the first to the last, and a constant."""

    kind = "sum"
    factors: tuple[float, ...]
    constant: float = 0.0

    def compute(self, *values_nchw: Tensor) -> Tensor:
        weighted = [x if factor == 1 else x * factor for x, factor in zip(values_nchw, self.factors, strict=True)]
        total = weighted[0]
        for term in weighted[1:]:
            total = total + term
        return total + self.constant if self.constant else total


@dataclass(frozen=True, eq=False)
class Product(Operation):
    """Of two values, sample by sample."""

    kind = "product"

    def compute(self, *values_nchw: Tensor) -> Tensor:
        a, b = values_nchw
        return a * b


@dataclass(frozen=True, eq=False)
class Concatenation(Operation):
    """Of two or more values, by their channels."""

    kind = "concatenation"

    def compute(self, *values_nchw: Tensor) -> Tensor:
        return torch.cat(values_nchw, 1)


@dataclass(frozen=True, eq=False)
class Shuffle(Operation):
    """Channels to pixels: (N, C * side * side, H, W) to (N, C, H * side, W * side), the channels of a picture first."""

    kind = "pixelshuffle"
    side: int

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (x,) = values_nchw
        return functional.pixel_shuffle(x, self.side)


@dataclass(frozen=True, eq=False)
class Unshuffle(Operation):
    """Pixels to channels, the other way round."""

    kind = "pixel unshuffle"
    side: int

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (x,) = values_nchw
        return functional.pixel_unshuffle(x, self.side)


@dataclass(frozen=True, eq=False)
class Nearest(Operation):
    """Each pixel as a square of so many."""

    kind = "nearest upsampling"
    side: int

    def compute(self, *values_nchw: Tensor) -> Tensor:
        (x,) = values_nchw
        return functional.interpolate(x, scale_factor=float(self.side), mode="nearest")


@dataclass
class Graph:
    """The last operation makes the result.

    Args:
        scale: output side over input side.
        multiple_px: the sides of the input are filled up to multiples of this, see `pad_to_multiple`, and what comes
            of that is cut off the result.
    """

    scale: int
    multiple_px: int = 1
    operations: list[Operation] = field(default_factory=list)

    def add(self, operation: Operation) -> int:
        """The number of its value."""
        assert all(0 <= value < len(self.operations) for value in operation.of)
        self.operations.append(operation)
        return len(self.operations) - 1

    def convolution(self, x: int, layer: nn.Conv2d) -> int:
        """Adds what a layer does, which shares its weights."""
        assert layer.bias is not None and layer.groups == 1 and set(layer.stride + layer.dilation) == {1}
        assert layer.padding == tuple(side // 2 for side in layer.kernel_size) and layer.padding_mode == "zeros"
        return self.add(Convolution((x,), layer.weight.detach(), layer.bias.detach()))

    def rectification(self, x: int, slope: float) -> int:
        return self.add(Rectification((x,), torch.tensor([slope], dtype=torch.float32, device="cpu")))

    def concatenation(self, parts: Sequence[int]) -> int:
        return parts[0] if len(parts) == 1 else self.add(Concatenation(tuple(parts)))

    def num_readers(self) -> Counter[int]:
        """How often each value is read; the result counts as read once."""
        counted = Counter(value for operation in self.operations for value in operation.of)
        counted[len(self.operations) - 1] += 1
        return counted


def run(graph: Graph, x_nchw: Tensor) -> Tensor:
    """What the graph makes of pictures (N, C, H, W): (N, C, H * scale, W * scale), in the type of its weights."""
    height, width = (side * graph.scale for side in x_nchw.shape[-2:])
    picture = pad_to_multiple(x_nchw, graph.multiple_px)
    values: dict[int, Tensor] = {}
    to_come = graph.num_readers()
    for number, operation in enumerate(graph.operations):
        values[number] = operation.compute(*([values[value] for value in operation.of] or [picture]))
        to_come.subtract(operation.of)
        for value in set(operation.of):
            if not to_come[value]:
                del values[value]  # a network's values together would take gigabytes
    return values[len(graph.operations) - 1][..., :height, :width]


def pad_to_multiple(x_nchw: Tensor, multiple: int) -> Tensor:
    """Grows the right and bottom sides by reflection, or by repetition in pictures too small for it."""
    height, width = x_nchw.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if not right and not bottom:
        return x_nchw
    mode = "reflect" if right < width and bottom < height else "replicate"
    return functional.pad(x_nchw, (0, right, 0, bottom), mode=mode)
