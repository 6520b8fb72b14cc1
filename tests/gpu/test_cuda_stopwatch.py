"""A stopwatch counts what a GPU does and not what it takes to start it."""

from __future__ import annotations

import time

import torch

from vidsr.devices.stopwatch import Stopwatch


def test_counts_the_work_of_a_gpu_and_not_its_start(device):
    watch = Stopwatch(device)
    a = torch.rand(4096, 4096, device=device)
    a @ a  # the first product loads its library
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
