"""The `vidsr` program: its commands and its global options."""

from __future__ import annotations

from typing import Annotated

import typer

from vidsr.cli import bench, doctor, models, preview, probe, status, tune, upscale, verify
from vidsr.cli.exits import Debug
from vidsr.version import __version__

app = typer.Typer(
    name="vidsr",
    help="Video super-resolution: a clip in, the same clip larger out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("upscale")(upscale.command)
app.command("preview")(preview.command)
app.command("probe")(probe.command)
app.command("status")(status.command)
app.command("verify")(verify.command)
app.command("tune")(tune.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.add_typer(models.app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vidsr {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    Debug.enabled = debug


def main() -> None:
    """Entry point of the `vidsr` script."""
    app()
