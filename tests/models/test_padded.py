"""Channels of zeros at a network's ends change nothing but the number of channels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vidsr.engines.torch import TorchEngine
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.padded import PaddedConv2d, pad_ends
from vidsr.models.rrdb.network import RRDBNet

NETWORKS = {
    "x4": lambda: RRDBNet(scale=4, num_blocks=1, num_features=16, growth_channels=8),
    "x2": lambda: RRDBNet(scale=2, num_blocks=1, num_features=16, growth_channels=8),
    "compact": lambda: SRVGGNetCompact(scale=4, num_features=16, num_convs=2),
    "shuffled": lambda: RRDBNet(scale=2, num_blocks=1, num_features=16, growth_channels=8, upsampler="pixelshuffle"),
}


def make(name):
    torch.manual_seed(3)
    return NETWORKS[name]().eval().requires_grad_(False)


def channels(network):
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, PaddedConv2d))]
    return [layer.weight.shape[axis] for layer in layers for axis in (0, 1)]


@pytest.mark.parametrize("name", NETWORKS)
def test_all_channels_are_multiples_of_eight_and_the_result_is_the_same(name):
    network, x = make(name), torch.rand(2, 3, 9, 14)
    assert any(number % 8 for number in channels(network))
    padded = pad_ends(copy.deepcopy(network))
    assert not any(number % 8 for number in channels(padded))
    # Sums with further zeros in them may be added up in another order.
    torch.testing.assert_close(padded(x), network(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_with_padded_ends_gives_the_same(name):
    cpu, x = torch.device("cpu"), torch.rand(1, 3, 12, 10)
    plain = TorchEngine(make(name), cpu, "fp32").run(x)
    out = TorchEngine(make(name), cpu, "fp32", pads_ends=True).run(x)
    assert out.shape == plain.shape and out.is_contiguous()
    torch.testing.assert_close(out, plain, rtol=0, atol=1e-5)


def test_a_layer_that_fits_stays_as_it_is():
    conv = nn.Conv2d(8, 16, 3, padding=1)
    assert pad_ends(nn.Sequential(conv))[0] is conv
