"""Engines beside each other: the same network on the same frame, in turns, in one process.

    python benchmarks/engines.py
    python benchmarks/engines.py --models RealESRGAN_x4plus --sizes 321x181 --write docs/benchmarks.md

All engines of this machine's processor are measured. The drift of a machine's clock falls on all of them alike.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from torch import Tensor

from vidsr.engines.base import Engine
from vidsr.engines.table import ENGINES
from vidsr.measure.figures import Spread
from vidsr.measure.machine import multiply_peak
from vidsr.measure.scene import Scene
from vidsr.measure.tables import spread_text, table, write_block
from vidsr.measure.tune import network_of
from vidsr.models.loading import Network
from vidsr.options import parse_size

_MODELS = "realesr-animevideov3,RealESRGAN_x4plus_anime_6B,RealESRGAN_x4plus"
_CPU = torch.device("cpu")
_HEADER = ("network, input", "engine", "seconds", "GFLOP/s", "winograd is faster by", "PSNR", "levels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=_MODELS)
    parser.add_argument("--sizes", default="320x180")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="a page whose block is made anew")
    given = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for model in given.models.split(","):
        network = network_of(model)
        for size in given.sizes.split(","):
            rows += measure(model, network, *parse_size(size), given.rounds)
            print(table(_HEADER, rows[-len(engines_here(network)) :]), flush=True)
    peak = multiply_peak(_CPU, "fp32")
    text = f"{table(_HEADER, rows)}\n\nThe most that was seen to be multiplied here: {peak.gflops:.0f} GFLOP/s."
    print(text)
    if given.write is not None:
        write_block(given.write, "engines", text)


def engines_here(network: Network) -> dict[str, Engine]:
    able = [row for row in ENGINES if row.why_not(network, _CPU, "fp32") is None]
    return {row.name: row.open(copy.deepcopy(network), _CPU, "fp32") for row in able}


def measure(model: str, network: Network, width: int, height: int, num_rounds: int) -> list[tuple[str, ...]]:
    """One row for each engine: its times, and how far the others' are from them within each round."""
    x = torch.from_numpy(Scene(width, height).frame(0)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        expected = network(x)
    engines = engines_here(network)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    results: dict[str, Tensor] = {}
    for number in range(num_rounds + 1):
        for name, engine in engines.items():
            began = time.perf_counter()
            results[name] = engine.run(x)
            if number:  # the first is for warming up
                seconds[name].append(time.perf_counter() - began)
    flops = (network.flops_per_input_pixel or 0) * width * height
    rows: list[tuple[str, ...]] = []
    for name in engines:
        difference = (results[name].clamp(0, 1) - expected.clamp(0, 1)).double()
        error = float(difference.square().mean())
        ratios = [other / ours for other, ours in zip(seconds[name], seconds.get("winograd", []), strict=False)]
        rows.append(
            (
                f"{model}, {width}x{height}",
                name,
                spread_text(Spread.of(seconds[name])),
                f"{flops / Spread.of(seconds[name]).median / 1e9:.0f}",
                spread_text(Spread.of(ratios)) if ratios and name != "winograd" else "-",
                f"{-10 * math.log10(error):.1f} dB" if error else "same",
                f"{255 * float(difference.abs().max()):.4f}",
            )
        )
    return rows


if __name__ == "__main__":
    main()
