"""SRVGGNetCompact as operations."""

from __future__ import annotations

from torch import nn

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.graph import Graph, Input, Nearest, Rectification, Shuffle, Sum


def describe(network: SRVGGNetCompact) -> Graph:
    """All that `forward` does."""
    graph = Graph(network.scale)
    picture = x = graph.add(Input())
    for layer in network.body:
        if isinstance(layer, nn.Conv2d):
            x = graph.convolution(x, layer)
        else:
            assert isinstance(layer, nn.PReLU)
            x = graph.add(Rectification((x,), layer.weight.detach()))
    shuffled = graph.add(Shuffle((x,), network.scale))
    graph.add(Sum((shuffled, graph.add(Nearest((picture,), network.scale))), (1.0, 1.0)))
    return graph
