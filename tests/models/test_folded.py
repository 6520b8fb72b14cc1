"""Folded upsampling gives what nearest and a convolution give, at the borders too, with fewer operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.families import faster
from vidsr.models.rrdb.folded import FoldedRRDBNet, FoldedUpsampling, SharingDenseBlock, fold, phase_weights
from vidsr.models.rrdb.network import ResidualDenseBlock, RRDBNet


def make_conv(channels=5, out_channels=7):
    torch.manual_seed(1)
    return nn.Conv2d(channels, out_channels, 3, padding=1).requires_grad_(False)


def plainly(conv, x):
    return functional.leaky_relu(conv(functional.interpolate(x, scale_factor=2.0, mode="nearest")), 0.2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (3, 1), (2, 2), (5, 7), (8, 6)])
def test_every_pixel_is_that_of_nearest_and_convolution(height, width):
    # In double precision nothing but a wrong weight or place could show.
    conv = make_conv().double()
    x = torch.randn(2, 5, height, width, dtype=torch.float64)
    torch.testing.assert_close(FoldedUpsampling(conv)(x), plainly(conv, x), rtol=0, atol=1e-13)


def test_a_single_bright_pixel_at_each_border_spreads_the_same():
    conv = make_conv(1, 1).double()
    for row in range(3):
        for column in range(3):
            x = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
            x[0, 0, row, column] = 1
            torch.testing.assert_close(FoldedUpsampling(conv)(x), plainly(conv, x), rtol=0, atol=1e-14)


def test_in_float32_it_differs_by_rounding():
    conv, x = make_conv(64, 64), torch.rand(1, 64, 9, 11)
    out = FoldedUpsampling(conv)(x.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, plainly(conv, x), rtol=0, atol=2e-6)


def test_four_phases_hold_all_nine_weights():
    conv = make_conv()
    phases = phase_weights(conv.weight)
    assert [tuple(phase.shape) for phase in phases] == [(7, 5, 2, 2)] * 4
    for phase in phases:
        torch.testing.assert_close(phase.sum((2, 3)), conv.weight.sum((2, 3)))


@pytest.mark.parametrize(("features", "growth"), [(8, 4), (4, 8), (5, 1)])
def test_a_dense_block_that_shares_is_the_dense_block(features, growth):
    torch.manual_seed(2)
    block = ResidualDenseBlock(features, growth).requires_grad_(False).double()
    x = torch.randn(2, features, 5, 7, dtype=torch.float64)
    sharing = SharingDenseBlock(block)
    torch.testing.assert_close(sharing(x), block(x), rtol=0, atol=1e-13)
    assert sum(p.numel() for p in sharing.parameters()) == sum(p.numel() for p in block.parameters())


@pytest.mark.parametrize("sharing", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_a_folded_network_gives_the_same_pictures(make_rrdb, make_picture, scale, sharing):
    network = make_rrdb(scale)
    folded = fold(network, sharing=sharing)
    assert isinstance(folded, FoldedRRDBNet)
    for height, width in ((1, 1), (7, 10), (16, 16)):
        x = make_picture(height, width, 2)
        torch.testing.assert_close(folded(x), network(x), rtol=0, atol=1e-6)
    assert network.num_parameters == make_rrdb(scale).num_parameters  # it stays as it was


def test_what_has_no_nearest_stays_itself(make_rrdb):
    compact = SRVGGNetCompact(scale=2, num_features=4, num_convs=1)
    shuffling = make_rrdb(4, upsampler="pixelshuffle")
    without_doubling = RRDBNet(scale=1, num_blocks=1, num_features=4, growth_channels=4, fold=1)
    for network in (compact, shuffling, without_doubling):
        assert faster(network, half=False) is network
    assert isinstance(faster(make_rrdb(4), half=False).body[0].rdb1, SharingDenseBlock)
    assert isinstance(faster(make_rrdb(4), half=True).body[0].rdb1, ResidualDenseBlock)
