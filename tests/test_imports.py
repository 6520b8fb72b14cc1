"""Imports go down the ladder of rooms and never up, and each library has the rooms where it may be used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "vidsr"

# From the ground up: each room may import those of the rows above its own, and of its own row only itself.
LADDER = [
    {"errors", "frames", "files", "version"},
    {"events", "options", "cache"},
    {"pipeline"},
    {"devices"},
    {"pixels"},
    {"media"},
    {"models"},
    {"engines"},
    {"judge"},
    {"inference"},
    {"run"},
    {"measure", "report"},
    {"cli"},
    {"__main__"},
]
# Rooms of one row that build on each other, in this direction only.
WITHIN_A_ROW = {("frames", "errors"), ("files", "errors")}
# Each folder of models/ is one: what is beside them, and above, knows networks by the table and by their graphs.
FAMILIES = tuple(f"models.{path.parent.name}" for path in sorted(ROOT.glob("models/*/__init__.py")))
# What lies in the first imports nothing of the others, whatever the ladder says.
APART = [
    ("media.survey", ("media.read", "media.write")),  # a second opinion that shared their code would share their faults
    ("media.read", ("media.write",)),
    ("judge", ("media.read", "media.write")),
    *((room, (*FAMILIES, "models.foreign")) for room in ("engines", "inference", "run", "measure", "report", "cli")),
    ("models.loading", FAMILIES),
    ("models.ncnn_files", FAMILIES),
    ("models.graph", FAMILIES),
    ("pipeline", ("options",)),  # threads, segments and a journal, whatever is asked for
]

ROOMS_OF_LIBRARY = {
    "av": {"media"},
    "decord": {"media"},
    "PIL": {"media"},
    "typer": {"cli"},
    "tqdm": {"cli"},
}
WITHOUT_TORCH = {"errors", "options", "frames", "events", "files", "cache", "media", "pipeline", "judge"}


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
    return other == room or (room, other) in WITHIN_A_ROW or row_of(other) < row_of(room)


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


@pytest.mark.parametrize(("room", "others"), APART, ids=[room for room, _ in APART])
def test_what_is_to_stay_apart_does(room, others):
    sources = [path for path in ROOM_SOURCES if is_in(dotted(path), f"vidsr.{room}")]
    assert sources
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}: {name}"
        for path in sources
        for line, name in imports(path)
        if any(is_in(name, f"vidsr.{other}") for other in others)
    ]
    assert wrong == []


def dotted(path):
    return ".".join(["vidsr", *path.relative_to(ROOT).with_suffix("").parts])


def is_in(name, place):
    return name == place or name.startswith(f"{place}.")


def test_no_module_imports_itself_by_way_of_others():
    modules = {dotted(path): path for path in ROOM_SOURCES}
    needs = {
        module: {
            other
            for _, name in imports(path)
            for other in (name, name.rpartition(".")[0])
            if other in modules and other != module
        }
        for module, path in modules.items()
    }
    while leaves := [module for module, needed in needs.items() if not needed & needs.keys()]:
        for module in leaves:
            del needs[module]
    assert sorted(needs) == []


def test_the_front_door_imports_no_command_line():
    names = {imported_room(name) for _, name in imports(ROOT / "__init__.py")}
    assert "cli" not in names
    assert names >= {"options", "inference", "run"}


@pytest.mark.parametrize(
    ("room", "other", "allowed"),
    [
        ("cli", "errors", True),
        ("errors", "cli", False),
        ("media", "models", False),
        ("models", "media", True),
        ("engines", "models", True),
        ("pipeline", "media", False),
        ("pipeline", "frames", True),
        ("run", "pipeline", True),
        ("run", "report", False),
        ("report", "measure", False),
        ("frames", "errors", True),
        ("errors", "frames", False),
        ("frames", "options", False),
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
