"""`vidsr preview`: a before/after sheet of a few frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.arguments import takes_options
from vidsr.cli.exits import exits
from vidsr.cli.progress import make_drawer
from vidsr.errors import TargetExistsError
from vidsr.options.upscale import UpscaleOptions

_OPTIONS = (
    "scale",
    "size",
    "height",
    "model",
    "fit",
    "denoise",
    "blend",
    "device",
    "precision",
    "engine",
    "tile",
    "rate",
    "deinterlace",
    "detelecine",
)


@exits
@takes_options(*_OPTIONS)
def command(
    *,
    source: Annotated[Path, typer.Argument(help="A video file, or an image sequence.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG to write; unset: clip_preview.png", show_default=False),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", "-n", min=1, max=50, help="How many frames to show.")] = 3,
    options: UpscaleOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sheet if it exists.")] = False,
) -> None:
    """Compare plain enlargement (left) with the model (right) on one sheet, before a long run."""
    from vidsr.report.preview import make_preview  # torch takes seconds to import

    named_after = source if source.exists() else source.parent.resolve()  # a pattern is no name for a file
    target = output or named_after.with_name(f"{named_after.stem}_preview.png")
    if target.exists() and not overwrite:
        raise TargetExistsError(f"{target}: is already there; choose another name with -o, or add --overwrite")
    drawer = make_drawer(as_json=False)
    sheet = make_preview(source, target, options, frames, drawer)
    drawer.close()
    times = ", ".join(f"{seconds:.2f} s" for seconds in sheet.seconds)
    print(f"wrote {sheet.path}: left lanczos, right {sheet.model} ({sheet.model_reason}); rows at {times}")
