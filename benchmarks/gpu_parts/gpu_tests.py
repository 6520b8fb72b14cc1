"""The tests that need a GPU, in a process of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_parts.bench import Bench
from gpu_parts.cases import ROOT
from gpu_parts.steps import Figures, LeftOut, Part, Step

_NEEDS_SECONDS = 30.0
_MOST_SHARE = 0.4  # of the time that is left
_NONE_RAN = 5  # pytest's exit code
_SHOWN = 3000  # characters of what was said


def steps(bench: Bench) -> Iterator[Step]:
    folders = (ROOT / "tests" / "gpu", ROOT / "tests" / "contracts")
    yield Step(name="gpu", needs_seconds=_NEEDS_SECONDS, measure=lambda: measure(bench, *folders))


def measure(bench: Bench, *folders: Path) -> Figures:
    if bench.is_tiny:
        raise LeftOut("not with --tiny")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-m", "gpu and not slow", *map(str, folders)]
    limit = max(_MOST_SHARE * bench.seconds_left, _NEEDS_SECONDS)
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        # Bytes even where text was asked for.
        said = (error.stdout or b"").decode(errors="replace") if not isinstance(error.stdout, str) else error.stdout
        return {"met": False, "summary": f"stopped after {limit:.0f} s", "said": said[-_SHOWN:]}
    said = done.stdout.strip()
    summary = said.splitlines()[-1].strip("= ") if said else "nothing was said"
    num_passed = sum(int(number) for number in re.findall(r"(\d+) passed", summary))
    if done.returncode == _NONE_RAN or (done.returncode == 0 and not num_passed):
        summary = summary if summary.startswith("no tests ran") else f"no tests ran: {summary}"
    return {"met": done.returncode == 0 and num_passed > 0, "summary": summary, "said": said[-_SHOWN:]}


def line(figures: Figures) -> str:
    return str(figures["summary"])


def text(all_figures: Sequence[Figures]) -> str:
    return "\n".join(f"Tests marked gpu: {figures['summary']}." for figures in all_figures)


PART = Part(name="tests", steps=steps, line=line, text=text)
