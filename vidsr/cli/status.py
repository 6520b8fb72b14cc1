"""`vidsr status`: what of an interrupted run is done, and what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.exits import exits
from vidsr.cli.machine_output import json_line
from vidsr.errors import SourceMissingError
from vidsr.pipeline.journal import Progress, read_progress
from vidsr.pipeline.plan import work_folder


@exits
def command(
    target: Annotated[Path, typer.Argument(help="The target of a run, or its work folder.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how far a run has come that was interrupted or still goes on."""
    folder = target if target.is_dir() and target.name.startswith(".vidsr-") else work_folder(target)
    progress = read_progress(folder)
    if progress is None:
        state = "is complete" if target.is_file() else "was not begun, or nothing of it is left"
        raise SourceMissingError(f"{target}: no unfinished run there ({folder}); it {state}")
    if as_json:
        print(json_line(_facts(folder, progress)))
        return
    facts = _facts(folder, progress)
    for name, value in (
        ("work folder", folder),
        ("segments", f"{progress.num_segments_done} of {progress.num_segments}"),
        ("frames", f"{progress.num_frames_done} of {progress.num_frames}"),
        ("bytes done", progress.num_bytes_done),
        ("frames per second", facts["frames_per_second"]),
        ("seconds left", facts["seconds_left"]),
    ):
        print(f"{name:<18} {value}")


def _facts(folder: Path, progress: Progress) -> dict[str, object]:
    rate = progress.frames_per_second
    left = progress.num_frames - progress.num_frames_done
    return {
        "kind": "status",
        "work_folder": folder,
        "num_segments_done": progress.num_segments_done,
        "num_segments": progress.num_segments,
        "num_frames_done": progress.num_frames_done,
        "num_frames": progress.num_frames,
        "num_bytes_done": progress.num_bytes_done,
        "frames_per_second": None if rate is None else round(rate, 3),
        "seconds_left": None if rate is None else round(left / rate, 1),
    }
