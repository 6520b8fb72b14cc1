"""Half precision here against fp32 on the CPU, on a real picture, for all weights that are on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from gpu_parts.bench import Bench
from gpu_parts.cases import random_network, real_frame
from gpu_parts.steps import Figures, LeftOut, Part, Step
from vidsr.engines.gate import LEAST_PSNR_DB, MOST_LEVELS, MOST_SHARE_OFF, TYPICAL_LEVELS, closeness
from vidsr.engines.table import find_engine
from vidsr.engines.torch import TorchEngine
from vidsr.measure.tables import table
from vidsr.models import weights_store
from vidsr.models.catalogue import CATALOGUE
from vidsr.models.loading import load_network
from vidsr.models.network import Network

_SIZES = ((96, 64), (81, 57))  # width and height: odd sides are the harder ones
_NUM_CALLS = 3  # what is recorded is replayed from the third on
_MOST_PSNR_DB = 200.0  # stands for equal, as JSON has no infinity


def steps(bench: Bench) -> Iterator[Step]:
    networks: dict[str, Callable[[], Network]] = {}
    if bench.is_tiny:
        networks = {case.name: partial(random_network, case) for case in bench.cases}
    else:
        for entry in CATALOGUE:
            weights = weights_store.locate(entry) if entry.kind == "network" else None
            if weights is not None:
                networks[entry.name] = partial(load_network, weights.path)
    for name, load in networks.items():
        yield Step(name=name, needs_seconds=8, measure=partial(measure, bench, name, load))
    if not networks:
        yield Step(name="weights", needs_seconds=0, measure=_no_weights)


def _no_weights() -> Figures:
    raise LeftOut("no network's weights are on this machine")


def measure(bench: Bench, name: str, load: Callable[[], Network]) -> Figures:
    """All engines at all sizes; each gets a network of its own, which it may change."""
    exact = TorchEngine(load(), torch.device("cpu"), "fp32")
    engines = {
        engine: find_engine(engine).open(load(), bench.device, bench.precision) for engine in bench.engines(load())
    }
    frame, rows = real_frame(), []
    for width, height in _SIZES:
        x = frame[..., :height, :width].contiguous()
        expected = exact.run(x)
        for engine, opened in engines.items():
            results = [opened.run(x.to(bench.device)) for _ in range(_NUM_CALLS)]
            close = closeness(results[-1], expected)
            rows.append(
                {
                    "engine": engine,
                    "size": f"{width}x{height}",
                    "psnr_db": min(close.psnr_db, _MOST_PSNR_DB),
                    "share_off": close.share_off,
                    "max_levels": close.max_levels,
                    "passed": close.passed,
                }
            )
    return {"met": all(row["passed"] for row in rows), "weights": name, "rows": rows}


def line(figures: Figures) -> str:
    rows = figures["rows"]
    verdict = "passes" if all(row["passed"] for row in rows) else "DOES NOT PASS"
    return (
        f"{verdict}: at least {min(row['psnr_db'] for row in rows):.1f} dB, at most "
        f"{max(row['max_levels'] for row in rows):.2f} levels, {100 * max(row['share_off'] for row in rows):.4f} % of "
        f"samples off by more than {TYPICAL_LEVELS:.0f}"
    )


def text(all_figures: Sequence[Figures]) -> str:
    header = ("weights", "engine", "size", "PSNR", "levels at most", f"beyond {TYPICAL_LEVELS:.0f} levels", "passes")
    rows = [
        (
            figures["weights"],
            row["engine"],
            row["size"],
            f"{row['psnr_db']:.1f} dB",
            f"{row['max_levels']:.2f}",
            f"{100 * row['share_off']:.4f} %",
            "yes" if row["passed"] else "NO",
        )
        for figures in all_figures
        for row in figures["rows"]
    ]
    asked = (
        f"Asked for: at least {LEAST_PSNR_DB:.0f} dB, at most {100 * MOST_SHARE_OFF:.2f} % of samples off by more than "
        f"{TYPICAL_LEVELS:.0f} levels, none by more than {MOST_LEVELS:.0f}."
    )
    return f"{table(header, rows)}\n\n{asked}"


PART = Part(name="gate", steps=steps, line=line, text=text)
