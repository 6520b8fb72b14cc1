"""The tests that need a GPU, in a process of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gpu_parts.bench import Bench
from gpu_parts.cases import ROOT
from gpu_parts.steps import Figures, LeftOut, Part, Step

_NEEDS_SECONDS = 30.0
_MOST_SHARE = 0.4  # of the time that is left
_NONE_RAN = 5  # pytest's exit code
_SHOWN = 20_000  # characters of what was said; all of it lies beside the report


def steps(bench: Bench) -> Iterator[Step]:
    """Apart, so that the longer one can lose nothing of the first."""
    for name in ("gpu", "contracts"):
        folder = ROOT / "tests" / name
        yield Step(name=name, needs_seconds=_NEEDS_SECONDS, measure=partial(measure, bench, folder))


def measure(bench: Bench, folder: Path) -> Figures:
    if bench.is_tiny:
        raise LeftOut("not with --tiny")
    # Each test on a line as it ends: what is stopped has told how far it came.
    command = [sys.executable, "-m", "pytest", "-v", "-rfE", "--tb=short", "-m", "gpu and not slow", str(folder)]
    limit = max(_MOST_SHARE * bench.seconds_left, _NEEDS_SECONDS)
    log = bench.out / f"tests-{folder.name}.log"
    was_stopped, code = False, 1
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=limit)
            code = done.returncode
        except subprocess.TimeoutExpired:
            was_stopped = True
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    summary = said.splitlines()[-1].strip("= ") if said else "nothing was said"
    if was_stopped:
        summary = f"stopped after {limit:.0f} s, at: {summary}"
    num_passed = sum(int(number) for number in re.findall(r"(\d+) passed", summary))
    if code == _NONE_RAN or (code == 0 and not num_passed):
        summary = summary if summary.startswith("no tests ran") else f"no tests ran: {summary}"
    failed = re.findall(r"^(?:FAILED|ERROR) .*", said, re.MULTILINE)
    if was_stopped:  # before it came to list them
        failed = re.findall(r"^\S+ (?:FAILED|ERROR)", said, re.MULTILINE)
    met = code == 0 and num_passed > 0 and not was_stopped
    return {"met": met, "summary": summary, "failed": failed, "said": "" if met else said[-_SHOWN:]}


def line(figures: Figures) -> str:
    return "\n".join([str(figures["summary"]), *figures["failed"]])


def text(all_figures: Sequence[Figures]) -> str:
    lines = []
    for figures in all_figures:
        lines.append(f"Tests marked gpu: {figures['summary']}.")
        lines += ["", *(f"- `{one}`" for one in figures["failed"]), ""] if figures["failed"] else []
    return "\n".join(lines)


PART = Part(name="tests", steps=steps, line=line, text=text)
