"""`vidsr bench` from the command line: its tables and files, and what it says when a case fails."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from typer.testing import CliRunner

from vidsr.cli.main import app
from vidsr.models.compact import SRVGGNetCompact
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


def test_only_svg_is_drawn(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "--plot", str(tmp_path / "a.png")])
    assert result.exit_code == 2
    assert ".svg" in result.stderr
