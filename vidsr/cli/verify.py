"""`vidsr verify`: is this file that one, only larger?"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.exits import VERIFICATION, exits
from vidsr.cli.machine_output import json_line
from vidsr.errors import UsageError
from vidsr.judge.verdict import Verdict
from vidsr.judge.verify import verify
from vidsr.options.values import parse_point


@exits
def command(
    source: Annotated[Path, typer.Argument(help="The video that the output was made from.", show_default=False)],
    output: Annotated[Path, typer.Argument(help="The output, made by any program.", show_default=False)],
    quick: Annotated[
        bool, typer.Option("--quick", help="Read packets and the first frame only; decode nothing else.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail also for what is lost, not only wrong.")] = False,
    start: Annotated[
        str | None, typer.Option("--start", help="Where in the source the output begins.", show_default=False)
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--stop", help="Where in the source the output ends.", show_default=False)
    ] = None,
    frame_ratio: Annotated[
        str,
        typer.Option("--frame-ratio", help="Output frames per source frame: 2 if each field became one, 4/5 for film."),
    ] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare an output with its source: frames, times, sound, streams, tags, colour, shape. Exit code 0 or 4."""
    verdict = verify(
        source,
        output,
        quick=quick,
        start=None if start is None else parse_point(start),
        stop=None if stop is None else parse_point(stop),
        frame_ratio=_ratio(frame_ratio),
    )
    passes = verdict.passes(strict=strict)
    if as_json:
        print(json_line(_facts(verdict, passes)))
    else:
        for line in _table(verdict):
            print(line)
        print(_summary(verdict, passes))
    if not passes:
        raise typer.Exit(VERIFICATION)


def _ratio(text: str) -> Fraction:
    try:
        ratio = Fraction(text)
    except (ValueError, ZeroDivisionError):
        ratio = Fraction(0)
    if ratio <= 0:
        raise UsageError(f"frame-ratio is {text!r}; write a number such as 1, 2 or 4/5")
    return ratio


def _table(verdict: Verdict) -> list[str]:
    width = max(len(check.name) for check in verdict.checks)
    lines = []
    for check in verdict.checks:
        expected = f"; expected: {check.expected}" if check.expected and check.outcome != "ok" else ""
        lines.append(f"{check.outcome:<6} {check.name:<{width}}  {check.found}{expected}")
    return lines


def _summary(verdict: Verdict, passes: bool) -> str:
    wrong, lost = len(verdict.of("wrong")), len(verdict.of("lost"))
    depth = "quick check" if verdict.quick else "every frame decoded"
    counts = f"{len(verdict.checks)} checks: {wrong} wrong, {lost} lost ({depth})"
    return f"{'passed' if passes else 'FAILED'}: {counts}"


def _facts(verdict: Verdict, passes: bool) -> dict[str, object]:
    return {
        "kind": "verdict",
        "source": verdict.source,
        "output": verdict.output,
        "passed": passes,
        "quick": verdict.quick,
        "num_frames": verdict.num_frames,
        "time_error_seconds": verdict.time_error_seconds,
        "sound_error_seconds": verdict.sound_error_seconds,
        "checks": verdict.checks,
    }
