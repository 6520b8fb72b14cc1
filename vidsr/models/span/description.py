"""SPAN as operations."""

from __future__ import annotations

import torch
from torch import nn

from vidsr.models.graph import Convolution, Graph, Input, Product, Shuffle, Sigmoid, Sum
from vidsr.models.span.network import RANGE, SPAN, AttentionBlock


def describe(network: SPAN) -> Graph:
    """All that `forward` does."""
    graph = Graph(network.scale)
    x = graph.add(Input())
    if network.normalises:
        # As a convolution of one pixel: the next one has zeros around what comes of it, not around the picture.
        factors = RANGE * torch.eye(3, dtype=torch.float32, device="cpu").view(3, 3, 1, 1)
        x = graph.add(Convolution((x,), factors, -RANGE * network.mean.view(3)))
    y = first = graph.convolution(x, network.conv_1)
    results, inside = list[int](), first
    for block in network.blocks:
        y, inside = _add_block(graph, y, block)
        results.append(y)
    parts = (first, graph.convolution(y, network.conv_2), results[0], inside)
    joined = graph.convolution(graph.concatenation(parts), network.conv_cat)
    last = network.upsampler[0]
    assert isinstance(last, nn.Conv2d)
    graph.add(Shuffle((graph.convolution(joined, last),), network.scale))
    return graph


def _add_block(graph: Graph, x: int, block: AttentionBlock) -> tuple[int, int]:
    first = _weighed_by_itself(graph, graph.convolution(x, block.c1_r))
    second = _weighed_by_itself(graph, graph.convolution(first, block.c2_r))
    y = graph.convolution(second, block.c3_r)
    attention = graph.add(Sum((graph.add(Sigmoid((y,))),), (1.0,), -0.5))
    return graph.add(Product((graph.add(Sum((y, x), (1.0, 1.0))), attention))), first


def _weighed_by_itself(graph: Graph, x: int) -> int:
    """SiLU."""
    return graph.add(Product((x, graph.add(Sigmoid((x,))))))
