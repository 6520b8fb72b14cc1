"""Every layout that checkpoints come in gives one network, identical in its output."""

from __future__ import annotations

import pytest
import torch
from saved_layouts import to_flat_names, to_trunk_names

from vidsr.models.loading import load_network, network_from_state_dict


def assert_same(loaded, network, picture):
    assert type(loaded) is type(network)
    assert torch.equal(loaded(picture), network(picture))


@pytest.mark.parametrize("wrap", ["params_ema", "params", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module.", "netG.", "module.netG."])
def test_wrappers_and_prefixes(tmp_path, make_rrdb, make_picture, wrap, prefix):
    network = make_rrdb(2)
    state = {prefix + key: tensor for key, tensor in network.state_dict().items()}
    torch.save({wrap: state} if wrap else state, tmp_path / "net.pth")
    assert_same(load_network(tmp_path / "net.pth"), network, make_picture(7, 9))


def test_the_averaged_weights_come_first(tmp_path, make_compact, make_picture):
    last, averaged = make_compact(seed=1), make_compact(seed=2)
    torch.save({"params": last.state_dict(), "params_ema": averaged.state_dict()}, tmp_path / "net.pth")
    assert_same(load_network(tmp_path / "net.pth"), averaged, make_picture(5, 5))


def test_a_generator_saved_beside_its_critic(make_compact, make_picture):
    network = make_compact()
    state = {"netG." + k: v for k, v in network.state_dict().items()} | {"netD.0.weight": torch.ones(3)}
    assert_same(network_from_state_dict(state), network, make_picture(5, 5))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("upsampler", ["nearest+conv", "pixelshuffle"])
def test_scale_and_sizes_come_from_shapes(make_rrdb, make_picture, scale, upsampler):
    network = make_rrdb(scale, upsampler=upsampler, num_blocks=3, num_features=12, growth_channels=5)
    loaded = network_from_state_dict(network.state_dict())
    assert (loaded.scale, loaded.reach_px, loaded.flops_per_input_pixel) == (
        network.scale,
        network.reach_px,
        network.flops_per_input_pixel,
    )
    assert_same(loaded, network, make_picture(6, 7))


@pytest.mark.parametrize(("scale", "num_convs"), [(1, 0), (2, 3), (3, 1), (4, 5)])
def test_compact_sizes_come_from_shapes(make_compact, make_picture, scale, num_convs):
    network = make_compact(scale, num_convs=num_convs, num_features=6)
    assert_same(network_from_state_dict(network.state_dict()), network, make_picture(6, 7))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_esrgan_trunk_names(make_rrdb, make_picture, scale):
    network = make_rrdb(scale)
    renamed = to_trunk_names(network.state_dict())
    assert "RRDB_trunk.1.RDB3.conv5.weight" in renamed and "HRconv.bias" in renamed
    assert_same(network_from_state_dict(renamed), network, make_picture(6, 7))


@pytest.mark.parametrize("upsampler", ["nearest+conv", "pixelshuffle"])
@pytest.mark.parametrize(("scale", "num_doublings"), [(1, 0), (2, 1), (4, 2), (8, 3)])
def test_esrgan_flat_names(make_rrdb, make_picture, scale, num_doublings, upsampler):
    # Early networks of scale 1 and 2 take the picture as it is, without folding pixels into channels.
    network = make_rrdb(scale, num_blocks=12, upsampler=upsampler, fold=1)
    shuffles = upsampler == "pixelshuffle"
    renamed = to_flat_names(network.state_dict(), 12, num_doublings, shuffles=shuffles)
    assert "model.1.sub.11.RDB1.conv1.0.weight" in renamed and "model.1.sub.12.bias" in renamed
    loaded = network_from_state_dict(renamed)
    assert loaded.scale == scale
    assert_same(loaded, network, make_picture(6, 7))
