"""A graph as OpenVINO's own operations: nothing is traced or converted, so any size is one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vidsr.models.graph import (
    Concatenation,
    Convolution,
    Graph,
    Input,
    Nearest,
    Operation,
    Product,
    Rectification,
    Shuffle,
    Sigmoid,
    Sum,
    Unshuffle,
)


def cannot_lower(graph: Graph) -> str | None:
    """What OpenVINO lacks for it, as a sentence; None: nothing."""
    unknown = next((operation for operation in graph.operations if type(operation) not in _LOWERINGS), None)
    return None if unknown is None else f"its graph has a {unknown.kind}, which is not written for OpenVINO"


def build_model(graph: Graph, name: str) -> Any:
    """The graph as an `openvino.Model` from float32 (N, 3, H, W) to (N, 3, H * scale, W * scale), any N.

    H and W are multiples of the graph's `multiple_px`.
    """
    import openvino
    from openvino import opset13 as op

    picture = op.parameter(openvino.PartialShape([-1, 3, -1, -1]), openvino.Type.f32)
    values: list[Any] = []
    for operation in graph.operations:
        read = [values[value] for value in operation.of]
        values.append(_LOWERINGS[type(operation)](op, operation, *read) if read else picture)
    return openvino.Model([values[-1]], [picture], name)


def _convolution(op: Any, layer: Convolution, x: Any) -> Any:
    around = [layer.padding, layer.padding]
    y = op.convolution(x, _constant(op, layer.weight), [1, 1], around, around, [1, 1])
    return op.add(y, _constant(op, layer.bias.view(1, -1, 1, 1)))


def _rectification(op: Any, layer: Rectification, x: Any) -> Any:
    return op.prelu(x, _constant(op, layer.slopes))


def _sum(op: Any, layer: Sum, *values: Any) -> Any:
    factors = zip(values, layer.factors, strict=True)
    weighted = [x if factor == 1 else op.multiply(x, _scalar(op, factor)) for x, factor in factors]
    total = weighted[0]
    for term in weighted[1:]:
        total = op.add(total, term)
    return op.add(total, _scalar(op, layer.constant)) if layer.constant else total


def _sigmoid(op: Any, layer: Sigmoid, x: Any) -> Any:
    return op.sigmoid(x)


def _product(op: Any, layer: Product, a: Any, b: Any) -> Any:
    return op.multiply(a, b)


def _concatenation(op: Any, layer: Concatenation, *parts: Any) -> Any:
    return op.concat(list(parts), 1)


def _shuffle(op: Any, layer: Shuffle, x: Any) -> Any:
    return op.depth_to_space(x, "depth_first", layer.side)


def _unshuffle(op: Any, layer: Unshuffle, x: Any) -> Any:
    return op.space_to_depth(x, "depth_first", layer.side)


def _nearest(op: Any, layer: Nearest, x: Any) -> Any:
    import numpy as np

    factors, axes = np.full(2, layer.side, np.float32), np.array([2, 3], np.int64)
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return op.interpolate(x, factors, "nearest", "scales", axes=axes, **how)


def _constant(op: Any, values: Tensor) -> Any:
    return op.constant(values.to(torch.float32).contiguous().numpy())


def _scalar(op: Any, value: float) -> Any:
    return _constant(op, torch.tensor([value], dtype=torch.float32, device="cpu"))


# OpenVINO's operations, the operation, and the values that it reads, to the value that it makes.
_LOWERINGS: Mapping[type[Operation], Callable[..., Any]] = {
    Input: lambda op, picture: picture,
    Convolution: _convolution,
    Rectification: _rectification,
    Sum: _sum,
    Sigmoid: _sigmoid,
    Product: _product,
    Concatenation: _concatenation,
    Shuffle: _shuffle,
    Unshuffle: _unshuffle,
    Nearest: _nearest,
}
