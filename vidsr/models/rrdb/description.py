"""RRDBNet as operations."""

from __future__ import annotations

from torch import nn

from vidsr.models.graph import Graph, Input, Nearest, Shuffle, Sum, Unshuffle
from vidsr.models.rrdb.network import NEGATIVE_SLOPE, RESIDUAL_WEIGHT, RRDB, ResidualDenseBlock, RRDBNet


def describe(network: RRDBNet) -> Graph:
    """All that `forward` does."""
    graph = Graph(network.scale, network.align_px)
    x = graph.add(Input())
    if network.align_px > 1:
        x = graph.add(Unshuffle((x,), network.align_px))
    first = x = graph.convolution(x, network.conv_first)
    for block in network.body:
        assert isinstance(block, RRDB)
        y = x
        for dense in (block.rdb1, block.rdb2, block.rdb3):
            y = _add_dense_block(graph, y, dense)
        x = graph.add(Sum((y, x), (RESIDUAL_WEIGHT, 1.0)))
    x = graph.add(Sum((graph.convolution(x, network.conv_body), first), (1.0, 1.0)))
    x = _add_upsampler(graph, x, network)
    x = graph.rectification(graph.convolution(x, network.conv_hr), NEGATIVE_SLOPE)
    graph.convolution(x, network.conv_last)
    return graph


def _add_dense_block(graph: Graph, x: int, block: ResidualDenseBlock) -> int:
    seen = [x]
    for conv in (block.conv1, block.conv2, block.conv3, block.conv4):
        seen.append(graph.rectification(graph.convolution(graph.concatenation(seen), conv), NEGATIVE_SLOPE))
    residual = graph.convolution(graph.concatenation(seen), block.conv5)
    return graph.add(Sum((residual, x), (RESIDUAL_WEIGHT, 1.0)))


def _add_upsampler(graph: Graph, x: int, network: RRDBNet) -> int:
    if network.upsampler_kind == "nearest+conv":
        for conv in network.upsampling_convs:
            x = graph.convolution(graph.add(Nearest((x,), 2)), conv)
            x = graph.rectification(x, NEGATIVE_SLOPE)
        return x
    for layer in network.upsampler:
        if isinstance(layer, nn.Conv2d):
            x = graph.add(Shuffle((graph.convolution(x, layer),), 2))
            x = graph.rectification(x, NEGATIVE_SLOPE)
    return x
