"""The most that the device does: bytes that a copy moves, and operations that a large product of matrices takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import torch

from gpu_parts.bench import Bench
from gpu_parts.steps import Figures, Part, Step
from gpu_parts.timing import stretches
from vidsr.measure.figures import Spread
from vidsr.measure.tables import spread_text

_SHARE = 0.3  # of the seconds of a measurement


def steps(bench: Bench) -> Iterator[Step]:
    yield Step(name="copy", needs_seconds=bench.seconds + 2, measure=lambda: copy(bench))
    yield Step(name="product", needs_seconds=bench.seconds + 2, measure=lambda: product(bench))


def copy(bench: Bench) -> Figures:
    """From the device's memory to the same, bytes read and bytes written both counted."""
    num_bytes = 2**22 if bench.is_tiny else 2**30
    source = torch.randint(256, (num_bytes,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    seconds = stretches(lambda: target.copy_(source), bench.device, _SHARE * bench.seconds)
    rates = Spread.of(2 * num_bytes / one / 1e12 for one in seconds)
    return {"what": f"copy of {num_bytes / 2**20:.0f} MiB", "unit": "TB/s", "rate": asdict(rates)}


def product(bench: Bench) -> Figures:
    """Of random numbers: zeros take less power, which lets the clock go higher than any network has it."""
    side = 256 if bench.is_tiny else 8192
    dtype = torch.float16 if bench.precision == "fp16" else torch.float32
    generator = torch.Generator(bench.device).manual_seed(0)
    a, b = (torch.randn((side, side), generator=generator, device=bench.device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    seconds = stretches(lambda: torch.mm(a, b, out=out), bench.device, _SHARE * bench.seconds)
    rates = Spread.of(2 * side**3 / one / 1e12 for one in seconds)
    bench.product_tflops = rates.median
    return {
        "what": f"product of {side}x{side} matrices, {bench.precision}",
        "unit": "TFLOP/s",
        "rate": asdict(rates),
    }


def line(figures: Figures) -> str:
    return f"{figures['what']}: {spread_text(Spread(**figures['rate']))} {figures['unit']}"


def text(all_figures: Sequence[Figures]) -> str:
    return "\n".join(f"- {line(figures)}" for figures in all_figures)


PART = Part(name="ceilings", steps=steps, line=line, text=text)
