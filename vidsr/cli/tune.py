"""`vidsr tune`: which engine is fastest here, measured and kept."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.cli.arguments import finite
from vidsr.cli.exits import exits
from vidsr.cli.machine_output import json_line
from vidsr.errors import UsageError, WeightsMissingError
from vidsr.options.upscale import SPECS

if TYPE_CHECKING:
    from vidsr.engines.measured import Measurement
    from vidsr.engines.table import RunPrecision
    from vidsr.measure.tune import Tuned

_HEADER = "  engine        threads       size       fps        PSNR  max levels"


@exits
def command(
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A network to tune, may be repeated; unset: all whose weights are here."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N", show_default=False)
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help=SPECS["precision"].meaning, show_default=False)
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="About how long it may take in all.", callback=finite)
    ] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each network.")] = False,
) -> None:
    """Measure the engines of this machine that --engine auto may take, for it to take the fastest."""
    from vidsr.devices.names import machine_name, resolve_device
    from vidsr.engines import measured  # torch takes seconds to import
    from vidsr.measure.tune import network_of, networks_here, tune

    on_device = resolve_device(device or "auto")
    computes_in = _precision(precision or "auto", on_device.type)
    networks = {name: network_of(name) for name in models} if models else networks_here()
    if not networks:
        raise WeightsMissingError("no network's weights are on this machine; `vidsr models fetch NAME` gets some")
    end = time.perf_counter() + seconds
    if not as_json:
        print(f"on {machine_name(on_device)}, {computes_in}; kept in {measured.measured_path()}")
    seen: set[str] = set()
    for index, (name, network) in enumerate(networks.items()):
        key = measured.measured_key(network, on_device, computes_in)
        left = end - time.perf_counter()
        if key in seen or (seen and left <= 0):
            if not as_json:
                print(f"{name}: {'as fast as another above' if key in seen else 'not measured, the time is over'}")
            continue
        seen.add(key)
        if not as_json:
            print(f"{name}\n{_HEADER}")
        share = max(left, 0.0) / (len(networks) - index)
        tuned = tune(name, network, on_device, computes_in, share, _ignore if as_json else _print_measurement)
        if as_json:
            print(json_line(_as_object(tuned, key)), flush=True)
        else:
            print(f"  auto: {tuned.chosen.row.name}, {tuned.chosen.reason}")


def _precision(asked: str, device_type: str) -> RunPrecision:
    if asked == "fp32" or (asked == "auto" and device_type == "cpu"):
        return "fp32"
    if asked == "fp16" and device_type == "cpu":
        raise UsageError("precision fp16 was asked for on the CPU, where nothing computes in it; use fp32 or auto")
    if asked in ("fp16", "auto"):
        return "fp16"
    raise UsageError(f"precision is {asked!r}; it must be auto, fp32 or fp16")


def _print_measurement(name: str, found: Measurement) -> None:
    from vidsr.engines.gate import GATE_TEXT

    what = f"  {found.engine:<14} {found.num_threads or '-':>6} {found.size:>10}"
    if found.error is not None:
        print(f"{what}  failed: {found.error}", flush=True)
        return
    verdict = "" if found.passed else f"  never chosen: {GATE_TEXT} are asked for"
    numbers = f"{found.frames_per_second:9.3f} {found.psnr_db:8.1f} dB {found.max_levels:11.4f}"
    print(f"{what} {numbers}{verdict}", flush=True)


def _ignore(name: str, found: Measurement) -> None:
    pass


def _as_object(tuned: Tuned, key: str) -> dict[str, object]:
    return {
        "kind": "tuned",
        "model": tuned.model,
        "key": key,
        "engine": tuned.chosen.row.name,
        "num_threads": tuned.chosen.num_threads,
        "reason": tuned.chosen.reason,
        "measurements": [{**asdict(m), "passed": m.passed} for m in tuned.measurements],
    }
