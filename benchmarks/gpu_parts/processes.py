"""Work in a process of its own: it can be stopped in time, and what it does to the GPU ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parents[1]
_SHOWN = 1500  # characters of what a process that failed has said


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a process gave."""

    lines: list[Any]  # of JSON, as values
    was_stopped: bool  # as it took too long


def python(arguments: Sequence[str], limit_seconds: float) -> Said:
    """Run Python from the folder of the benchmarks; each line that it prints and that begins as JSON is a value.

    Raises:
        RuntimeError: it failed; the message is the end of what it said.
    """
    paths = os.pathsep.join([str(_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # compilers are processes of its own, which must end with it
    ) as process:
        was_stopped = False
        try:
            said, errors = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            was_stopped = True
            _kill(process)
            said, errors = process.communicate()
        except BaseException:
            _kill(process)
            raise
    if process.returncode != 0 and not was_stopped:
        raise RuntimeError(f"exit code {process.returncode}: {errors.strip()[-_SHOWN:]}")
    return Said(lines=list(_values(said)), was_stopped=was_stopped)


def _kill(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


def _values(said: str) -> list[Any]:
    """Of the whole lines: the last may have been cut off."""
    whole = said[: said.rfind("\n") + 1].splitlines()
    return [json.loads(line) for line in whole if line.startswith(("{", "["))]
