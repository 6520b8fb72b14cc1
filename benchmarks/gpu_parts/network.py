"""The network alone, its input on the device already: by every engine; and, in a part of its own, compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

import torch

from gpu_parts import compiled
from gpu_parts.bench import Bench
from gpu_parts.cases import Case
from gpu_parts.steps import Figures, LeftOut, Part, Step
from gpu_parts.timing import stretches
from vidsr.engines.compiled import why_absent
from vidsr.inference.upscaler import Upscaler
from vidsr.measure.figures import Spread
from vidsr.measure.tables import number_text, spread_text, table
from vidsr.models.rrdb.network import RRDBNet

_COMPILED_SHARE = 0.2  # of the time that is left, for one compilation: other parts come behind
_COMPILED_LEAST_SECONDS, _COMPILED_MOST_SECONDS = 20.0, 90.0


def steps(bench: Bench) -> Iterator[Step]:
    """First what is sure to end soon; engines of one case by turns, so that little has changed between them."""
    for case in bench.cases:
        for engine in bench.engines(case.make()):
            yield Step(
                name=f"{case.name} by {engine}",
                needs_seconds=1.5 * bench.seconds + 5,
                measure=partial(measure, bench, case, engine),
                one_of=case.name,
            )


def compiled_steps(bench: Bench) -> Iterator[Step]:
    """The small network first."""
    for case in reversed(bench.cases):
        # What all dense blocks share is compiled in seconds; a whole network of 69 of them in minutes.
        by_blocks = isinstance(case.make(), RRDBNet)
        yield Step(
            name=f"{case.name} compiled" + (" by blocks" if by_blocks else ""),
            needs_seconds=_COMPILED_LEAST_SECONDS / _COMPILED_SHARE,
            measure=partial(measure_compiled, bench, case, by_blocks=by_blocks),
        )


def measure(bench: Bench, case: Case, engine: str) -> Figures:
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
    upscaler, still = Upscaler(bench.options(case, engine)), bench.still(case)
    seconds = stretches(lambda: upscaler.run_network(still), bench.device, bench.seconds)
    figures = _figures(bench, case, engine, seconds)
    bench.network_fps[case.name, engine] = figures["fps"]["median"]
    if bench.device.type == "cuda":
        figures["peak_mib"] = torch.cuda.max_memory_allocated(bench.device) / 2**20
    return figures


def measure_compiled(bench: Bench, case: Case, *, by_blocks: bool) -> Figures:
    absent = why_absent()
    if absent is not None:
        raise LeftOut(absent)
    limit = min(max(_COMPILED_SHARE * bench.seconds_left, _COMPILED_LEAST_SECONDS), _COMPILED_MOST_SECONDS)
    found = compiled.in_a_process(
        case.name, bench.device, bench.batch(case), 0.5 * bench.seconds, limit, by_blocks=by_blocks
    )
    if found is None:
        raise LeftOut(f"compiling took longer than {limit:.0f} s")
    name = "compiled by blocks" if by_blocks else "compiled"
    figures = _figures(bench, case, name, found["seconds"])
    # No engine that `auto` could take: nothing is asked of it.
    return {**figures, "met": None, "compiling_seconds": found["compiling_seconds"]}


def _figures(bench: Bench, case: Case, engine: str, seconds: Sequence[float]) -> Figures:
    """Args: seconds: of a call, in each stretch."""
    fps = Spread.of(bench.batch(case) / one for one in seconds)
    goal_fps = case.goal_fps if bench.has_goals else None
    return {
        "case": case.name,
        "engine": engine,
        "size": case.size_text,
        "precision": bench.precision,
        "batch": bench.batch(case),
        "fps": asdict(fps),
        "tflops": fps.median * case.flops / 1e12,
        "product_tflops": bench.product_tflops,
        "goal_fps": goal_fps,
        "met": None if goal_fps is None else fps.median >= goal_fps,
    }


def _share(figures: Figures) -> str:
    product = figures["product_tflops"]
    return "-" if product is None else f"{100 * figures['tflops'] / product:.0f} %"


def line(figures: Figures) -> str:
    goal = "" if figures["goal_fps"] is None else f", asked for {figures['goal_fps']} fps"
    compiling = figures.get("compiling_seconds")
    after = "" if compiling is None else f", after {compiling:.0f} s of compiling"
    return (
        f"{spread_text(Spread(**figures['fps']))} fps, {number_text(figures['tflops'])} TFLOP/s, {_share(figures)} of "
        f"the product{goal}{after}"
    )


def text(all_figures: Sequence[Figures]) -> str:
    header = ("network, input", "engine", "batch", "fps", "asked for", "TFLOP/s", "of product", "memory", "compiling")
    rows = [
        (
            f"{figures['case']} {figures['precision']}, {figures['size']}",
            figures["engine"],
            str(figures["batch"]),
            spread_text(Spread(**figures["fps"])),
            "-" if figures["goal_fps"] is None else str(figures["goal_fps"]),
            number_text(figures["tflops"]),
            _share(figures),
            f"{figures['peak_mib']:.0f} MiB" if "peak_mib" in figures else "-",
            f"{figures['compiling_seconds']:.0f} s" if "compiling_seconds" in figures else "-",
        )
        for figures in all_figures
    ]
    return table(header, rows)


PART = Part(name="network", steps=steps, line=line, text=text)
COMPILED = Part(name="compiled", steps=compiled_steps, line=line, text=text)
