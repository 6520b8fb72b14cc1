"""Recipes: options by purpose (anime, film, phone, vhs), as TOML files that come with the package.

name = "film"
purpose = "one line: what it is for"
notes = "why these settings"

[options]               # fields of `vidsr.options.upscale.UpscaleOptions`
model = "RealESRGAN_x4plus"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import get_args, get_type_hints

from vidsr.errors import UsageError
from vidsr.options.upscale import UpscaleOptions

_TEXTS = ("name", "purpose", "notes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Options for a purpose; they are known to be valid."""

    name: str
    purpose: str  # one line: what it is for
    notes: str  # why these settings
    options: dict[str, object]  # for `UpscaleOptions.from_mapping`, alone or with a user's own over them


def list_recipes() -> list[Recipe]:
    """The packaged recipes by name.

    Raises:
        UsageError: one of the files is damaged, or they are missing.
    """
    return [_parse(path.read_text("utf-8"), path.name) for path in sorted(_packaged_files())]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A packaged recipe by name, or any recipe by the path of its `.toml` file.

    Raises:
        UsageError: no such recipe or file, or a file that is no recipe: the message names the file and the key.
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
        try:
            return _parse(path.read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: no recipe can be read there ({_reason(error)})") from error
    files = {path.stem: path for path in _packaged_files()}
    if name_or_path not in files:
        raise UsageError(
            f"there is no recipe called {name_or_path!r}; known are {', '.join(sorted(files))}, "
            "or give the path of a .toml file"
        )
    path = files[name_or_path]
    return _parse(path.read_text("utf-8"), path.name)


def _packaged_files() -> Iterator[Path]:
    package = resources.files("vidsr")
    assert isinstance(package, Path)  # vidsr is installed as files: its dependencies cannot run from a zip either
    # In a checkout the recipes lie beside the package, where people look for them.
    for folder in (package / "pipelines_data", package.parent / "pipelines"):
        if folder.is_dir():
            return folder.glob("*.toml")
    raise UsageError(f"the recipes that belong into {package / 'pipelines_data'} are missing; install vidsr again")


def _parse(text: str, origin: str) -> Recipe:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: is not TOML ({error})") from error
    known = (*_TEXTS, "options")
    for key in table:
        if key not in known:
            hint = "; options belong into [options]" if key in UpscaleOptions.__dataclass_fields__ else ""
            raise UsageError(f"{origin}: unknown key {key!r}; known are {', '.join(known)}{hint}")
    for key in _TEXTS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            found = repr(table[key]) if key in table else "missing"
            raise UsageError(f"{origin}: {key} is {found}; it must be a text that says something")
    options = table.get("options")
    if not isinstance(options, dict):
        raise UsageError(f"{origin}: options is {options!r}; it must be a table, [options]")
    _check(options, origin)
    return Recipe(
        name=table["name"].strip(), purpose=table["purpose"].strip(), notes=table["notes"].strip(), options=options
    )


def _check(options: dict[str, object], origin: str) -> None:
    """Raise what `UpscaleOptions` finds wrong, and values of a kind that it would turn into another without asking."""
    try:
        UpscaleOptions.from_mapping(options, origin)
    except UsageError as error:
        named = str(error).startswith(origin)
        raise UsageError(str(error) if named else f"{origin}: {error}") from None
    hints = get_type_hints(UpscaleOptions)
    for key, value in options.items():
        kinds = get_args(hints[key]) or (hints[key],)
        is_choice = all(isinstance(kind, str) for kind in kinds)  # the words of a Literal
        if (str in kinds or is_choice) and not isinstance(value, str):
            raise UsageError(f"{origin}: {key} is {value!r}; it must be a text, in quotes")
        if not (type(value) in (str, int, float) or bool in kinds or (key == "size" and isinstance(value, list))):
            raise UsageError(f"{origin}: {key} is {value!r}; it must be a text or a number")


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
