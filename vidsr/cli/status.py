"""`vidsr status`: what of an interrupted run is done, and what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.exits import exits
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
        print(json.dumps(_facts(folder, progress)))
        return
    for name, value in _facts(folder, progress).items():
        print(f"{name.replace('_', ' '):<18} {value}")


def _facts(folder: Path, progress: Progress) -> dict[str, object]:
    rate = progress.frames_per_second
    left = progress.num_frames - progress.num_frames_done
    return {
        "work_folder": str(folder),
        "segments": f"{progress.num_segments_done} of {progress.num_segments}",
        "frames": f"{progress.num_frames_done} of {progress.num_frames}",
        "bytes_done": progress.num_bytes_done,
        "frames_per_second": None if rate is None else round(rate, 3),
        "seconds_left": None if rate is None else round(left / rate, 1),
    }
