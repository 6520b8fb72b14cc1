"""The benchmark of encoders: every way of sharing the work is written, compared and shown."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_clip_becomes_a_table(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("benchmark_of_encoders", ROOT / "benchmarks" / "encoders.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)  # where its dataclass looks for annotations
    spec.loader.exec_module(script)
    given = ("--encoders", "libx264,ffv1", "--size", "64x256", "--frames", "3")
    monkeypatch.setattr(sys, "argv", ["encoders.py", str(ROOT / "examples" / "clip.mp4"), *given])
    script.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert [row[:2] for row in rows[2:]] == [["libx264", "2"], ["libx264", "16"], ["ffv1", "2"], ["ffv1", "16"]]
    for row in rows[2:]:
        cells = [cell.split(", ") for cell in row[2:]]
        assert all(cell[1] == "equal" if row[0] == "ffv1" else cell[1].endswith(" dB") for cell in cells)
        slices, frames, both = (cell[0] for cell in cells)
        assert frames == both and (slices != both) == (row[0] == "libx264")
    assert lines[-1].startswith("The same file with any of these numbers of threads (frame+slice): ffv1")
