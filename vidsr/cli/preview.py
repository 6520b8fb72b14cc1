"""`vidsr preview`: a before/after sheet of a few frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli import arguments as arg
from vidsr.cli.exits import exits
from vidsr.cli.progress import make_drawer
from vidsr.errors import TargetExistsError
from vidsr.options.upscale import UpscaleOptions


@exits
def command(
    source: Annotated[Path, typer.Argument(help="A video file, or an image sequence.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG to write; unset: clip_preview.png", show_default=False),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", "-n", min=1, max=50, help="How many frames to show.")] = 3,
    scale: arg.Scale = None,
    size: arg.Size = None,
    height: arg.Height = None,
    model: arg.Model = None,
    recipe: arg.Recipe = None,
    fit: arg.Fit = None,
    denoise: arg.Denoise = None,
    blend: arg.Blend = None,
    device: arg.Device = None,
    precision: arg.Precision = None,
    engine: arg.Engine = None,
    tile: arg.Tile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sheet if it exists.")] = False,
) -> None:
    """Compare plain enlargement (left) with the model (right) on one sheet, before a long run."""
    given = {name: value for name, value in locals().items() if name in UpscaleOptions.__dataclass_fields__}
    options = arg.build_options(recipe, given)
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
