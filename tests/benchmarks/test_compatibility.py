"""The command that runs a folder of real files: a few of them, and what it says when one is not right."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "compatibility.py"


@pytest.fixture
def compatibility(monkeypatch):
    spec = importlib.util.spec_from_file_location("compatibility", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "compatibility", module)
    spec.loader.exec_module(module)
    return module


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compatibility.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code


@pytest.mark.usefixtures("one_thread")
def test_the_page(compatibility, shared_media, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    only = ["12_single_frame", "02_vfr_select_pattern", "12_empty.mp4"]
    assert run(compatibility, monkeypatch, "--media", shared_media, "--write", page, "--only", *only) == 0
    text = page.read_text(encoding="utf-8")
    assert "6 of 6 cases are right" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == 6
    vfr, empty, single = rows[:3]
    assert "| .mkv 2x | 26 | 0 ms | 0 ms | 1 of 1 | passed, nothing lost | F V R |" in vfr
    assert "refused: the file is empty (0 bytes)" in empty
    assert "| 1 | 0 ms |" in single
    assert str(shared_media) not in text and str(tmp_path) not in text


@pytest.mark.usefixtures("one_thread")
def test_a_file_that_is_not_as_the_index_says_fails(compatibility, shared_media, monkeypatch):
    entries = compatibility.json.loads((shared_media / "INDEX.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in entries if entry["file"] == "12_single_frame.mp4")
    assert compatibility.run(shared_media, entry, "nearest").is_right
    entry["video0"]["frames_decoded"] = 2
    row = compatibility.run(shared_media, entry, "nearest")
    assert not row.is_right
    assert compatibility.outcome(row) == "**FAILED**: 1 frames; the index has 2"
    readable = dict(entry, video0=None)
    assert "something came out" in compatibility.outcome(compatibility.run(shared_media, readable, "nearest"))
