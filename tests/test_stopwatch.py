"""Stopwatches: what they count, and that a run's busy times add up."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
import torch

from vidsr.options import UpscaleOptions
from vidsr.stopwatch import Stopwatch
from vidsr.upscale import upscale_video


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_counts_the_work_of_a_gpu_and_not_its_start():
    device = torch.device("cuda:0")
    watch = Stopwatch(device)
    a = torch.rand(4096, 4096, device=device)
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    with watch.running():
        for _ in range(20):
            a = (a @ a).clamp_(0, 1)
    seconds_to_start = time.perf_counter() - began
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - began
    assert watch.seconds == watch.seconds
    assert 0.5 * seconds < watch.seconds <= 1.1 * seconds
    assert watch.seconds > seconds_to_start


@pytest.mark.usefixtures("one_thread")
def test_a_run_says_where_its_time_went(make_clip, tmp_path):
    clip = make_clip(size=(64, 48), frames=6)
    options = UpscaleOptions(scale=Fraction(2), model="lanczos", device="cpu", preset="ultrafast")
    times = upscale_video(clip.path, tmp_path / "out.mp4", options).stage_times
    parts = times.copy_in_busy_seconds + times.compute_busy_seconds + times.copy_out_busy_seconds
    assert 0 < parts <= times.work_busy_seconds
    assert 0 < times.network_busy_seconds < times.compute_busy_seconds
    assert times.copy_out_busy_seconds > 0
