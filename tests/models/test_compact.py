"""SRVGGNetCompact against its definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from vidsr.models.compact.network import SRVGGNetCompact


@pytest.mark.parametrize(
    ("num_convs", "num_parameters", "megaflops", "reach_px"),
    [(16, 621_424, 1.238, 18), (32, 1_213_296, 2.418, 34)],
)
def test_published_sizes(num_convs, num_parameters, megaflops, reach_px):
    with torch.device("meta"):
        network = SRVGGNetCompact(scale=4, num_convs=num_convs)
    assert network.num_parameters == num_parameters
    assert network.flops_per_input_pixel == pytest.approx(megaflops * 1e6, rel=1e-3)
    assert network.reach_px == reach_px


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 7)])
def test_takes_any_size(make_compact, make_picture, scale, height, width):
    out = make_compact(scale)(make_picture(height, width, batch=2))
    assert out.shape == (2, 3, height * scale, width * scale)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_adds_to_the_nearest_upsampled_picture(make_compact, make_picture, scale):
    network, x = make_compact(scale), make_picture(5, 6)
    last = network.body[-1]
    last.weight.data.zero_()
    last.bias.data.fill_(0.25)
    repeated = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(network(x), repeated + 0.25)


def test_is_the_chain_that_its_names_say(make_compact, make_picture):
    network, x = make_compact(2, num_convs=1), make_picture(6, 5)
    state = network.state_dict()
    assert set(state) == {f"body.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")} | {
        "body.1.weight",
        "body.3.weight",
    }
    y = x
    for i in (0, 2, 4):
        y = functional.conv2d(y, state[f"body.{i}.weight"], state[f"body.{i}.bias"], padding=1)
        if i < 4:
            y = torch.where(y > 0, y, y * state[f"body.{i + 1}.weight"].view(1, -1, 1, 1))
    expected = functional.pixel_shuffle(y, 2) + functional.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(network(x), expected, atol=1e-6, rtol=0)


def test_reach_is_how_far_a_pixel_is_seen(make_compact):
    network = make_compact(2).double()
    for parameter in network.parameters():
        parameter.data = parameter.abs() + 0.1
    x = torch.full((1, 3, 1, 41), 0.5, dtype=torch.float64)
    changed = x.clone()
    changed[..., 20] = 1.0
    columns = (network(changed) != network(x)).any(dim=(0, 1, 2)).nonzero().flatten() // 2
    assert (20 - int(columns.min()), int(columns.max()) - 20) == (network.reach_px, network.reach_px)


def test_can_be_trained(make_compact, make_picture):
    network = make_compact(4).train().requires_grad_(True)
    network(make_picture(7, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
