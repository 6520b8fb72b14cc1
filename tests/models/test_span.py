"""SPAN against its definition, written out branch by branch, and its files: as trained, and fused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from vidsr.engines.openvino import supports as openvino_supports
from vidsr.engines.winograd import supports as winograd_supports
from vidsr.errors import WeightsError
from vidsr.models.loading import load_network, network_from_state_dict
from vidsr.models.span.layouts import span_shape, with_fused_branches
from vidsr.models.span.network import MEAN_RGB, SPAN

ROOMS = ["conv_1", *(f"block_{block}.c{conv}_r" for block in range(1, 7) for conv in (1, 2, 3)), "conv_2"]


def trained_state(features=8, scale=2, *, normalises=True, gain=2):
    """A file as training writes it: every convolution as its branches, and the fused one of some step before."""
    generator = torch.Generator().manual_seed(features + scale)

    def values(*shape):
        return 0.5 * torch.randn(shape, generator=generator) / (shape[1] if len(shape) > 1 else 2) ** 0.5

    state = {} if normalises else {"no_norm": torch.tensor([7.0])}
    for room in ROOMS:
        seen = 3 if room == "conv_1" else features
        shapes = {
            "sk": (features, seen, 1, 1),
            "conv.0": (gain * seen, seen, 1, 1),
            "conv.1": (gain * features, gain * seen, 3, 3),
            "conv.2": (features, gain * features, 1, 1),
            "eval_conv": (features, seen, 3, 3),
        }
        for name, shape in shapes.items():
            state[f"{room}.{name}.weight"] = values(*shape) / (3 if shape[2] == 3 else 1)
            state[f"{room}.{name}.bias"] = values(shape[0])
    for room, shape in (("conv_cat", (features, 4 * features, 1, 1)), ("upsampler.0", (3 * scale**2, features, 3, 3))):
        state[f"{room}.weight"], state[f"{room}.bias"] = values(*shape), values(shape[0])
    return state


def written_out(state, x, scale):
    """The network in double precision, as it is trained."""
    state = {key: tensor.double() for key, tensor in state.items()}
    x = x.double()

    def conv(room, x, padding=0):
        return functional.conv2d(x, state[f"{room}.weight"], state[f"{room}.bias"], padding=padding)

    def branched(room, x):
        y = conv(f"{room}.conv.0", functional.pad(x, (1, 1, 1, 1)))
        return conv(f"{room}.conv.2", conv(f"{room}.conv.1", y)) + conv(f"{room}.sk", x)

    if "no_norm" not in state:
        x = (x - torch.tensor(MEAN_RGB, dtype=torch.float64).view(1, 3, 1, 1)) * 255
    y = first = branched("conv_1", x)
    outs = []
    for block in range(1, 7):
        inside = functional.silu(branched(f"block_{block}.c1_r", y))
        z = branched(f"block_{block}.c3_r", functional.silu(branched(f"block_{block}.c2_r", inside)))
        y = (z + y) * (torch.sigmoid(z) - 0.5)
        outs.append(y)
    joined = torch.cat((first, branched("conv_2", y), outs[0], inside), 1)
    return functional.pixel_shuffle(conv("upsampler.0", conv("conv_cat", joined), padding=1), scale)


def close(out, expected):
    # Counted up to 255 inside, so float32's rounding is relative to what comes out.
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("normalises", [True, False])
@pytest.mark.parametrize(("features", "scale"), [(8, 2), (12, 4), (5, 1), (8, 3)])
def test_is_what_was_trained(make_picture, features, scale, normalises):
    state = trained_state(features, scale, normalises=normalises)
    network = network_from_state_dict(state)
    assert isinstance(network, SPAN) and network.normalises is normalises and network.scale == scale
    for height, width in ((1, 1), (6, 9)):
        x = make_picture(height, width, 2)
        close(network(x), written_out(state, x, scale))


def test_a_fused_file_gives_the_same(tmp_path, make_picture):
    trained = network_from_state_dict(trained_state())
    state = trained.state_dict()
    renamed = {key.replace(room, f"{room}.eval_conv"): v for key, v in state.items() for room in ROOMS if room in key}
    renamed |= {key: v for key, v in state.items() if key.startswith(("conv_cat", "upsampler"))}
    assert "block_3.c2_r.eval_conv.weight" in renamed and len(renamed) == len(state)
    torch.save({"params_ema": renamed}, tmp_path / "span.pth")
    x = make_picture(6, 7)
    assert torch.equal(load_network(tmp_path / "span.pth")(x), trained(x))


def test_branches_come_before_the_fused_convolution_of_an_earlier_step():
    state = trained_state()
    named = with_fused_branches(state)
    assert not any("eval_conv" in key or ".sk." in key or ".conv." in key for key in named)
    assert not torch.equal(named["conv_2.weight"], state["conv_2.eval_conv.weight"])


@pytest.mark.parametrize("damaged", ["conv_2.conv.1.weight", "conv_2.sk.bias", "conv_2.conv.0.bias"])
def test_branches_that_do_not_fit_together_are_refused(damaged, monkeypatch):
    monkeypatch.setattr("vidsr.models.loading.load_foreign", lambda state: None)
    state = trained_state()
    for changed in ({damaged: torch.ones(3)}, None):
        wrong = {**state, **changed} if changed else {k: v for k, v in state.items() if k != damaged}
        with pytest.raises(WeightsError, match=r"resembles an SPAN, which has no conv_2\.(sk|conv\.0)\.weight"):
            network_from_state_dict(wrong)


def test_other_numbers_of_blocks_and_scales_that_are_none():
    named = with_fused_branches(trained_state())
    assert span_shape(named).num_blocks == 6
    assert span_shape({key.replace("block_6", "block_7"): v for key, v in named.items()}) is None
    assert span_shape(named | {"upsampler.0.weight": torch.ones(15, 8, 3, 3)}) is None
    assert span_shape(named | {"conv_1.weight": torch.ones(8)}) is None


def test_published_sizes():
    with torch.device("meta"):
        network = SPAN(scale=4)
    assert (network.num_parameters, network.reach_px, network.align_px) == (426_288, 21, 1)
    assert network.flops_per_input_pixel == 2 * (27 * 48 + 19 * 9 * 48**2 + 4 * 48**2 + 9 * 48 * 48)


def test_engines_name_what_they_lack():
    assert winograd_supports(SPAN(scale=2)) == "its graph has a convolution of 1x1, and the kernels are for 3x3"
    plain = SPAN(scale=2, normalises=False)
    assert winograd_supports(plain) == "its graph has a sigmoid, which the kernels do not have"
    assert openvino_supports(plain) is None


def test_is_what_spandrel_makes_of_the_same_file(make_picture):
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"spandrel or the torchvision below it does not load: {error}")
    state = trained_state()
    theirs = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state)).model.eval()
    x = make_picture(9, 12, 2)
    with torch.no_grad():
        close(network_from_state_dict(state)(x), theirs(x).double())


@pytest.mark.parametrize(("scale", "num_blocks"), [(0, 6), (2, 0)])
def test_sizes_that_are_none(scale, num_blocks):
    with pytest.raises(ValueError, match="must be at least 1"):
        SPAN(scale=scale, num_blocks=num_blocks)
