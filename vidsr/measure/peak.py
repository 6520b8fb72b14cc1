"""The machine that is measured: what it is, how fast it multiplies at best, and what memory this process takes."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vidsr.devices.names import device_name
from vidsr.measure.figures import Peak
from vidsr.version import __version__

_SECONDS_PER_TRIAL = 0.15


def multiply_peak(device: torch.device, precision: str) -> Peak:
    """The best of large matrix products, of many small ones that stay in the cache, and of a 3x3 convolution.

    All three are what the libraries that torch brings along do best; none multiplies less than its definition says,
    as Winograd's convolutions do, so that those may go beyond it.

    Args:
        precision: fp32 or fp16.
    """
    dtype = torch.float16 if precision == "fp16" else torch.float32
    with torch.inference_mode(), exact_arithmetic():
        rates = {by: _best_rate(work, device) for by, work in _trials(device, dtype).items()}
    by = max(rates, key=rates.__getitem__)
    return Peak(gflops=rates[by] / 1e9, by=by)


_Work = tuple[float, Callable[[], object]]  # FLOP of one call, and the call


def _trials(device: torch.device, dtype: torch.dtype) -> dict[str, _Work]:
    side = 8192 if device.type == "cuda" else 1536
    num_small, small = (2048, 256) if device.type == "cuda" else (64, 192)
    height = width = 512 if device.type == "cuda" else 128

    def filled(*shape: int) -> torch.Tensor:
        return torch.rand(shape, device=device, dtype=dtype)

    a, b = filled(side, side), filled(side, side)
    c, d = filled(num_small, small, small), filled(num_small, small, small)
    x = filled(1, 64, height, width).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, device=device, dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return {
        f"product of {side}x{side} matrices": (2.0 * side**3, lambda: a @ b),
        f"products of {small}x{small} matrices": (2.0 * num_small * small**3, lambda: torch.bmm(c, d)),
        "3x3 convolution, 64 to 64": (2.0 * 9 * 64 * 64 * height * width, lambda: layer(x)),
    }


def _best_rate(work: _Work, device: torch.device) -> float:
    """FLOP per second of the fastest call."""
    flop, call = work
    call()  # plans and buffers are made on the first
    best, until = 0.0, time.perf_counter() + _SECONDS_PER_TRIAL
    while True:
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        now = time.perf_counter()
        best = max(best, flop / (now - began))
        if now > until:
            return best


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Have CUDA multiply fp32 as fp32, and not as TF32 with 10 bits."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> dict[str, str]:
    """What a figure depends on: device, system and versions."""
    return {
        "device": device_name(device),
        "processors": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vidsr": __version__,
    }


def resident_bytes() -> int | None:
    """Memory that this process holds now; None where the system does not tell."""
    return _status("VmRSS")


def peak_resident_bytes() -> int | None:
    """The most that it ever held; None where the system does not tell."""
    # Not getrusage on Linux: there a new program begins with the peak of the one that started it.
    of_linux = _status("VmHWM")
    if of_linux is not None or sys.platform == "win32":
        return of_linux
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int | None:
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
