"""A graph as the layers of native/: convolutions, each with all that the kernels do to its result at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from vidsr.models.graph import (
    Concatenation,
    Convolution,
    Graph,
    Input,
    Nearest,
    Operation,
    Rectification,
    Shuffle,
    Sum,
    Unshuffle,
)

MAX_RESIDUALS = 2  # kMaxResiduals of native/winograd


class NotLoweredError(Exception):
    """What the kernels do not have, as a sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A convolution of values that lie side by side; then slopes for what is negative, or a weight and residuals."""

    convolution: Convolution
    parts: tuple[int, ...]
    doubles: bool  # whether each pixel that it reads becomes four
    value: int  # what it makes
    slopes: Tensor | None = None
    weight: float = 1.0
    residuals: tuple[tuple[int, float], ...] = ()  # (value, weight), added to it


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A graph, lowered."""

    layers: tuple[Layer, ...]  # each after those that it reads; the last makes the output
    joined: tuple[tuple[int, ...], ...]  # values that lie side by side in one picture; each in one at most
    picture: int  # the value that no layer makes
    fold: int = 1  # side of the squares of pixels that it has as channels
    shuffle: int = 1  # side of the squares of pixels that channels of the output become
    adds_input: bool = False  # each pixel of it to those that it becomes


def lower(graph: Graph) -> Layers:
    """The same without copying a weight.

    Raises:
        NotLoweredError: the kernels cannot do all of it.
    """
    output, shuffle, adds_input = _ending(graph)
    lowering = _Lowering(graph)
    for number in range(output + 1):
        lowering.take(number)
    layers = tuple(lowering.layers.values())
    if not layers or layers[-1].value != output:
        raise NotLoweredError(f"its graph ends in a {graph.operations[output].kind}, which the kernels cannot do")
    alone = {lowering.picture, output}
    joined = tuple(_joined(layers, alone))
    return Layers(
        layers=layers,
        joined=joined,
        picture=lowering.picture,
        fold=lowering.fold,
        shuffle=shuffle,
        adds_input=adds_input,
    )


def _ending(graph: Graph) -> tuple[int, int, bool]:
    """The last value that a layer makes, and what is done to it where the output is written: shuffle, adds_input."""
    operations, output, repeated = graph.operations, len(graph.operations) - 1, 0
    match operations[output]:
        case Sum(of=(x, y), factors=(1.0, 1.0), constant=0.0):
            match operations[y]:
                case Nearest(of=(picture,), side=side) if isinstance(operations[picture], Input):
                    output, repeated = x, side
    shuffle = 1
    match operations[output]:
        case Shuffle(of=(x,), side=side):
            output, shuffle = x, side
    if repeated not in (0, shuffle):
        raise NotLoweredError(f"its graph adds its input {repeated} times as large, and not as the output is shuffled")
    return output, shuffle, repeated > 0


class _Lowering:
    """Takes one operation after the other; those that only say how something is read are left to what reads it."""

    def __init__(self, graph: Graph) -> None:
        self.layers: dict[int, Layer] = {}  # by the values that they make
        self.picture, self.fold = 0, 1
        self._operations, self._num_readers = graph.operations, graph.num_readers()

    def take(self, number: int) -> None:
        operation = self._operations[number]
        match operation:
            case Input() | Concatenation() | Nearest() | Shuffle():
                pass
            case Unshuffle(of=(0,), side=side) if self._num_readers[0] == 1:
                self.picture, self.fold = number, side
            case Convolution():
                self.layers[number] = self._convolution(number, operation)
            case Rectification(of=(x,)) if self._can_become(x) and not self.layers[x].residuals:
                self.layers[number] = replace(self.layers.pop(x), value=number, slopes=operation.slopes)
            case Rectification():
                raise self._lacks(operation, operation.of[0])
            case Sum():
                self.layers[number] = self._sum(number, operation)
            case _:
                raise NotLoweredError(f"its graph has a {operation.kind}, which the kernels do not have")

    def _convolution(self, number: int, operation: Convolution) -> Layer:
        sides = tuple(operation.weight.shape[2:])
        if sides != (3, 3):
            raise NotLoweredError(f"its graph has a convolution of {sides[0]}x{sides[1]}, and the kernels are for 3x3")
        reader: Operation = operation
        parts, doubles = operation.of, False
        match self._operations[operation.of[0]]:
            case Concatenation() as reader:
                parts = reader.of
            case Nearest(side=2) as reader:
                parts, doubles = reader.of, True
        self._require_made(reader, parts)
        return Layer(convolution=operation, parts=parts, doubles=doubles, value=number)

    def _sum(self, number: int, operation: Sum) -> Layer:
        if operation.constant:
            raise NotLoweredError("its graph adds a constant, which the kernels do not")
        able = [value for value in operation.of if self._can_become(value)]
        if not able:
            raise self._lacks(operation, operation.of[0])
        result = max(able)  # all others are there before the last
        terms = dict(zip(operation.of, operation.factors, strict=True))
        factor = terms.pop(result)
        self._require_made(operation, terms)
        layer = self.layers.pop(result)
        residuals = (*((value, weight * factor) for value, weight in layer.residuals), *terms.items())
        if len(residuals) > MAX_RESIDUALS:
            raise NotLoweredError(f"its graph adds more than {MAX_RESIDUALS} values to a convolution's")
        return replace(layer, value=number, weight=layer.weight * factor, residuals=residuals)

    def _can_become(self, value: int) -> bool:
        """Whether a layer can make what follows in place of this value, which nothing else reads."""
        layer = self.layers.get(value)
        return layer is not None and layer.slopes is None and self._num_readers[value] == 1

    def _require_made(self, reader: Operation, values: Iterable[int]) -> None:
        for value in values:
            if value != self.picture and value not in self.layers:
                raise self._lacks(reader, value)

    def _lacks(self, reader: Operation, value: int) -> NotLoweredError:
        kind = self._operations[value].kind
        return NotLoweredError(f"its graph has a {reader.kind} of a {kind}, which the kernels do not have")


def _joined(layers: Iterable[Layer], alone: set[int]) -> Iterable[tuple[int, ...]]:
    """What all layers read beside the first of their parts, each with what is longest."""
    joined: dict[int, tuple[int, ...]] = {}
    alone = alone | {value for layer in layers for value in (layer.parts[0], *(value for value, _ in layer.residuals))}
    for layer in layers:
        for first in layer.parts[1:2]:
            others, known = layer.parts[1:], joined.get(first, ())
            joined[first] = longest = max(others, known, key=len)
            if longest[: len(others)] != others or longest[: len(known)] != known:
                raise NotLoweredError("its graph concatenates the same values in several orders")
    members = [value for values in joined.values() for value in values]
    if len(members) > len(set(members)) or alone & set(members):
        raise NotLoweredError("its graph reads a part of a concatenation in other places, too")
    return joined.values()
