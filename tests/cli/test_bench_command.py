"""`vidsr bench` from the command line: its tables and files, and what it says when a case fails."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from typer.testing import CliRunner

import vidsr.measure.bench
from vidsr.cli.main import app
from vidsr.errors import VidsrError
from vidsr.measure.figures import Case, Figures
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import save_safetensors


def test_tables_json_plot_and_page_of_a_model_and_the_error_of_another(tmp_path: Path) -> None:
    tiny, page = tmp_path / "tiny.safetensors", tmp_path / "page.md"
    save_safetensors(SRVGGNetCompact(scale=4, num_features=8, num_convs=1).eval(), tiny)
    page.write_text("# Title\n<!-- begin vidsr bench -->\n<!-- end vidsr bench -->\n")
    arguments = ["bench", "--model", f"{tiny},missing.pth", "--size", "64x48", "--seconds", "0.1"]
    arguments += ["--rounds", "1", "--device", "cpu", "--json", str(tmp_path / "a.json")]
    arguments += ["--plot", str(tmp_path / "a.svg"), "--write", str(page)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, "of the missing weights"
    assert "missing.pth" in result.stderr
    assert "2 of 2: " in result.stderr
    cases = json.loads((tmp_path / "a.json").read_text())["cases"]
    assert [case["model"] for case in cases] == ["tiny.safetensors"]
    assert cases[0]["network"]["fps"]["min"] <= cases[0]["network"]["fps"]["max"]
    assert cases[0]["memory"]["peak_bytes"] is None or cases[0]["memory"]["peak_bytes"] > 50 << 20
    rows = [line for line in result.stdout.splitlines() if line.startswith("| tiny.safetensors, 64x48 ")]
    assert len(rows) == 3, "speed, stages, memory"
    text = page.read_text()
    assert text.startswith("# Title\n<!-- begin vidsr bench -->\n")
    assert result.stdout.strip() in text
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_interrupted_it_shows_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_case, cases = vidsr.measure.bench.run_case, []

    def run_one(case: Case) -> Figures | VidsrError:
        cases.append(case)
        if len(cases) == 2:
            raise KeyboardInterrupt
        return run_case(case)

    monkeypatch.setattr(vidsr.measure.bench, "run_case", run_one)
    arguments = ["bench", "--model", "nearest,bicubic,lanczos", "--size", "64x48", "--seconds", "0.1"]
    arguments += ["--rounds", "1", "--device", "cpu", "--json", str(tmp_path / "a.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 130
    assert [case["model"] for case in json.loads((tmp_path / "a.json").read_text())["cases"]] == ["nearest"]
    assert "| nearest, 64x48 " in result.stdout
    assert len(cases) == 2


@pytest.mark.parametrize("command", ["bench", "tune"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_a_time_is_a_number(command: str, seconds: str) -> None:
    result = CliRunner().invoke(app, [command, "--seconds", seconds])
    assert result.exit_code == 2
    assert "--seconds" in result.stderr


def test_only_svg_is_drawn(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "--plot", str(tmp_path / "a.png")])
    assert result.exit_code == 2
    assert ".svg" in result.stderr
