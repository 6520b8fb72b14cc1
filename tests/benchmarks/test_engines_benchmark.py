"""The benchmark of engines: what several calls measured becomes one table."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import save_safetensors

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "engines.py"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def call(monkeypatch, tmp_path):
    """The script, called with these arguments."""
    spec = importlib.util.spec_from_file_location("benchmark_of_engines", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["engines.py", *map(str, arguments)])
        script.main()

    return main


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_calls_add_up_to_one_table(call, tmp_path, capsys):
    torch.manual_seed(0)
    tiny, kept, page = tmp_path / "tiny.safetensors", tmp_path / "a.json", tmp_path / "page.md"
    save_safetensors(SRVGGNetCompact(scale=4, num_features=8, num_convs=1).eval(), tiny)
    page.write_text("# Title\n<!-- begin engines -->\nold\n<!-- end engines -->\n")
    call("--models", tiny, "--sizes", "32x24,17x15", "--rounds", 3, "--json", kept)
    call("--models", tiny, "--sizes", "48x32", "--rounds", 2, "--json", kept)
    capsys.readouterr()
    call("--rounds", 0, "--json", kept, "--write", page)
    text = page.read_text()
    assert capsys.readouterr().out.strip() in text
    results = json.loads(kept.read_text())
    assert list(results) == [f"tiny.safetensors, {size}" for size in ("32x24", "17x15", "48x32")]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1, "aligned"
    shown = {(row[0], row[1]): row for row in map(cells, lines[2:])}
    assert set(shown) == {(name, engine) for name, result in results.items() for engine in result["engines"]}
    for (name, engine), row in shown.items():
        found = results[name]["engines"][engine]
        assert len(found["seconds"]) == results[name]["num_rounds"]
        assert row[5] == ("equal" if found["psnr_db"] is None else f"{found['psnr_db']:.1f} dB")
        assert found["psnr_db"] is None or found["psnr_db"] > 100
    assert "Rounds: 2 for tiny.safetensors, 48x32; 3 for tiny.safetensors, 32x24 and tiny.safetensors, 17x15." in text


def test_ratios_are_taken_within_a_round(call, tmp_path, capsys):
    engines = {
        "winograd": {"seconds": [1.0, 2.0, 4.0], "psnr_db": 120.0, "max_levels": 0.01},
        "torch": {"seconds": [2.0, 2.0, 12.0], "psnr_db": None, "max_levels": 0.0},
    }
    machine = {"device": "cpu x", "torch": "2", "vidsr": "0"}
    result = {"machine": machine, "num_rounds": 3, "gflop": 10.0, "peak_gflops": 50.4, "engines": engines}
    (tmp_path / "a.json").write_text(json.dumps({"net, 8x8": result, "net, 9x9": {**result, "peak_gflops": 61.0}}))
    call("--rounds", 0, "--json", tmp_path / "a.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cpu x; torch 2, vidsr 0."
    assert cells(lines[4]) == ["net, 8x8", "winograd", "2.00 (1.00 to 4.00)", "5", "-", "120.0 dB", "0.0100"]
    assert cells(lines[5])[2:] == ["2.00 (2.00 to 12.0)", "5", "2.00 (1.00 to 3.00)", "equal", "0.0000"]
    assert lines[-2] == "The most that PyTorch was seen to multiply meanwhile: 50 to 61 GFLOP/s."
    assert lines[-1] == "Rounds: 3 for net, 8x8 and net, 9x9."
