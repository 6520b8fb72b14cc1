"""How close pictures are, and what is close enough."""

from __future__ import annotations

import math

import pytest
import torch

from vidsr.engines.gate import GATE_TEXT, Closeness, closeness

GRAY = torch.full((2, 3, 100, 100), 0.5)
EQUAL = Closeness(psnr_db=math.inf, share_off=0.0, max_levels=0.0)


def changed(num_samples, levels, frame=0):
    """Gray, with so many samples of one frame off by so much."""
    out = GRAY.clone()
    out[frame].view(-1)[:num_samples] += levels / 255
    return out


def test_decibels_are_of_the_worst_frame_and_levels_of_the_worst_sample():
    found = closeness(GRAY + 1 / 255, GRAY)
    assert (found.psnr_db, found.max_levels) == (pytest.approx(48.13, abs=0.01), pytest.approx(1, abs=1e-4))
    for frame in (0, 1):
        found = closeness(changed(1, 10, frame), GRAY)
        assert found.psnr_db == pytest.approx(48.13 - 20 + 10 * math.log10(30000), abs=0.01)
        assert found.max_levels == pytest.approx(10, abs=1e-3)
        assert found.share_off == pytest.approx(1 / 60000)


def test_equal_is_infinite():
    assert closeness(GRAY, GRAY.clone()) == EQUAL


def test_only_what_is_shown_counts():
    assert closeness(torch.full((3, 4), 1.7), torch.full((3, 4), 1.0)) == EQUAL
    assert closeness(torch.full((3, 4), -5.0), torch.full((3, 4), 0.0)) == EQUAL


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_as_far_as_can_be(value):
    out = GRAY.clone()
    out[1, 2, 3, 4] = value
    found = closeness(out, GRAY)
    assert found == Closeness(psnr_db=0.0, share_off=1.0, max_levels=255.0) and not found.passed


@pytest.mark.parametrize(
    ("num_samples", "levels", "passed"),
    [
        (0, 0, True),
        (30000, 0.2, True),
        (30000, 0.3, False),  # 58.6 dB in one frame of two
        (1, 2.9, True),  # what fp16 does to single samples
        (6, 2.1, True),
        (7, 2.1, False),  # 1.2 samples in ten thousand
        (1, 7.9, True),
        (1, 8.1, False),
    ],
)
def test_the_gate_lets_single_samples_be_off_and_not_by_far(num_samples, levels, passed):
    assert closeness(changed(num_samples, levels, 1), GRAY).passed is passed


def test_the_gate_is_told_in_its_own_numbers():
    assert GATE_TEXT == "60 dB in the worst frame, 99.99 % of the samples within 2 levels and none beyond 8"
