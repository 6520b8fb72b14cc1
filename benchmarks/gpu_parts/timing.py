"""How long a call takes on a device, when calls follow each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

_NUM_STRETCHES = 5
_NUM_WARM_UPS = 3  # algorithms are searched, memory is taken; what is recorded is replayed from the third on


def seconds_per_call(call: Callable[[], object], device: torch.device, num_calls: int) -> float:
    """Of one call among several in a row; on CUDA by the device's clock."""
    if device.type != "cuda":
        began = time.perf_counter()
        for _ in range(num_calls):
            call()
        return (time.perf_counter() - began) / num_calls
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    with torch.cuda.device(device):
        begin.record()
        for _ in range(num_calls):
            call()
        end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000 / num_calls


def stretches(call: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Seconds per call of each of five stretches of calls, after warming up.

    Args:
        seconds: that the five take together, about; a call that takes longer is made once in each.
    """
    for _ in range(_NUM_WARM_UPS):
        seconds_per_call(call, device, 1)
    about = max(seconds_per_call(call, device, 2), 1e-6)
    num_calls = max(round(seconds / _NUM_STRETCHES / about), 1)
    return [seconds_per_call(call, device, num_calls) for _ in range(_NUM_STRETCHES)]


def median_seconds(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of a call: the median of `stretches`."""
    return statistics.median(stretches(call, device, seconds))
