"""How close pictures are, in decibels and levels."""

from __future__ import annotations

import math

import pytest
import torch

from vidsr.measure.closeness import closeness

GRAY = torch.full((2, 3, 10, 10), 0.5)


def test_decibels_are_of_the_mean_and_levels_of_the_worst():
    assert closeness(GRAY + 1 / 255, GRAY) == (pytest.approx(48.13, abs=0.01), pytest.approx(1, abs=1e-4))
    one = GRAY.clone()
    one[0, 0, 0, 0] += 10 / 255
    assert closeness(one, GRAY) == (pytest.approx(48.13 - 20 + 10 * math.log10(600), abs=0.01), pytest.approx(10))


def test_equal_is_infinite():
    assert closeness(GRAY, GRAY.clone()) == (math.inf, 0.0)


def test_only_what_is_shown_counts():
    assert closeness(torch.full((3, 4), 1.7), torch.full((3, 4), 1.0)) == (math.inf, 0.0)
    assert closeness(torch.full((3, 4), -5.0), torch.full((3, 4), 0.0)) == (math.inf, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_as_far_as_can_be(value):
    out = GRAY.clone()
    out[1, 2, 3, 4] = value
    assert closeness(out, GRAY) == (0.0, 255.0)
