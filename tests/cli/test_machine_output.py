"""JSON for programs: its version, its plain values, and keys that are those of the page about it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from tiny_network import write_checkpoint
from typer.testing import CliRunner

from vidsr.cli.machine_output import SCHEMA, json_line
from vidsr.cli.main import app
from vidsr.cli.progress import JsonLines
from vidsr.events import Downloading, Notice, Progress
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "examples" / "clip.mp4"
PAGE = (ROOT / "docs" / "json.md").read_text("utf-8")


def documented(heading):
    """The keys of each row of a table, by its first name."""
    table = PAGE.partition(heading)[2].partition("\n\n|")[2].partition("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines()[2:]]
    listed = {}
    for first, *others in ([cell.strip() for cell in row if cell.strip()] for row in rows):
        keys = re.sub(r"\([^)]*\)", "", others[-1])
        listed[re.match(r"`(\w+)`", first)[1]] = set(re.findall(r"`(\w+)`", keys))
    return listed


EVENTS, OBJECTS, ENTRIES = (documented(h) for h in ("## Events", "## Objects", "The entries of their lists"))


def said(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return [json.loads(line) for line in result.stdout.splitlines()]


def check(one, tables=OBJECTS, name="kind"):
    assert one["schema"] == SCHEMA
    assert set(one) - {"schema", name} == tables[one[name]], one[name]
    for key, value in one.items():
        entries = value if isinstance(value, list) else [value]
        if key in ENTRIES and one.get("kind") != key and isinstance(entries[0], dict):
            assert all(set(entry) == ENTRIES[key] for entry in entries), key


def test_the_page_says_the_version():
    assert f'"schema": {SCHEMA}' in PAGE


@dataclass
class Record:
    path: Path
    rate: Fraction


def test_values_are_plain():
    line = json_line({"a": Record(Path("x y"), Fraction(30000, 1001)), "b": frozenset({"z", "y"}), "c": (1, None)})
    record = {"path": "x y", "rate": "30000/1001"}
    assert json.loads(line) == {"schema": SCHEMA, "a": record, "b": ["y", "z"], "c": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line({"x": float("nan")})


def test_events_have_their_keys(tmp_path, capsys):
    drawer = JsonLines()
    for event in (Notice(text="x"), Downloading(name="x", num_bytes_done=1, num_bytes_total=2)):
        drawer(event)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    common = ("upscale", CLIP, "-o", tmp_path / "out.mp4", "--model", "nearest", "--json", "--stop", "2f")
    events += [*said(*common, "--dry-run"), *said(*common), *said(*common)]
    assert {event["event"] for event in events} == set(EVENTS)
    for event in events:
        check(event, EVENTS, "event")


@pytest.mark.usefixtures("short_segments")
def test_objects_have_their_keys(tmp_path):
    checkpoint = write_checkpoint(tmp_path)
    objects = [
        *said("probe", CLIP, "--json"),
        *said("doctor", "--json"),
        *said("models", "list", "--json"),
        *said("verify", CLIP, CLIP, "--quick", "--json"),
        *said("tune", "--model", checkpoint, "--device", "cpu", "--seconds", "0", "--json"),
        *said(*status_of_an_unfinished_run(tmp_path)),
    ]
    kept = tmp_path / "bench.json"
    how = ["--model", "nearest", "--size", "32x24", "--seconds", "0.01", "--rounds", "1", "--json", str(kept)]
    assert CliRunner().invoke(app, ["bench", *how]).exit_code == 0
    objects.append(json.loads(kept.read_text()))
    assert {one["kind"] for one in objects} == set(OBJECTS)
    for one in objects:
        check(one)
    (models,) = (one["models"] for one in objects if one["kind"] == "models")
    assert all(set(entry) == ENTRIES["models"] for entry in models)


def status_of_an_unfinished_run(folder):
    def stop(event):
        if isinstance(event, Progress) and event.num_frames_done >= 20:
            raise KeyboardInterrupt

    target = folder / "half.mp4"
    run = Run(prepare(CLIP, target, UpscaleOptions(model="nearest", device="cpu")), stop)
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    return ("status", target, "--json")
