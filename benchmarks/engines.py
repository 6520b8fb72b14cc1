"""Engines beside each other: the same network on the same frame, in turns, in one process.

    python benchmarks/engines.py
    python benchmarks/engines.py --models RealESRGAN_x4plus --sizes 321x181 --json all.json --write docs/benchmarks.md

All engines of this machine's processor are measured. The drift of a machine's clock falls on all of them alike. With
--json, further calls add to what earlier ones measured, and the page gets all of it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidsr.engines.base import Engine
from vidsr.engines.gate import closeness
from vidsr.engines.table import ENGINES
from vidsr.measure.figures import Spread
from vidsr.measure.peak import describe, multiply_peak
from vidsr.measure.scene import Scene
from vidsr.measure.tables import spread_text, table, write_block
from vidsr.measure.tune import network_of
from vidsr.models.network import Network
from vidsr.options.values import parse_size

_MODELS = "realesr-animevideov3,RealESRGAN_x4plus_anime_6B,RealESRGAN_x4plus"
_CPU = torch.device("cpu")
_HEADER = ("network, input", "engine", "seconds", "GFLOP/s", "winograd is faster by", "PSNR", "levels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=_MODELS)
    parser.add_argument("--sizes", default="320x180")
    parser.add_argument("--rounds", type=int, default=5, help="0: only show and write what --json has")
    parser.add_argument("--json", type=Path, help="results to add to; a network and size measured again is replaced")
    parser.add_argument("--write", type=Path, help="a page whose block is made anew from all results")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    if given.json is not None and given.json.exists():
        results = json.loads(given.json.read_text(encoding="utf-8"))
    for model in given.models.split(",") if given.rounds else []:
        network = network_of(model)
        for size in given.sizes.split(","):
            name = f"{Path(model).name}, {size}"
            results[name] = measure(network, *parse_size(size), given.rounds)
            print(table(_HEADER, rows(name, results[name])), flush=True)
            if given.json is not None:
                given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = page_text(results)
    print(text)
    if given.write is not None:
        write_block(given.write, "engines", text)


def engines_here(network: Network) -> dict[str, Engine]:
    able = [row for row in ENGINES if row.why_not(network, _CPU, "fp32") is None]
    return {row.name: row.open(copy.deepcopy(network), _CPU, "fp32") for row in able}


def measure(network: Network, width: int, height: int, num_rounds: int) -> dict[str, Any]:
    """What each engine takes in each round, and how close it is to the plain network; as plain values."""
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
    found = {}
    for name, result in results.items():
        close = closeness(result, expected)
        psnr = close.psnr_db if math.isfinite(close.psnr_db) else None  # JSON has no infinity
        found[name] = {"seconds": seconds[name], "psnr_db": psnr, "max_levels": close.max_levels}
    return {
        "machine": describe(_CPU),
        "num_rounds": num_rounds,
        "gflop": (network.flops_per_input_pixel or 0) * width * height / 1e9,
        "peak_gflops": multiply_peak(_CPU, "fp32").gflops,
        "engines": found,
    }


def rows(name: str, result: dict[str, Any]) -> list[tuple[str, ...]]:
    """One for each engine: its times, and how far the others' are from winograd's within each round."""
    of_winograd = result["engines"].get("winograd", {}).get("seconds", [])
    made: list[tuple[str, ...]] = []
    for engine, found in result["engines"].items():
        ratios = [other / ours for other, ours in zip(found["seconds"], of_winograd, strict=False)]
        made.append(
            (
                name,
                engine,
                spread_text(Spread.of(found["seconds"])),
                f"{result['gflop'] / Spread.of(found['seconds']).median:.0f}",
                spread_text(Spread.of(ratios)) if ratios and engine != "winograd" else "-",
                "equal" if found["psnr_db"] is None else f"{found['psnr_db']:.1f} dB",
                f"{found['max_levels']:.4f}",
            )
        )
    return made


def page_text(results: dict[str, Any]) -> str:
    """The machines, one table of all results, and what it takes to read them."""
    machines = dict.fromkeys(_machine(result["machine"]) for result in results.values())
    parts = [*machines, table(_HEADER, [row for name, result in results.items() for row in rows(name, result)])]
    if results:
        peaks = [f"{peak:.0f}" for peak in sorted(result["peak_gflops"] for result in results.values())]
        most = " to ".join(dict.fromkeys((peaks[0], peaks[-1])))
        by_rounds: dict[int, list[str]] = {}
        for name, result in results.items():
            by_rounds.setdefault(result["num_rounds"], []).append(name)
        rounds = "; ".join(f"{count} for {' and '.join(names)}" for count, names in sorted(by_rounds.items()))
        parts.append(f"The most that PyTorch was seen to multiply meanwhile: {most} GFLOP/s.\nRounds: {rounds}.")
    return "\n\n".join(parts)


def _machine(machine: dict[str, str]) -> str:
    return f"{machine['device']}; torch {machine['torch']}, vidsr {machine['vidsr']}."


if __name__ == "__main__":
    main()
