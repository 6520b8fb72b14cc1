"""The kernels of `dense_block.py`: held against plain PyTorch, and their speed beside the library's convolutions."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import partial
from types import ModuleType

from gpu_parts.bench import Bench
from gpu_parts.steps import Figures, LeftOut, Part, Step
from gpu_parts.timing import median_seconds
from vidsr.measure.tables import number_text, table

_NUM_LAYERS = 5
_SHARE = 0.05  # of the seconds of a measurement, for each shape of tiles


def steps(bench: Bench) -> Iterator[Step]:
    if importlib.util.find_spec("triton") is None or bench.device.type != "cuda":
        yield Step(name="kernels", needs_seconds=0, measure=_cannot)
        return
    yield Step(name="check", needs_seconds=20, measure=partial(check, bench))
    for number in range(_NUM_LAYERS):
        yield Step(name=f"layer {number + 1}", needs_seconds=10, measure=partial(measure, bench, number))


def _cannot() -> Figures:
    raise LeftOut("they need triton and a CUDA device")


def _kernels() -> ModuleType:
    import dense_block  # needs triton

    return dense_block


def check(bench: Bench) -> Figures:
    results = [str(one) for one in _kernels().check(bench.device)]
    return {"said": results}


def measure(bench: Bench, number: int) -> Figures:
    dense_block = _kernels()

    def seconds_of(call: object) -> float:
        assert callable(call)
        return median_seconds(call, bench.device, _SHARE * bench.seconds)

    found = dense_block.measure_layer(number, bench.device, seconds_of)
    return {"layer": found.layer, "product_tflops": bench.product_tflops, "tflops": found.tflops, "by": found.by}


def line(figures: Figures) -> str:
    if "said" in figures:
        return f"{len(figures['said'])} comparisons with plain PyTorch agree"
    rates = ", ".join(f"{name} {_rate(figures, name)}" for name in figures["tflops"])
    return f"{figures['layer']}: {rates}"


def _rate(figures: Figures, name: str) -> str:
    tflops, product = figures["tflops"][name], figures["product_tflops"]
    if tflops is None:
        return "failed"
    share = "" if product is None else f", {100 * tflops / product:.0f} %"
    return f"{number_text(tflops)} TFLOP/s{share}"


def text(all_figures: Sequence[Figures]) -> str:
    layers = [figures for figures in all_figures if "layer" in figures]
    checks = [f"{line(figures)}." for figures in all_figures if "said" in figures]
    if not layers:
        return "\n\n".join(checks)
    names = list(layers[0]["tflops"])
    header = (
        "layer of a dense block, 1280x720",
        *names,
        *(f"{name} with" for name in names if name in layers[0]["by"]),
    )
    rows = [
        (
            figures["layer"],
            *(_rate(figures, name) for name in names),
            *(str(figures["by"].get(name, "-")) for name in names if name in layers[0]["by"]),
        )
        for figures in layers
    ]
    return "\n\n".join([*checks, table(header, rows)])


PART = Part(name="dense-block", steps=steps, line=line, text=text)
