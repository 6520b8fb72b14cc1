"""Options on command lines: each flag, its type and its help text made from what `UpscaleOptions` says of it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from vidsr.options.recipes import load_recipe
from vidsr.options.upscale import SPECS, UpscaleOptions

# Where a recipe's value for one of them would be at odds with what the command line says of another.
_SIZES = ("scale", "size", "height")
_ENCODING = ("crf", "preset", "encoder_options", "pix_fmt")
_TYPES: dict[str, Any] = {
    "text": str | None,
    "whole": int | None,
    "number": float | None,
    "switch": bool | None,
    "pairs": list[str] | None,
}
_RECIPE = typer.Option(
    "--recipe", "-r", help="anime, film, phone, vhs or a .toml file; other options overrule it", show_default=False
)


def flag_of(name: str) -> Any:
    """An option as typer takes it: the annotation of a parameter whose default is None."""
    spec = SPECS[name]
    flag = spec.flag or "--" + name.replace("_", "-")
    if spec.kind == "switch":
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    flags = [flag] if spec.short is None else [flag, spec.short]
    more = "; may be repeated" if spec.kind == "pairs" else ""
    return Annotated[_TYPES[spec.kind], typer.Option(*flags, help=spec.meaning + more, show_default=False)]


def takes_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command these options (unnamed: all) and a recipe, in place of its own parameter `options`.

    The command gets them as `UpscaleOptions`: the recipe's, overruled by those that were given.
    """
    listed = names or tuple(SPECS)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            recipe = values.pop("recipe")
            given = {name: values.pop(name) for name in listed}
            command(options=build_options(recipe, given), **values)

        made = [_parameter(name, flag_of(name)) for name in listed]
        made.insert(listed.index("model") + 1, _parameter("recipe", Annotated[str | None, _RECIPE]))
        own = inspect.signature(command, eval_str=True).parameters
        parameters = [p for name, one in own.items() for p in (made if name == "options" else [one])]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in parameters}
        del with_options.__wrapped__
        return with_options

    return decorate


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


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
