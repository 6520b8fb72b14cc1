"""The report: written anew after every step, so that what ends the call early takes nothing of it; and as tables."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gpu_parts import profiles
from gpu_parts.steps import Figures, Part, shortfalls
from vidsr import __version__
from vidsr.devices.granted import num_processors
from vidsr.devices.names import device_name
from vidsr.files import appearing

NOTHING = "Nothing has been measured yet."
_TITLES = {
    "tests": "Tests",
    "ceilings": "Ceilings",
    "gate": "Half precision against fp32 on the CPU",
    "layers": "Convolutions alone",
    "network": "Networks alone",
    "compiled": "Networks alone, compiled for one shape",
    "dense-block": "Own kernels for dense blocks",
    "runs": "Whole runs",
    "profile": "Where the device's time goes",
}


class Report:
    """What was measured so far, kept in `report.json` and `report.md` of a folder."""

    def __init__(self, folder: Path, parts: Sequence[Part], machine: Mapping[str, Any], asked: Sequence[str]) -> None:
        self.values: Figures = {"machine": dict(machine), "asked": list(asked), "is_complete": False, "parts": {}}
        self._folder, self._parts = folder, parts
        self._began = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, part: str, step: str) -> None:
        """Write down what comes next, so that it is known should it never end."""
        self.values["now"] = f"{part}, {step}"
        self._write()

    def add(self, part: str, outcome: Figures) -> None:
        self.values["parts"].setdefault(part, []).append(outcome)
        self._write()

    def complete(self) -> list[str]:
        """Say that nothing more comes; what is not met, a line each."""
        self.values["is_complete"] = True
        self.values.pop("now", None)
        self._write()
        return shortfalls(self.values["parts"])

    def _write(self) -> None:
        self.values["seconds"] = round(time.monotonic() - self._began, 1)
        for name, text in (
            # A number that is none would be no JSON.
            ("report.json", json.dumps(self.values, indent=1, allow_nan=False) + "\n"),
            ("report.md", page(self.values, self._parts)),
        ):
            with appearing(self._folder / name) as part:
                part.write_text(text, encoding="utf-8")


def machine_of(device: torch.device) -> dict[str, Any]:
    """What a figure depends on."""
    on_cuda = device.type == "cuda"
    return {
        "device": device_name(device),
        "gpus": torch.cuda.device_count() if on_cuda else 0,
        "gpu_mib": torch.cuda.get_device_properties(device).total_memory // 2**20 if on_cuda else None,
        "processors": num_processors(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": _driver() if on_cuda else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "vidsr": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _driver() -> str | None:
    """The version of NVIDIA's driver; None where it does not tell."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said[0] if said else None


def machine_text(machine: Mapping[str, Any]) -> str:
    """The card, what it ran with, and when: one line."""
    words = ("torch", "CUDA", "cuDNN", "driver", "Python", "vidsr")
    found = [f"{word} {machine[word.lower()]}" for word in words if machine.get(word.lower()) is not None]
    return f"{machine['device']}; {', '.join(found)}; {machine['date']}"


def page(values: Figures, parts: Sequence[Part]) -> str:
    """A whole report as Markdown."""
    missing = shortfalls(values["parts"])
    lines = [f"# {machine_text(values['machine'])}", "", f"{values['seconds']:.0f} s."]
    if not values["is_complete"]:
        lines += ["", f"NOT COMPLETE: ended or still at work at {values.get('now', 'the start')}."]
    lines += (
        ["", "Not met:", "", *(f"- {one}" for one in missing)] if missing else ["", "All that was asked for is met."]
    )
    lines += ["", tables(values, parts)]
    profiled = _figures_of(values, "profile")
    if profiled:
        lines += ["", profiles.longest_text(profiled)]
    for name, outcomes in values["parts"].items():
        for one in outcomes:
            if one["state"] == "failed":
                lines += ["", f"{name}, {one['name']}:", "", "```", *one["trace"], "```"]
    return "\n".join(lines) + "\n"


def tables(values: Figures, parts: Sequence[Part]) -> str:
    """What the parts have found, each under its title, with what is missing and why."""
    sections = []
    for part in parts:
        outcomes = values["parts"].get(part.name)
        if outcomes is None:
            continue
        found = _figures_of(values, part.name)
        reasons = [f"- {o['name']}: {o['state']}: {o['why'].splitlines()[0]}" for o in outcomes if o["state"] != "done"]
        pieces = [f"**{_TITLES[part.name]}**", *([part.text(found)] if found else []), "\n".join(reasons)]
        sections.append("\n\n".join(piece for piece in pieces if piece))
    return "\n\n".join(sections)


def _figures_of(values: Figures, part: str) -> list[Figures]:
    return [outcome["figures"] for outcome in values["parts"].get(part, []) if outcome["state"] == "done"]


def pages_text(reports: Sequence[Figures], parts: Sequence[Part]) -> str:
    """Several reports for a page, each under its machine; without any, that there is none."""
    texts = [f"### {machine_text(values['machine'])}\n\n{tables(values, parts)}" for values in reports]
    return "\n\n".join(texts) or NOTHING
