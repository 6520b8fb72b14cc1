"""What every family of networks promises. A new family is some lines in CASES."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from saved_layouts import to_branches, to_flat_names, to_fused_names, to_trunk_names

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.families import FAMILIES, describe, family_of, faster, recognise
from vidsr.models.graph import run
from vidsr.models.loading import load_network, network_from_state_dict, save_safetensors
from vidsr.models.network import Network
from vidsr.models.rrdb.network import RRDBNet
from vidsr.models.span.network import SPAN


@dataclass(frozen=True)
class Case:
    make: Callable[[], Network]
    scale: int
    layouts: Mapping[str, Callable[[dict], dict]] = field(default_factory=dict)  # beside the family's own names


def rrdb(scale, num_doublings, **changes):
    make = partial(RRDBNet, scale=scale, num_blocks=1, num_features=6, growth_channels=4, **changes)
    layouts = {}
    if changes.get("upsampler") != "pixelshuffle":
        layouts["trunk"] = to_trunk_names
    if changes.get("fold") == 1 or scale >= 4:
        shuffles = "upsampler" in changes
        layouts["flat"] = partial(to_flat_names, num_blocks=1, num_doublings=num_doublings, shuffles=shuffles)
    return Case(make, scale, layouts)


SPAN_LAYOUTS = {"as it is trained": to_branches, "fused": to_fused_names}
CASES = {
    "RRDBNet x4": rrdb(4, 2),
    "RRDBNet x8": rrdb(8, 3),
    "RRDBNet x2": rrdb(2, 2),
    "RRDBNet x1": rrdb(1, 2),
    "RRDBNet x2 unfolded": rrdb(2, 1, fold=1),
    "RRDBNet x4 shuffling": rrdb(4, 2, upsampler="pixelshuffle"),
    "SRVGGNetCompact x4": Case(partial(SRVGGNetCompact, scale=4, num_features=6, num_convs=3), 4),
    "SRVGGNetCompact x1": Case(partial(SRVGGNetCompact, scale=1, num_features=6, num_convs=0), 1),
    "SPAN x2": Case(partial(SPAN, scale=2, num_features=6, num_blocks=2), 2, SPAN_LAYOUTS),
    "SPAN x3 unnormalised": Case(
        partial(SPAN, scale=3, num_features=5, num_blocks=1, normalises=False), 3, SPAN_LAYOUTS
    ),
}
LAYOUTS = [(name, layout) for name, case in CASES.items() for layout in case.layouts]
SIZES = [(8, 8), (7, 11), (1, 1), (2, 9), (12, 5)]


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def made(case):
    torch.manual_seed(11)
    network = case.make().eval().requires_grad_(False)
    for name, tensor in network.named_parameters():
        if tensor.ndim == 1 and "bias" not in name:
            torch.nn.init.uniform_(tensor, -0.3, 0.3)  # slopes start as one number everywhere, which hides mistakes
    return network


@pytest.fixture
def network(case):
    return made(case)


def picture(height, width, batch=1):
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(31 * height + width))


def assert_close(out, expected):
    """To float32's rounding: 1e-7 for each of some hundred operations, in parts of the largest value."""
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))


def assert_same(loaded, network):
    assert type(loaded) is type(network)
    assert (loaded.scale, loaded.reach_px, loaded.align_px) == (network.scale, network.reach_px, network.align_px)
    assert loaded.flops_per_input_pixel == network.flops_per_input_pixel
    assert loaded.num_parameters == network.num_parameters
    assert_close(loaded(picture(7, 9)), network(picture(7, 9)))


def test_no_family_of_the_table_is_left_out():
    assert {type(case.make()) for case in CASES.values()} == {family.network for family in FAMILIES}
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_is_of_one_family_by_its_class_and_by_its_tensors(network):
    family = family_of(network)
    found = recognise(network.state_dict())
    assert family is not None and found is not None and found.family is family
    assert set(found.named) == set(network.state_dict())
    assert [row.name for row in FAMILIES if row.shape(row.with_own_names(network.state_dict())) is not None] == [
        family.name
    ]
    assert (found.shape.in_channels, found.shape.out_channels) == (3, 3)


