"""What a part consists of: steps, each begun only while there is time, and written down as soon as it is done."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpu_parts.bench import Bench

Figures = dict[str, Any]  # plain values, as JSON has them
_TRACE_LINES = 12


class LeftOut(Exception):  # noqa: N818, no error
    """It cannot be measured here, and need not be; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to measure."""

    name: str
    needs_seconds: float  # about
    measure: Callable[[], Figures]
    one_of: str = ""  # of the steps that share this word, one that does what is asked for is enough


@dataclass(frozen=True, kw_only=True)
class Part:
    """Steps of one kind, and how their figures read."""

    name: str
    steps: Callable[[Bench], Iterable[Step]]
    line: Callable[[Figures], str]  # one step's figures, on a line
    text: Callable[[Sequence[Figures]], str]  # those of all steps that were done, as Markdown


def outcome(step: Step, bench: Bench) -> Figures:
    """What came of a step: its `state` (done, failed, skipped, left out), why, and its figures.

    `met` says whether it does what is asked for; None: nothing was asked for.
    """
    found: Figures = {"name": step.name, "one_of": step.one_of or step.name, "state": "done", "met": None}
    if step.needs_seconds > bench.seconds_left:
        why = f"needs about {step.needs_seconds:.0f} s, and {max(bench.seconds_left, 0):.0f} s were left"
        return {**found, "state": "skipped", "why": why}
    began = time.perf_counter()
    try:
        figures = step.measure()
    except LeftOut as reason:
        return {**found, "state": "left out", "why": str(reason)}
    except Exception as error:  # noqa: BLE001, one that fails must not keep the others from being measured
        found = {**found, **failure(error)}
    else:
        found = {**found, "met": figures.pop("met", None), "figures": figures}
    bench.release()
    return {**found, "seconds": round(time.perf_counter() - began, 2)}


def failure(error: Exception) -> Figures:
    """An exception as part of an outcome."""
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    text = str(error).strip() or "no message"
    return {"state": "failed", "why": f"{type(error).__name__}: {text[:2000]}", "trace": lines[-_TRACE_LINES:]}


def shortfalls(parts: Mapping[str, Sequence[Figures]]) -> list[str]:
    """What of all that was asked for is not met, a line each."""
    lines = []
    for part, outcomes in parts.items():
        lines += [f"{part}, {o['name']}: {o['state']}" for o in outcomes if o["state"] in ("failed", "skipped")]
        asked = [o for o in outcomes if o["met"] is not None]
        for word in dict.fromkeys(o["one_of"] for o in asked):
            if not any(o["met"] for o in asked if o["one_of"] == word):
                lines.append(f"{part}, {word}: does not do what is asked for")
    return lines
