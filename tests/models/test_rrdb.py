"""RRDBNet against its definition: sizes, reach, cost, names, any picture size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from vidsr.models.rrdb.network import RRDBNet


@pytest.mark.parametrize(
    ("scale", "num_blocks", "num_parameters"),
    [(1, 23, 16_723_907), (2, 23, 16_703_171), (4, 23, 16_697_987), (8, 23, 16_734_915), (4, 6, 4_467_779)],
)
def test_has_the_published_number_of_parameters(scale, num_blocks, num_parameters):
    with torch.device("meta"):
        assert RRDBNet(scale=scale, num_blocks=num_blocks).num_parameters == num_parameters


@pytest.mark.parametrize(("scale", "num_blocks", "megaflops"), [(4, 23, 35.85), (2, 23, 8.97), (4, 6, 11.41)])
def test_cost_per_input_pixel(scale, num_blocks, megaflops):
    with torch.device("meta"):
        network = RRDBNet(scale=scale, num_blocks=num_blocks)
    assert network.flops_per_input_pixel == pytest.approx(megaflops * 1e6, rel=1e-3)


@pytest.mark.parametrize(
    ("scale", "upsampler"), [(1, "nearest+conv"), (2, "nearest+conv"), (8, "nearest+conv"), (4, "pixelshuffle")]
)
def test_cost_is_what_the_convolutions_do(make_rrdb, make_picture, scale, upsampler):
    network = make_rrdb(scale, upsampler=upsampler)
    counted = 0

    def count(module, _, output):
        nonlocal counted
        counted += 2 * module.weight[0].numel() * output.numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network(make_picture(16, 24))
    assert network.flops_per_input_pixel * 16 * 24 == pytest.approx(counted, rel=1e-3)


@pytest.mark.parametrize("upsampler", ["nearest+conv", "pixelshuffle"])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (1, 9), (5, 7), (8, 12)])
def test_takes_any_size(make_rrdb, make_picture, scale, upsampler, height, width):
    out = make_rrdb(scale, upsampler=upsampler, num_blocks=1)(make_picture(height, width, batch=2))
    assert out.shape == (2, 3, height * scale, width * scale)
    assert torch.isfinite(out).all()


def test_pads_by_reflection_and_crops(make_rrdb, make_picture):
    network, x = make_rrdb(2), make_picture(9, 11)
    padded = torch.cat([x, x[..., -2:-1]], 3)
    padded = torch.cat([padded, padded[..., -2:-1, :]], 2)
    assert torch.equal(network(x), network(padded)[..., :18, :22])


def test_output_is_not_clamped(make_rrdb, make_picture):
    network = make_rrdb(4)
    network.conv_last.bias.data += 3
    assert network(make_picture(6, 6)).min() > 1


def test_x2_is_x4_of_the_halved_picture(make_rrdb, make_picture):
    x4 = make_rrdb(4)
    x2 = make_rrdb(2)
    state = x4.state_dict()
    state["conv_first.weight"] = state["conv_first.weight"].repeat_interleave(4, dim=1) / 4
    x2.load_state_dict(state)
    x = make_picture(20, 26)
    # Sums in another order: float rounding only. The values are of order 0.1.
    torch.testing.assert_close(x2(x), x4(functional.avg_pool2d(x, 2)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        (1, {"num_blocks": 1}),
        (2, {"num_blocks": 1}),
        (4, {"num_blocks": 1}),
        (4, {"num_blocks": 1, "upsampler": "pixelshuffle"}),
        (8, {"num_blocks": 1}),
        (2, {"num_blocks": 1, "fold": 1}),
        (1, {"num_blocks": 1, "fold": 1}),
    ],
)
def test_reach_is_how_far_a_pixel_is_seen(make_rrdb, scale, options):
    network = make_rrdb(scale, **options).double()
    for parameter in network.parameters():  # all positive, so that nothing cancels
        parameter.data = parameter.abs() + 0.1
    reach, fold = network.reach_px, network.align_px
    width = 2 * reach + 4 * fold
    x = torch.full((1, 3, 1, width - width % fold), 0.5, dtype=torch.float64)
    furthest = 0
    before = network(x)
    for at in range(reach + fold, reach + 2 * fold):
        changed = x.clone()
        changed[..., at] = 1.0
        columns = (network(changed) != before).any(dim=(0, 1, 2)).nonzero().flatten() // scale
        furthest = max(furthest, int(columns.max()) - at, at - int(columns.min()))
    assert furthest == reach


def test_names_are_basicsr_s(make_rrdb):
    names = set(make_rrdb(8, num_blocks=1).state_dict())
    rooms = [f"body.0.rdb{k}.conv{j}" for k in (1, 2, 3) for j in (1, 2, 3, 4, 5)]
    rooms += ["conv_first", "conv_body", "conv_up1", "conv_up2", "conv_up3", "conv_hr", "conv_last"]
    assert names == {f"{room}.{kind}" for room in rooms for kind in ("weight", "bias")}


def test_can_be_trained(make_rrdb, make_picture):
    network = make_rrdb(2).train().requires_grad_(True)
    network(make_picture(7, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_leaves_its_input_alone(make_rrdb, make_picture):
    x = make_picture(8, 8)
    before = x.clone()
    make_rrdb(4)(x)
    make_rrdb(2)(x)
    assert torch.equal(x, before)


def test_refuses_a_scale_that_does_not_exist():
    with pytest.raises(ValueError, match="scale is 3"):
        RRDBNet(scale=3)
