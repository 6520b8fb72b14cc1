"""The kernels of `dense_block.py`: held against plain PyTorch, and their speed beside the library's convolutions."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import partial

from gpu_parts import processes
from gpu_parts.bench import Bench
from gpu_parts.steps import Figures, LeftOut, Part, Step
from vidsr.measure.tables import number_text, table

_CHECK_SECONDS, _SPEED_SECONDS = 60.0, 100.0  # at most: each shape of tiles is compiled for a second or two
_MOST_SHARE = 0.4  # of the time that is left
_SHARE = 0.05  # of the seconds of a measurement, for each shape of tiles


def steps(bench: Bench) -> Iterator[Step]:
    if importlib.util.find_spec("triton") is None or bench.device.type != "cuda":
        yield Step(name="kernels", needs_seconds=0, measure=_cannot)
        return
    yield Step(name="check", needs_seconds=30, measure=partial(check, bench))
    yield Step(name="speed", needs_seconds=30, measure=partial(speed, bench))


def _cannot() -> Figures:
    raise LeftOut("they need triton and a CUDA device")


def _lines(bench: Bench, what: str, most_seconds: float) -> processes.Said:
    # In a process of its own: a kernel that reads where it must not takes the whole process's GPU with it.
    arguments = ["-m", "dense_block", what, "--json", "--device", str(bench.device)]
    arguments += ["--seconds", str(_SHARE * bench.seconds)]
    return processes.python(arguments, min(_MOST_SHARE * bench.seconds_left, most_seconds))


def check(bench: Bench) -> Figures:
    said = _lines(bench, "check", _CHECK_SECONDS)
    return {"checks": said.lines, "was_stopped": said.was_stopped, "met": not said.was_stopped}


def speed(bench: Bench) -> Figures:
    """Of the layers that were done in time, the first ones first."""
    said = _lines(bench, "speed", _SPEED_SECONDS)
    return {
        "layers": said.lines,
        "was_stopped": said.was_stopped,
        "product_tflops": bench.product_tflops,
        "met": None if said.lines else False,
    }


def line(figures: Figures) -> str:
    stopped = "; stopped, as it took too long" if figures["was_stopped"] else ""
    if "checks" in figures:
        return f"{len(figures['checks'])} comparisons with plain PyTorch agree{stopped}"
    product = figures["product_tflops"]
    layers = [
        f"{layer['layer']} " + ", ".join(f"{name} {_rate(layer, name, product)}" for name in layer["tflops"])
        for layer in figures["layers"]
    ]
    return "; ".join(layers) + stopped


def _rate(layer: Figures, name: str, product_tflops: float | None) -> str:
    tflops = layer["tflops"][name]
    if tflops is None:
        return "failed"
    share = "" if product_tflops is None else f" ({100 * tflops / product_tflops:.0f} % of the product)"
    return f"{number_text(tflops)} TFLOP/s{share}"


def text(all_figures: Sequence[Figures]) -> str:
    pieces = []
    for figures in all_figures:
        if figures.get("layers"):
            names = list(figures["layers"][0]["tflops"])
            own = [name for name in names if any(name in layer["by"] for layer in figures["layers"])]
            header = ("layer of a dense block, 1280x720", *names, *(f"{name} with" for name in own))
            rows = [
                (
                    layer["layer"],
                    *(_rate(layer, name, figures["product_tflops"]) for name in names),
                    *(layer["by"].get(name, "-") for name in own),
                )
                for layer in figures["layers"]
            ]
            pieces.append(table(header, rows))
        if figures["was_stopped"] or "checks" in figures:
            pieces.append(f"{line(figures) if 'checks' in figures else 'Stopped, as it took too long'}.")
    return "\n\n".join(pieces)


PART = Part(name="dense-block", steps=steps, line=line, text=text)
