"""Imports go down the ladder of rooms and never up, and each library has the rooms where it may be used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "vidsr"

# Each room may import those of the rows above its own, and of its own row only itself. The pipeline knows threads and
# queues alone.
LADDER = [
    {"errors", "options", "frames", "events", "fingerprint", "tally", "allowance"},
    {
        *("color", "guard", "light", "resample", "bands", "stencil", "stopwatch", "tiling", "regions", "geometry"),
        *("download", "store", "recipes"),
    },
    {"memo"},
    {"media", "models", "limits"},
    {"engines"},
    {"transfer"},
    {"upscaler"},
    {"pipeline"},
    {"judge"},
    {"worker", "repeats", "target", "verify"},
    {"naming"},
    {"prepare"},
    {"identity", "space"},
    {"segments"},
    {"upscale", "preview"},
    {"measure"},
    {"cli"},
    {"__main__"},
]
# Rooms of one row that build on each other, in this direction only.
WITHIN_A_ROW = {
    ("options", "errors"),
    ("options", "frames"),
    ("color", "resample"),
    ("light", "resample"),
    ("color", "bands"),
    ("resample", "bands"),
    ("color", "stencil"),
    ("resample", "stencil"),
    ("stencil", "bands"),
    ("store", "download"),
}
# From the bottom row only, whatever stands between.
BOTTOM_ONLY = {"pipeline"}
# Every room may ask for the version.
EVERYWHERE = {"__init__"}

ROOMS_OF_LIBRARY = {
    "av": {"media"},
    "decord": {"media"},
    "PIL": {"media"},
    "typer": {"cli"},
    "tqdm": {"cli"},
}
WITHOUT_TORCH = {"errors", "options", "frames", "events", "geometry", "download", "store", "media", "pipeline"}
WITHOUT_TORCH |= {"judge", "verify", "tally"}


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """(line, dotted name) of all imports, in functions as well; relative ones resolved."""
    package = ["vidsr", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def imported_room(name):
    """The room that a dotted name belongs to; None if it is another library's."""
    parts = name.split(".")
    if parts[0] != "vidsr":
        return None
    known = {room_of(path) for path in SOURCES}
    return parts[1] if len(parts) > 1 and parts[1] in known else "__init__"


SOURCES = sorted(ROOT.rglob("*.py"))
ROOM_SOURCES = [path for path in SOURCES if path != ROOT / "__init__.py"]
IDS = [path.relative_to(ROOT).as_posix() for path in ROOM_SOURCES]


def row_of(room):
    return next(index for index, row in enumerate(LADDER) if room in row)


def may_import(room, other):
    if other in EVERYWHERE or other == room or (room, other) in WITHIN_A_ROW:
        return True
    if room in BOTTOM_ONLY:
        return other in LADDER[0]
    return row_of(other) < row_of(room)


def test_every_room_stands_on_the_ladder():
    known = set().union(*LADDER)
    assert {room_of(path) for path in ROOM_SOURCES} <= known
    assert sum(map(len, LADDER)) == len(known)


@pytest.mark.parametrize("path", ROOM_SOURCES, ids=IDS)
def test_imports_go_down(path):
    room = room_of(path)
    wrong = [
        f"line {line}: {name}"
        for line, name in imports(path)
        if (other := imported_room(name)) is not None and not may_import(room, other)
    ]
    assert wrong == [], f"{room} stands on row {row_of(room)} of the ladder"


@pytest.mark.parametrize("path", ROOM_SOURCES, ids=IDS)
def test_libraries_stay_in_their_rooms(path):
    room = room_of(path)
    for line, name in imports(path):
        library = name.split(".")[0]
        assert room in ROOMS_OF_LIBRARY.get(library, {room}), f"line {line}: {name}"
        assert not (library == "torch" and room in WITHOUT_TORCH), f"line {line}: {name}"


def test_the_front_door_imports_no_command_line():
    names = {imported_room(name) for _, name in imports(ROOT / "__init__.py")}
    assert "cli" not in names
    assert names >= {"options", "upscaler", "upscale"}


@pytest.mark.parametrize(
    ("room", "other", "allowed"),
    [
        ("cli", "errors", True),
        ("errors", "cli", False),
        ("media", "models", False),
        ("models", "media", False),
        ("engines", "models", True),
        ("pipeline", "media", False),
        ("pipeline", "frames", True),
        ("worker", "pipeline", True),
        ("color", "resample", True),
        ("resample", "color", False),
        ("frames", "options", False),
        ("upscale", "__init__", True),
    ],
)
def test_the_rule_itself(room, other, allowed):
    assert may_import(room, other) is allowed


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch):
    folder = tmp_path / "vidsr" / "media"
    folder.mkdir(parents=True)
    monkeypatch.setattr("test_imports.ROOT", tmp_path / "vidsr")
    path = folder / "reader.py"
    path.write_text("import a.b\ndef f():\n    from . import c\n    from ..models import d\n    import e as f, g\n")
    assert list(imports(path)) == [(1, "a.b"), (3, "vidsr.media.c"), (4, "vidsr.models.d"), (5, "e"), (5, "g")]
