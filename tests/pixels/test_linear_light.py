"""Linear light: the sRGB curve as the standard has it, and networks that leave highlights alone."""

from __future__ import annotations

import pytest
import torch

from vidsr.pixels.linear_light import decode_srgb, encode_srgb, enlarge_light
from vidsr.pixels.resample import resize


@pytest.mark.parametrize(
    ("light", "code"),
    # IEC 61966-2-1; 0.18 is middle gray, 0.0031308 the knee.
    [(0, 0), (1, 1), (0.5, 0.735357), (0.18, 0.461356), (0.0031308, 0.040450), (0.001, 0.01292), (0.2140411, 0.5)],
)
def test_the_curve_is_the_standard_s(light, code):
    assert encode_srgb(torch.tensor(float(light))).item() == pytest.approx(code, abs=2e-6)
    assert decode_srgb(torch.tensor(float(code))).item() == pytest.approx(light, abs=2e-6)


def test_there_and_back_halves_return_exactly():
    halves = torch.arange(0, 1 << 15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    halves = halves[torch.isfinite(halves)]
    both = torch.cat([halves, -halves]).float()
    assert torch.equal(decode_srgb(encode_srgb(both)).half().float(), both)


def test_codes_of_16_bit_return_exactly():
    codes = torch.arange(0, 65536) / 65535
    assert torch.equal((encode_srgb(decode_srgb(codes)) * 65535).round(), torch.arange(0.0, 65536))


def double(coded):
    return resize(coded, coded.shape[2] * 2, coded.shape[3] * 2, "bicubic")


def test_within_zero_and_one_it_is_the_network_alone():
    light = torch.rand((2, 3, 12, 14), generator=torch.Generator().manual_seed(1))
    expected = decode_srgb(double(encode_srgb(light)).clamp(0, 1))
    assert torch.equal(enlarge_light(light, 24, 28, double), expected)


def test_highlights_and_negative_light_survive_without_rims():
    light = torch.full((1, 3, 32, 32), 0.25)
    light[..., 20:26, 20:26], light[..., 6, 6] = 101.0, -2.0
    seen = []

    def network(coded):
        seen.append((coded.min().item(), coded.max().item()))
        return resize(coded, 64, 64, "nearest")

    out = enlarge_light(light, 64, 64, network)
    assert seen == [pytest.approx((0, 1))]  # what it knows
    assert out.max() > 100 and out.min() < -1
    added = out - decode_srgb(resize(encode_srgb(light.clamp(0, 1)), 64, 64, "nearest"))
    # Lanczos alone would go to -9 beside the sun.
    assert added[..., 32:, 32:].min() >= 0 and added[..., :32, :32].max() <= 0
    assert added[..., 42:50, 42:50].mean().item() == pytest.approx(100, rel=0.02)  # the middle of the sun
    # On four times as many pixels; the rim that is not there would have taken some of it away.
    assert 1 <= added.clamp_min(0).sum().item() / 4 / (3 * 36 * 100) < 1.15
