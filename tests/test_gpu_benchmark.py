"""The script that measures on a GPU goes its whole way on the CPU, and says so where there is no GPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmark_on_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    module.STRETCH_SECONDS = 0.02
    return module


def test_without_a_gpu_it_says_so(script, monkeypatch, capsys, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr("sys.argv", ["gpu.py", "--out", str(tmp_path / "report")])
    assert script.main() == 75
    assert "no GPU" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


@pytest.mark.usefixtures("one_thread")
def test_the_whole_way_with_a_tiny_network(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["gpu.py", "--out", str(tmp_path), "--device", "cpu", "--tiny"])
    assert script.main() == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = report["speed"]
    assert row["network_only_fps"]["min"] <= row["network_only_fps"]["median"] <= row["network_only_fps"]["max"]
    assert row["end_to_end"]["frames"] == 12 and row["end_to_end"]["recomputed"] == 0
    assert row["of_network_only"] == pytest.approx(row["end_to_end"]["fps"] / row["network_only_fps"]["median"])
    assert sum(kernel["share"] for kernel in row["profile"]) <= 1.001
    assert any("conv" in kernel["name"] for kernel in row["profile"])
    text = (tmp_path / "report.md").read_text()
    assert "| tiny fp32 | torch | 64x48 | 1 |" in text
    assert f"Multiplies at most {report['peak']['tflops']:.1f} TFLOP/s" in text
    assert text in capsys.readouterr().out


def test_goals_are_40_percent_of_the_peak(script):
    for case in script.CASES:
        flops = case.make().flops_per_input_pixel * case.size[0] * case.size[1]
        assert case.goal_fps * flops == pytest.approx(0.4 * 989e12, rel=0.02)


def test_what_misses_a_goal_is_told(script, monkeypatch, tmp_path):
    fast = script.Case(**{**vars(script.TINY_CASES[0]), "goal_fps": 1e9, "num_frames": 4})
    monkeypatch.setattr(script, "profile", lambda *args: [])
    assert not script.speed(fast, torch.device("cpu"), tmp_path, "torch")["passed"]


@pytest.mark.parametrize(
    ("passing", "verdict"), [((), False), (("cuda-graphs",), True), (("torch", "cuda-graphs"), True)]
)
def test_one_engine_that_is_fast_enough_will_do(script, monkeypatch, passing, verdict):
    def speed(case, device, folder, engine):
        return {"case": case.name, "engine": engine, "passed": engine in passing}

    monkeypatch.setattr(script, "speed", speed)
    monkeypatch.setattr(script, "engines_on", lambda device, network: ["torch", "cuda-graphs"])
    report = script.measure_all(torch.device("cpu"), tiny=True)
    assert [row["engine"] for row in report["speed"]] == ["torch", "cuda-graphs"]
    assert report["passed"] is verdict
