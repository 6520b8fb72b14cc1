"""`vidsr bench`: how fast this machine is, and how much of that reaches the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.arguments import finite
from vidsr.cli.exits import exits, report
from vidsr.cli.machine_output import SCHEMA, plain
from vidsr.errors import TargetError, UsageError, VidsrError
from vidsr.measure.figures import Figures
from vidsr.measure.plot import svg
from vidsr.measure.tables import bench_text, write_block


def _list(flag: str, help_text: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(flag, help=help_text + "; several with commas", show_default=False)
    return info


@exits
def command(
    model: Annotated[str, _list("--model", "Models; unset: a quick choice of those on this machine")] = "",
    size: Annotated[str, _list("--size", "Input sizes, such as 320x180; unset: by model")] = "",
    device: Annotated[str, _list("--device", "auto, cpu, cuda or cuda:N")] = "",
    precision: Annotated[str, _list("--precision", "auto, fp32 or fp16")] = "",
    engine: Annotated[str, _list("--engine", "Engines by name, see `vidsr doctor`; unset: auto")] = "",
    scale: Annotated[str, _list("--scale", "Output size over input size; unset: 2")] = "",
    clip: Annotated[
        Path | None, typer.Option("--clip", help="A video instead of the drawn one.", show_default=False)
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All models on this machine, more sizes: many minutes.")] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="To spend on each case, about.", callback=finite)
    ] = 9.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="Measurements of each figure.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to a file.", show_default=False)
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw them, as .svg.", show_default=False)] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Put the tables into a page, between its marks.", show_default=False),
    ] = None,
) -> None:
    """Measure networks alone and in whole runs: speed, busy stages, exactness, memory."""
    from vidsr.measure.bench import make_cases, run_case  # torch takes seconds to import

    if plot is not None and plot.suffix.lower() != ".svg":
        raise UsageError(f"{plot}: plots are drawn as .svg; every browser shows and converts them")
    axes = {
        name: [value.strip() for value in given.split(",") if value.strip()]
        for name, given in (
            ("model", model),
            ("device", device),
            ("precision", precision),
            ("engine", engine),
            ("scale", scale),
        )
    }
    sizes = [text.strip() for text in size.split(",") if text.strip()]
    cases = make_cases(axes, sizes, clip=clip, is_full=full, seconds=seconds, num_rounds=rounds)
    measured: list[Figures] = []
    failures: list[int] = []
    try:
        for number, case in enumerate(cases, 1):
            print(f"{number} of {len(cases)}: {case}", file=sys.stderr, flush=True)
            result = run_case(case)
            if isinstance(result, VidsrError):
                failures.append(report(result))
            else:
                measured.append(result)
    finally:  # interrupted, what took minutes is shown all the same
        if measured:
            _show(measured, json_file, plot, write)
    if failures:
        raise typer.Exit(failures[0])


def _show(measured: list[Figures], json_file: Path | None, plot: Path | None, write: Path | None) -> None:
    text = bench_text(measured)
    print(text)
    if json_file is not None:
        cases = {"schema": SCHEMA, "kind": "bench", "cases": plain(measured)}
        _write(json_file, json.dumps(cases, indent=1) + "\n")
    if plot is not None:
        _write(plot, svg(measured))
    if write is not None:
        write_block(write, "vidsr bench", text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TargetError(f"{path}: cannot be written ({error.strerror})") from error
