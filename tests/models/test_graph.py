"""Operations one by one, and a graph run as PyTorch would write it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from vidsr.models.graph import (
    Graph,
    Input,
    Nearest,
    Product,
    Rectification,
    Shuffle,
    Sigmoid,
    Sum,
    Unshuffle,
    pad_to_multiple,
    run,
)


def make_conv(in_channels, out_channels, side=3):
    torch.manual_seed(in_channels)
    return nn.Conv2d(in_channels, out_channels, side, padding=side // 2).requires_grad_(False)


def picture(height=5, width=6, channels=3):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(height))


def test_every_kind_at_once_is_what_pytorch_does():
    first, second, last = make_conv(3, 4), make_conv(8, 8, 1), make_conv(8, 12, 5)
    slopes, x = torch.tensor([0.1, -0.5, 2.0, 0.0]), picture()
    graph = Graph(2)
    shown = graph.add(Input())
    rectified = graph.add(Rectification((graph.convolution(shown, first),), slopes))
    joined = graph.concatenation([rectified, graph.add(Sigmoid((rectified,)))])
    mixed = graph.convolution(joined, second)
    both = graph.add(Sum((mixed, joined, mixed), (0.5, 1.0, -2.0), 0.25))
    last_conv = graph.convolution(graph.add(Product((both, mixed))), last)
    graph.add(Sum((graph.add(Shuffle((last_conv,), 2)), graph.add(Nearest((shown,), 2))), (1.0, 1.0)))
    y = functional.prelu(first(x), slopes)
    y = torch.cat((y, y.sigmoid()), 1)
    z = second(y)
    y = (z * 0.5 + y - 2 * z + 0.25) * z
    expected = functional.pixel_shuffle(last(y), 2) + functional.interpolate(x, scale_factor=2.0)
    torch.testing.assert_close(run(graph, x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (5, 7), (1, 1), (3, 2)])
def test_sides_are_filled_up_and_cut_off(height, width):
    graph = Graph(1, 4)
    graph.add(Shuffle((graph.add(Unshuffle((graph.add(Input()),), 4)),), 4))
    x = picture(height, width)
    assert torch.equal(run(graph, x), x)


def test_what_is_added_is_a_reflection_where_there_is_enough_to_reflect():
    x = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 1, 2, 3)
    assert pad_to_multiple(x, 2)[0, 0, 0].tolist() == [0, 1, 2, 1]
    assert pad_to_multiple(x[..., :1], 2)[0, 0, 0].tolist() == [0, 0]
    assert pad_to_multiple(x, 1) is x


def test_one_part_needs_no_concatenation():
    graph = Graph(1)
    assert graph.concatenation([graph.add(Input())]) == 0
    assert len(graph.operations) == 1


def test_a_value_is_read_before_it_is_made_by_nothing():
    with pytest.raises(AssertionError):
        Graph(1).add(Sigmoid((0,)))


def test_readers_are_counted_by_how_often_they_read():
    graph = Graph(1)
    x = graph.add(Input())
    graph.add(Product((graph.add(Sigmoid((x,))), x)))
    assert graph.num_readers() == {0: 2, 1: 1, 2: 1}


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_not_taken_for_what_they_are_not(layer):
    graph = Graph(1)
    with pytest.raises(AssertionError):
        graph.convolution(graph.add(Input()), layer)


def test_weights_are_shared_and_not_recorded():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    graph = Graph(1)
    graph.convolution(graph.add(Input()), layer)
    assert graph.operations[1].weight.data_ptr() == layer.weight.data_ptr()
    assert not run(graph, picture()).requires_grad
