"""Command-line options that several commands share, each with the meaning that `UpscaleOptions` gives it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vidsr.options.recipes import load_recipe
from vidsr.options.upscale import UpscaleOptions, meaning

_SIZES = ("scale", "size", "height")
_ENCODING = ("crf", "preset", "encoder_options", "pix_fmt")


def _option(name: str, *flags: str) -> Any:
    flag = "--" + name.replace("_", "-")
    return typer.Option(flag, *flags, help=meaning(name), show_default=False)


Scale = Annotated[str | None, _option("scale", "-s")]
Size = Annotated[str | None, _option("size")]
Height = Annotated[int | None, _option("height")]
Model = Annotated[str | None, _option("model", "-m")]
Fit = Annotated[str | None, _option("fit")]
Denoise = Annotated[float | None, _option("denoise")]
Blend = Annotated[float | None, _option("blend")]
Device = Annotated[str | None, _option("device")]
Precision = Annotated[str | None, _option("precision")]
Engine = Annotated[str | None, _option("engine")]
Tile = Annotated[int | None, _option("tile")]
Batch = Annotated[int | None, _option("batch")]
Threads = Annotated[int | None, _option("threads")]
Codec = Annotated[str | None, _option("codec")]
Crf = Annotated[float | None, _option("crf")]
Preset = Annotated[str | None, _option("preset")]
EncoderOptions = Annotated[
    list[str] | None,
    typer.Option("--encoder-option", help=meaning("encoder_options") + "; may be repeated", show_default=False),
]
PixFmt = Annotated[str | None, _option("pix_fmt")]
Rate = Annotated[str | None, _option("rate")]
Deinterlace = Annotated[str | None, _option("deinterlace")]
Detelecine = Annotated[
    bool | None, typer.Option("--detelecine/--no-detelecine", help=meaning("detelecine"), show_default=False)
]
OnDecodeError = Annotated[str | None, _option("on_decode_error")]
Start = Annotated[str | None, _option("start")]
Stop = Annotated[str | None, _option("stop")]
Matrix = Annotated[str | None, _option("matrix")]
Rotation = Annotated[str | None, _option("rotation")]
Alpha = Annotated[str | None, _option("alpha")]
Container = Annotated[str | None, _option("container")]
Strict = Annotated[bool | None, typer.Option("--strict/--no-strict", help=meaning("strict"), show_default=False)]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        help="anime, film, phone, vhs or a .toml file; other options overrule it",
        show_default=False,
    ),
]


def finite(seconds: float) -> float:
    """Refuse "nan" and "inf", which are floats too."""
    if not math.isfinite(seconds):
        raise typer.BadParameter("it must be a number of seconds")
    return seconds


def build_options(recipe: str | None, given: Mapping[str, object]) -> UpscaleOptions:
    """The recipe's options, overruled by those given on the command line (None: not given)."""
    on_command_line = {key: value for key, value in given.items() if value not in (None, [])}
    merged: dict[str, object] = {}
    if recipe is not None:
        merged = dict(load_recipe(recipe).options)
        if any(size in on_command_line for size in _SIZES):
            merged = {key: value for key, value in merged.items() if key not in _SIZES}
        if "codec" in on_command_line:
            # Quality, speed and format were meant for the recipe's own encoder.
            merged = {key: value for key, value in merged.items() if key not in _ENCODING}
    return UpscaleOptions.from_mapping({**merged, **on_command_line}, origin="command line")
