"""Networks that are of none of our families: spandrel's, or a refusal that says what was found."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from vidsr.errors import WeightsError
from vidsr.models.foreign import ForeignNetwork
from vidsr.models.loading import load_network, network_from_state_dict


def test_shuffles_without_activations_between_are_another_network(monkeypatch, make_rrdb):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    state = make_rrdb(4, upsampler="pixelshuffle").state_dict()
    state = {key.replace("upsampler.3", "upsampler.2"): tensor for key, tensor in state.items()}
    with pytest.raises(WeightsError, match="neither RRDBNet nor SRVGGNetCompact nor SPAN"):
        network_from_state_dict(state)


@pytest.fixture
def foreign_state():
    return {f"layers.{i}.weight": torch.ones(i + 1, 2) for i in range(7)}


@pytest.fixture
def fake_spandrel(monkeypatch):
    """A stand-in with the few names that we use, so that our side is tested where spandrel is not."""
    module = types.ModuleType("spandrel")

    class ImageModelDescriptor:
        architecture = types.SimpleNamespace(name="Doubler")
        scale, input_channels, output_channels, supports_half = 2, 3, 3, False
        size_requirements = types.SimpleNamespace(multiple_of=8)

        def __init__(self, state):
            self.model = torch.nn.Conv2d(3, 3, 1)

        def __call__(self, x):
            assert x.shape[0] == 1
            return torch.nn.functional.interpolate(self.model(x), scale_factor=2)

    class ModelLoader:
        def __init__(self, device):
            assert device == "cpu"

        def load_from_state_dict(self, state):
            if "layers.6.weight" not in state:
                raise KeyError("unsupported")
            return module.ImageModelDescriptor(state)

    module.ImageModelDescriptor, module.ModelLoader = ImageModelDescriptor, ModelLoader
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


def test_unknown_networks_are_listed_with_the_extra_to_install(monkeypatch, foreign_state, tmp_path):
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    absent = types.SimpleNamespace(find_spec=absent_only("spandrel"))
    monkeypatch.setattr(sys, "meta_path", [absent, *sys.meta_path])
    torch.save(foreign_state, tmp_path / "net.pth")
    with pytest.raises(WeightsError) as caught:
        load_network(tmp_path / "net.pth")
    message = str(caught.value)
    assert str(tmp_path / "net.pth") in message and 'pip install "vidsr-upscale[spandrel]"' in message
    assert "7 tensors: layers.0.weight (1, 2), layers.1.weight (2, 2)" in message
    assert "layers.6" not in message


def absent_only(wanted):
    def find_spec(name, path=None, target=None):
        if name == wanted:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return find_spec


def test_unknown_networks_go_to_spandrel(fake_spandrel, foreign_state, make_picture):
    network = network_from_state_dict({"module." + k: v for k, v in foreign_state.items()})
    assert isinstance(network, ForeignNetwork)
    assert (network.scale, network.align_px, network.flops_per_input_pixel) == (2, 8, None)
    assert network.reach_px >= 32 and not network.supports_half and network.num_parameters == 12
    x = make_picture(5, 6, batch=2)
    assert network(x).shape == (2, 3, 10, 12)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    network.double()
    assert network(x.double()).dtype is torch.float64  # the descriptor's model moves along


def test_what_spandrel_refuses_is_refused(fake_spandrel):
    with pytest.raises(WeightsError, match=r"a \(2,\)\. spandrel cannot load this network either"):
        network_from_state_dict({"a": torch.ones(2)})


def test_a_foreign_network_for_gray_is_refused(fake_spandrel, foreign_state):
    fake_spandrel.ImageModelDescriptor.input_channels = 1
    with pytest.raises(WeightsError, match="takes 1 channels and gives 3"):
        network_from_state_dict(foreign_state)


def test_real_spandrel_loads_what_we_do_not(make_picture):
    try:
        import spandrel
        from spandrel.architectures.SAFMN import SAFMN
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"spandrel or the torchvision below it does not load: {error}")
    assert spandrel
    state = SAFMN(dim=8, n_blocks=1, upscaling_factor=2).state_dict()
    network = network_from_state_dict(state)
    assert isinstance(network, ForeignNetwork)
    assert network(make_picture(9, 12, batch=2)).shape == (2, 3, 18, 24)
