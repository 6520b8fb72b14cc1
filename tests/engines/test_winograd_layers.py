"""What the kernels are told of a graph: layers, the bands they run in, the pictures they share; what they refuse."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from vidsr.engines import winograd
from vidsr.engines.winograd import why_absent
from vidsr.engines.winograd_layers import NotLoweredError, lower
from vidsr.engines.winograd_places import place
from vidsr.engines.winograd_plan import plan_of
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.families import describe
from vidsr.models.graph import Graph, Input, Nearest, Product, Shuffle, Sigmoid, Sum, Unshuffle, run
from vidsr.models.rrdb.network import RRDBNet


def conv(in_channels, out_channels=8, side=3):
    torch.manual_seed(in_channels)
    return nn.Conv2d(in_channels, out_channels, side, padding=side // 2).requires_grad_(False)


def placed(network, lanes=8):
    layers = lower(describe(network))
    return layers, place(layers, lanes)


def test_a_chain_is_one_band_whose_pictures_are_all_local():
    layers, places = placed(SRVGGNetCompact(scale=4, num_features=24, num_convs=3))
    assert places.bands == (0,) * 5
    assert [(p.num_channels, p.doublings, p.is_local) for p in places.pictures] == [
        (8, 0, False),
        *[(24, 0, True)] * 4,
        (48, 0, True),
    ]
    assert (layers.shuffle, layers.adds_input, layers.fold) == (4, True, 1)


def test_each_dense_block_is_a_band_and_they_share_what_they_grow():
    layers, places = placed(RRDBNet(scale=4, num_blocks=3, num_features=16, growth_channels=4))
    assert places.bands == (0, *(band for band in range(1, 10) for _ in range(5)), *[10] * 5)
    assert [(p.num_channels, p.doublings, p.is_local) for p in places.pictures] == [
        (8, 0, False),  # the input
        *[(16, 0, False)] * 4,  # what comes before the body, and three in turn
        (32, 0, True),  # what dense blocks grow
        (16, 0, True),
        (16, 1, True),
        (16, 2, True),
        (16, 2, True),
        (8, 2, True),
    ]
    fifths = [places.of[layer.value][0] for layer in layers.layers if len(layer.parts) == 5]
    assert fifths == [2, 3, 4] * 3
    last = [layer for layer in layers.layers if len(layer.parts) == 5][5]
    assert last.weight == 0.2 * 0.2
    # The block's own residual lies where the result goes.
    assert [(places.of[value][0], weight) for value, weight in last.residuals] == [(3, 0.2), (4, 1.0)]
    # A slice for each of four layers, filled up to the lanes.
    grown = [places.of[layer.value] for layer in layers.layers[1:5]]
    assert grown == [(5, 0), (5, 8), (5, 16), (5, 24)]


def test_pixels_as_channels_are_left_to_what_feeds_the_kernels():
    layers, _ = placed(RRDBNet(scale=1, num_blocks=1, num_features=8, growth_channels=4))
    assert (layers.fold, layers.picture, layers.layers[0].convolution.weight.shape[1]) == (4, 1, 48)


def begun():
    graph = Graph(1)
    x = graph.add(Input())
    return graph, x, graph.convolution(x, conv(3))


def with_sigmoid():
    graph, _, y = begun()
    graph.convolution(graph.add(Sigmoid((y,))), conv(8))
    return graph


def with_product():
    graph, _, y = begun()
    graph.convolution(graph.add(Product((y, y))), conv(8))
    return graph


def with_pointwise():
    graph, _, y = begun()
    graph.convolution(y, conv(8, side=1))
    return graph


def with_early_shuffle():
    graph, _, y = begun()
    graph.convolution(graph.add(Shuffle((y,), 2)), conv(2))
    return graph


def with_late_unshuffle():
    graph, _, y = begun()
    graph.convolution(graph.add(Unshuffle((y,), 2)), conv(32))
    return graph


def with_threefold():
    graph, _, y = begun()
    graph.convolution(graph.add(Nearest((y,), 3)), conv(8))
    return graph


def with_three_residuals():
    graph, _, y = begun()
    others = [graph.convolution(y, conv(8)) for _ in range(4)]
    graph.add(Sum(tuple(others), (1.0,) * 4))
    return graph


def with_sum_of_what_is_read_again():
    graph, _, y = begun()
    z = graph.convolution(y, conv(8))
    graph.convolution(graph.concatenation([z, graph.add(Sum((y, z), (1.0, 1.0)))]), conv(16))
    return graph


def with_constant():
    graph, _, y = begun()
    graph.add(Sum((y,), (1.0,), 0.5))
    return graph


def with_rectified_sum():
    graph, _, y = begun()
    z = graph.rectification(graph.add(Sum((graph.convolution(y, conv(8)), y), (1.0, 1.0))), 0.2)
    graph.convolution(z, conv(8))
    return graph


def with_several_orders():
    graph, _, y = begun()
    a, b, c = (graph.convolution(y, conv(8)) for _ in range(3))
    z = graph.convolution(graph.concatenation([y, a, b]), conv(24))
    graph.convolution(graph.concatenation([z, a, c]), conv(24))
    return graph


def with_a_part_alone():
    graph, _, y = begun()
    a = graph.convolution(y, conv(8))
    graph.convolution(graph.concatenation([graph.convolution(a, conv(8)), a]), conv(16))
    return graph


def ending_in_a_concatenation():
    graph, _, y = begun()
    graph.concatenation([y, graph.convolution(y, conv(8))])
    return graph


def adding_another_size():
    graph, x, _ = begun()
    y = graph.convolution(x, conv(3, 12))
    graph.add(Sum((graph.add(Shuffle((y,), 2)), graph.add(Nearest((x,), 1))), (1.0, 1.0)))
    return graph


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (with_sigmoid, "its graph has a sigmoid, which the kernels do not have"),
        (with_product, "its graph has a product, which the kernels do not have"),
        (with_pointwise, "its graph has a convolution of 1x1, and the kernels are for 3x3"),
        (with_early_shuffle, "its graph has a convolution of a pixelshuffle, which the kernels do not have"),
        (with_late_unshuffle, "its graph has a pixel unshuffle, which the kernels do not have"),
        (with_threefold, "its graph has a convolution of a nearest upsampling, which the kernels do not have"),
        (with_three_residuals, "its graph adds more than 2 values to a convolution's"),
        (with_sum_of_what_is_read_again, "its graph has a sum of a convolution, which the kernels do not have"),
        (with_constant, "its graph adds a constant, which the kernels do not"),
        (with_rectified_sum, "its graph has a rectification of a sum, which the kernels do not have"),
        (with_several_orders, "its graph concatenates the same values in several orders"),
        (with_a_part_alone, "its graph reads a part of a concatenation in other places, too"),
        (ending_in_a_concatenation, "its graph ends in a concatenation, which the kernels cannot do"),
        (adding_another_size, "its graph adds its input 1 times as large, and not as the output is shuffled"),
    ],
)
def test_what_the_kernels_lack_is_named(make, reason):
    with pytest.raises(NotLoweredError) as caught:
        lower(make())
    assert str(caught.value) == reason


def any_graph(seed):
    """Blocks as no family has them: parts of other widths, chains between, residuals from anywhere before."""
    choose = random.Random(seed)
    graph = Graph(2)
    y = graph.convolution(graph.add(Input()), conv(3))
    seen = [y]
    for _ in range(choose.randint(2, 6)):
        parts, width = [y], 8
        for _ in range(choose.randint(0, 3)):
            grown = choose.randint(3, 17)
            z = graph.convolution(graph.concatenation(parts), conv(width, grown))
            parts.append(graph.rectification(z, choose.uniform(-1, 1)) if choose.random() < 0.7 else z)
            width += grown
        y = graph.convolution(graph.concatenation(parts), conv(width))
        residuals = choose.sample(seen, min(choose.randint(0, 2), len(seen)))
        if residuals:
            factors = [choose.uniform(-1, 1) for _ in (y, *residuals)]
            y = graph.add(Sum((y, *residuals), tuple(factors)))
        seen.append(y)
    y = graph.convolution(graph.add(Nearest((y,), 2)), conv(8, 10))
    graph.convolution(y, conv(10, 3))
    return graph


@pytest.mark.skipif(why_absent() is not None, reason=str(why_absent()))
@pytest.mark.parametrize("band_tiles", [1, 4])
@pytest.mark.parametrize("seed", range(12))
def test_graphs_of_no_family_come_out_the_same(seed, band_tiles, monkeypatch):
    graph = any_graph(seed)
    network = SRVGGNetCompact(scale=2, num_features=8, num_convs=1)  # says sizes; what is computed is the graph
    monkeypatch.setattr(winograd, "describe", lambda network: graph)
    engine = winograd.WinogradEngine(network, torch.device("cpu"), "fp32", num_threads=2, band_tiles=band_tiles)
    for height, width in ((3, 5), (61, 44)):
        x = torch.rand(2, 3, height, width)
        expected = run(graph, x)
        assert (engine.run(x) - expected).abs().max() < 2e-5 * expected.abs().max()


def test_a_plan_holds_what_its_layers_point_to():
    plan = plan_of(describe(SRVGGNetCompact(scale=2, num_features=8, num_convs=1)), 8)
    assert len(plan.kept) == 3 * 2 + 2  # weights and bias of each layer, slopes of all but the last
    spec = plan.spec(4)
    assert (spec.num_layers, spec.num_pictures, spec.in_channels, spec.out_channels) == (3, 4, 3, 3)