def test_is_saved_and_loaded_as_it_was(network, tmp_path):
    save_safetensors(network, tmp_path / "net.safetensors")
    loaded = load_network(tmp_path / "net.safetensors")
    assert_same(loaded, network)
    state = network.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.state_dict().items())
    assert torch.equal(loaded(picture(6, 5)), network(picture(6, 5)))


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_is_loaded_from_every_layout(name, layout):
    network = made(CASES[name])
    state = CASES[name].layouts[layout](network.state_dict())
    assert state.keys() != network.state_dict().keys()
    assert_same(network_from_state_dict({f"module.{key}": tensor for key, tensor in state.items()}), network)


def test_its_weights_have_names_by_their_order(network):
    from_ncnn = family_of(network).from_ncnn
    if from_ncnn is None:
        pytest.skip("is in no file that has the order only")
    state, weights = network.state_dict(), []
    for key, tensor in state.items():
        if key.endswith("weight"):
            weights.append((tensor, state.get(key.removesuffix("weight") + "bias")))
    named = from_ncnn(weights)
    assert named.keys() == state.keys() and all(torch.equal(named[key], state[key]) for key in state)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_becomes_scale_times_as_large(case, network, height, width):
    assert network.scale == case.scale
    out = network(picture(height, width, 2))
    assert out.shape == (2, 3, height * case.scale, width * case.scale)
    assert out.isfinite().all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_its_graph_computes_what_it_computes(network, height, width):
    x = picture(height, width, 2)
    assert_close(run(describe(network), x), network(x))


def test_its_graph_shares_the_weights(network):
    parameters = {tensor.data_ptr() for tensor in network.parameters()}
    convolutions = [op.weight.data_ptr() for op in describe(network).operations if op.kind == "convolution"]
    assert len(parameters & set(convolutions)) == sum(isinstance(m, torch.nn.Conv2d) for m in network.modules())


@pytest.mark.parametrize("half", [False, True])
def test_what_is_faster_gives_the_same(network, half):
    x = picture(7, 10, 2)
    expected = network(x)
    assert_close(faster(network, half=half)(x), expected)
    assert_close(network(x), expected)


def test_nothing_beyond_its_reach_changes_a_pixel(network):
    reach, scale = network.reach_px, network.scale
    for place in range(network.align_px):
        begin = network.align_px + reach + place
        x = picture(2 * network.align_px, begin + reach + 9)
        changed = x.clone()
        changed[..., begin] = 9.0
        differs = (network(changed) != network(x)).amax((0, 1, 2))
        columns = differs.nonzero().flatten() // scale
        assert len(columns) and int(columns.min()) >= begin - reach and int(columns.max()) <= begin + reach


def test_its_reach_is_no_further_than_it_must_be(case):
    network = case.make().double().requires_grad_(False)
    if getattr(network, "normalises", False):
        pytest.skip("a black picture is none of zeros to it")
    for name, tensor in network.named_parameters():
        # With no negative weight and a black picture, what a pixel reaches is all that is not zero.
        torch.nn.init.constant_(tensor, 0.0 if name.endswith("bias") else 0.5)
    furthest = 0
    for place in range(network.align_px):
        begin = network.align_px * (1 + network.reach_px // network.align_px) + place
        x = torch.zeros((1, 3, 2 * network.align_px, begin + network.reach_px + 9), dtype=torch.float64)
        x[..., begin] = 1.0
        columns = network(x).amax((0, 1, 2)).nonzero().flatten() // network.scale
        furthest = max(furthest, begin - int(columns.min()), int(columns.max()) - begin)
    assert furthest == network.reach_px


def test_a_tile_that_begins_at_a_multiple_is_cut_as_the_whole_picture(network):
    align, reach, scale = network.align_px, network.reach_px, network.scale
    begin = 3 * align
    x = picture(2 * align, begin + reach + 12)
    whole, tile = network(x), network(x[..., begin:])
    assert_close(tile[..., scale * reach :], whole[..., scale * (begin + reach) :])


def test_says_what_it_costs(network):
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert network.num_parameters >= sum(m.weight.numel() for m in convolutions)
    assert network.flops_per_input_pixel > 0
    assert network.peak_samples >= network.largest_samples > 0


def test_computes_in_half_precision_where_it_says_so(network):
    if not network.supports_half:
        pytest.skip("says it does not")
    x = picture(9, 14)
    expected = network(x)
    out = copy.deepcopy(network).half()(x.half())
    assert out.dtype is torch.float16
    # 11 bits for each value, and some ten layers.
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=0.01 * float(expected.abs().max()))
