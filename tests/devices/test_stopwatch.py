"""Stopwatches: what they count, and that a run's busy times add up."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
import torch

from vidsr.devices.stopwatch import Stopwatch
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video


def test_adds_up_what_is_enclosed_and_nothing_else():
    watch = Stopwatch(torch.device("cpu"))
    assert watch.seconds == 0
    for _ in range(2):
        with watch.running():
            time.sleep(0.02)
        time.sleep(0.05)
    assert 0.04 <= watch.seconds < 0.09


def test_counts_what_fails_too():
    watch = Stopwatch(torch.device("cpu"))
    with pytest.raises(ValueError), watch.running():
        time.sleep(0.01)
        raise ValueError
    assert watch.seconds >= 0.01


@pytest.mark.usefixtures("one_thread")
def test_a_run_says_where_its_time_went(make_clip, tmp_path):
    clip = make_clip(size=(64, 48), frames=6)
    options = UpscaleOptions(scale=Fraction(2), model="lanczos", device="cpu", preset="ultrafast")
    times = upscale_video(clip.path, tmp_path / "out.mp4", options).stage_times
    parts = times.copy_in_busy_seconds + times.compute_busy_seconds + times.copy_out_busy_seconds
    assert 0 < parts <= times.work_busy_seconds
    assert 0 < times.network_busy_seconds < times.compute_busy_seconds
    assert times.copy_out_busy_seconds > 0
