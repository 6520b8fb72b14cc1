"""Measuring engines: what is chosen by it, what never is, and how it is kept."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import torch
from tiny_network import make_network, write_checkpoint
from typer.testing import CliRunner

import vidsr.engines.choice
import vidsr.engines.table
import vidsr.measure.tune
from vidsr.cli.main import app
from vidsr.engines.choice import choose_engine
from vidsr.engines.measured import Measurement, measured_key, recall_measured, remember_measured
from vidsr.engines.table import ENGINES, EngineRow
from vidsr.engines.torch import TorchEngine
from vidsr.events import Notice, Started
from vidsr.inference.upscaler import Upscaler
from vidsr.measure.tune import thread_counts, tune
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run

CPU = torch.device("cpu")
TORCH = next(row for row in ENGINES if row.name == "torch")
# So far apart that a busy machine, which holds a call back by 50 ms, does not change their order.
REFERENCE_SECONDS, GOOD_SECONDS = 0.15, 0.03


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path)


class Stand:
    """PyTorch's result, changed by some levels, after some seconds."""

    def __init__(self, network, device, precision, *, num_threads=None, levels=0.0, seconds=0.0):
        self._engine = TorchEngine(network, device, precision, num_threads=num_threads)
        self.info = dataclasses.replace(self._engine.info, engine="stand")
        self._levels, self._seconds = levels, seconds

    def as_one_launch(self, work, recordable):
        return work

    def run(self, x):
        time.sleep(self._seconds)
        return self._engine.run(x) + self._levels / 255


def opens(**how):
    return lambda *arguments, num_threads=None: Stand(*arguments, num_threads=num_threads, **how)


def cannot_open(*arguments, num_threads=None):
    raise RuntimeError("no such instruction\nat 0x7f")


def row(name, **changes):
    plain = {"name": name, "summary": "", "precisions": {"cpu": ("fp32",)}, "open": opens(), "uses_threads": False}
    return EngineRow(**plain | changes)


@pytest.fixture
def rows(monkeypatch):
    """The reference slowed down, and engines of several virtues."""
    found = (
        dataclasses.replace(TORCH, open=opens(seconds=REFERENCE_SECONDS)),
        row("good", open=opens(seconds=GOOD_SECONDS)),
        row("wrong", open=opens(levels=2.5)),
        row("nan", open=opens(levels=float("nan"))),
        row("broken", open=cannot_open),
        row("absent", why_absent=lambda: "pip install it"),
        row("compiling", open=cannot_open, by_name_only=True),
    )
    for module in (vidsr.engines.table, vidsr.engines.choice, vidsr.measure.tune):
        monkeypatch.setattr(module, "ENGINES", found)
    monkeypatch.setattr(vidsr.measure.tune, "SIZES", {"cpu": ((64, 36), (32, 18))})


def measurement(engine, fps, **changes):
    version = TORCH.version() if engine == "torch" else vidsr.__version__
    how = {"num_threads": 1, "width": 320, "height": 180, "version": version}
    close = {"psnr_db": 120.0, "share_off": 0.0, "max_levels": 0.1}
    return Measurement(engine=engine, frames_per_second=fps, **how | close | changes)


def test_the_fastest_that_is_right_is_chosen_and_kept(rows, measured_file, monkeypatch):
    monkeypatch.setattr(vidsr.measure.tune, "thread_counts", lambda: [2, 1])
    before, told = torch.get_num_threads(), []
    tuned = tune("tiny", make_network(), CPU, "fp32", 5.0, lambda name, one: told.append((name, one)))
    assert torch.get_num_threads() == before
    assert [one for _, one in told] == list(tuned.measurements)
    assert [(m.engine, m.num_threads) for m in tuned.measurements] == [
        ("torch", 2),
        ("torch", 1),
        ("good", None),
        ("wrong", None),
        ("nan", None),
        ("broken", None),
    ]
    assert [m.passed for m in tuned.measurements] == [True, True, True, False, False, False]
    assert {m.size for m in tuned.measurements} == {"64x36"}
    torch_2, _, good, wrong, nan, broken = tuned.measurements
    assert torch_2.psnr_db > 120 and torch_2.max_levels < 0.01
    assert 25 < good.frames_per_second <= 1 / GOOD_SECONDS and torch_2.frames_per_second <= 1 / REFERENCE_SECONDS
    assert wrong.frames_per_second > good.frames_per_second
    assert wrong.max_levels == pytest.approx(2.5, abs=0.1)
    assert wrong.share_off > 0.9
    assert (nan.max_levels, nan.share_off) == (255.0, 1.0)
    assert broken.error == "no such instruction"
    assert tuned.chosen.row.name == "good"
    assert tuned.chosen.reason.startswith(f"tuned on this machine: {good.frames_per_second:.3g} fps at 64x36, torch ")

    key = measured_key(make_network(), CPU, "fp32")
    assert recall_measured(key) == list(tuned.measurements)
    assert recall_measured(measured_key(make_network(), CPU, "fp16")) == []
    assert [path.name for path in measured_file.parent.iterdir()] == ["engines.json"]


def test_little_time_is_a_small_picture(rows):
    tuned = tune("tiny", make_network(), CPU, "fp32", 0.0)
    assert {m.size for m in tuned.measurements} == {"32x18"}


def test_another_size_of_network_is_measured_by_itself():
    torch.manual_seed(0)
    deeper = SRVGGNetCompact(scale=2, num_features=4, num_convs=2)
    same_shape = SRVGGNetCompact(scale=2, num_features=4, num_convs=1)
    keys = {measured_key(network, CPU, "fp32") for network in (make_network(), deeper, same_shape)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("others", "chosen", "threads"),
    [
        ([measurement("good", 11.0, num_threads=4)], "good", 4),
        ([measurement("good", 10.2)], "torch", 1),  # within what timings waver
        ([measurement("torch", 10.9, num_threads=2)], "torch", 2),
        ([measurement("good", 90.0, psnr_db=59.9)], "torch", 1),
        ([measurement("good", 90.0, max_levels=8.1)], "torch", 1),
        ([measurement("good", 90.0, share_off=2e-4)], "torch", 1),
        ([measurement("good", 90.0, share_off=9e-5, max_levels=7.9)], "good", 1),
        ([measurement("good", 90.0, error="no such instruction")], "torch", 1),
        ([measurement("absent", 90.0)], "torch", 1),
        ([measurement("removed", 90.0)], "torch", 1),
        ([measurement("good", 90.0, version="0.0.1")], "torch", 1),
        ([measurement("good", 90.0, width=160, height=90)], "torch", 1),  # small pictures say less
    ],
)
def test_what_auto_makes_of_measurements(rows, others, chosen, threads):
    found = choose_engine("auto", make_network(), CPU, "fp32", [measurement("torch", 10.0), *others])
    assert (found.row.name, found.num_threads) == (chosen, threads)
    assert found.reason.startswith("tuned on this machine")


def test_without_measurements_auto_says_that_it_did_not_measure(rows):
    found = choose_engine("auto", make_network(), CPU, "fp32")
    assert found.reason == "default; not measured on this machine, which `vidsr tune` does"
    old = [measurement("torch", 10.0, version="0.0.1"), measurement("good", 10.0, version="0.0.1")]
    found = choose_engine("auto", make_network(), CPU, "fp32", old)
    assert (found.row.name, found.num_threads) == ("torch", None)
    assert "measured with other versions" in found.reason


def test_an_engine_that_was_asked_for_gets_its_best_number_of_threads(rows):
    known = [measurement("good", 5.0, num_threads=8), measurement("good", 6.0, num_threads=3)]
    found = choose_engine("good", make_network(), CPU, "fp32", known)
    assert (found.num_threads, found.reason) == (3, "asked for")


def test_a_run_uses_and_names_what_was_measured(rows, checkpoint, make_clip, tmp_path):
    key = measured_key(make_network(), CPU, "fp32")
    remember_measured(key, [measurement("torch", 10.0), measurement("good", 22.0)])
    options, events = UpscaleOptions(model=checkpoint, device="cpu"), []
    Run(prepare(make_clip(frames=2).path, tmp_path / "out.mp4", options), events.append).execute()
    started = next(event for event in events if isinstance(event, Started))
    assert (started.engine, started.engine_reason) == (
        "stand",
        "tuned on this machine: 22 fps at 320x180, torch 10",
    )


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", None, "entry", "field", "nan"])
def test_a_damaged_file_is_told_and_not_used(rows, checkpoint, measured_file, damage):
    key = measured_key(make_network(), CPU, "fp32")
    remember_measured(key, [measurement("good", 22.0)])
    if isinstance(damage, bytes):
        measured_file.write_bytes(damage)
    elif damage is None:
        measured_file.unlink()
        measured_file.mkdir()
    else:
        entries = json.loads(measured_file.read_text())
        changed = {"entry": 5, "field": [{"engine": "good"}], "nan": [entries[key][0] | {"frames_per_second": "x"}]}
        measured_file.write_text(json.dumps({key: changed[damage]}))
    events = []
    upscaler = Upscaler(UpscaleOptions(model=checkpoint, device="cpu"), events.append)
    assert upscaler.engine_reason.startswith("default")
    assert [type(event) for event in events] == [Notice]
    assert "engines.json is damaged and not used; `vidsr tune` makes it anew" in events[0].text
    if damage is not None:
        remember_measured(key, [measurement("good", 22.0)])
        assert recall_measured(key) == [measurement("good", 22.0)]


def test_a_folder_that_cannot_be_written_to_is_let_be(rows, measured_file):
    measured_file.parent.parent.mkdir(exist_ok=True)
    measured_file.parent.write_text("a file where the folder should be")
    assert tune("tiny", make_network(), CPU, "fp32", 0.0).chosen.row.name == "good"


def test_all_processors_are_tried_first():
    counts = thread_counts()
    assert counts == sorted(set(counts), reverse=True) and counts[-1] >= 1


def test_the_command_prints_a_table_and_what_auto_takes(rows, checkpoint, measured_file):
    result = CliRunner().invoke(app, ["tune", "--model", checkpoint, "--device", "cpu", "--seconds", "1"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("on ") and lines[0].endswith(f"fp32; kept in {measured_file}")
    assert lines[1] == checkpoint
    assert any(line.split()[0] == "wrong" and "never chosen: 60 dB in the worst frame" in line for line in lines)
    assert any(line.split()[0] == "broken" and "failed: no such instruction" in line for line in lines)
    assert lines[-1].startswith("  auto: good, tuned on this machine: ")
    dry = Upscaler(UpscaleOptions(model=checkpoint, device="cpu"))
    assert dry.engine_reason == lines[-1].removeprefix("  auto: good, ")


def test_the_command_prints_json(rows, checkpoint):
    arguments = ["tune", "--model", checkpoint, "--model", checkpoint, "--seconds", "0", "--json", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["model"], one["engine"]) for one in found] == [(checkpoint, "good")]
    assert {m["engine"]: m["passed"] for m in found[0]["measurements"]} == {
        "torch": True,
        "good": True,
        "wrong": False,
        "nan": False,
        "broken": False,
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "lanczos"], "lanczos is no network"),
        (["--model", "nothing/here.pth"], "no weights file"),
        (["--precision", "fp16", "--device", "cpu"], "fp16 was asked for on the CPU"),
        (["--precision", "int8"], "precision is 'int8'"),
        (["--device", "cuda:77"], "cuda:77"),
        (["--device", "cpu,cpu"], "device is 'cpu,cpu'; it must be auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:all"], "it must be auto, cpu, cuda or cuda:N"),
    ],
)
def test_what_cannot_be_tuned_is_said(arguments, words):
    result = CliRunner().invoke(app, ["tune", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def test_networks_of_one_shape_are_measured_once_and_none_after_the_time_is_over(rows, monkeypatch):
    torch.manual_seed(0)
    deeper = SRVGGNetCompact(scale=2, num_features=4, num_convs=2).eval().requires_grad_(False)
    networks = {"one": make_network(), "twin": make_network(), "late": deeper}
    monkeypatch.setattr(vidsr.measure.tune, "networks_here", lambda: networks)
    lines = CliRunner().invoke(app, ["tune", "--device", "cpu", "--seconds", "0"]).stdout.splitlines()
    assert lines.count("one") == 1
    assert lines[-2:] == ["twin: as fast as another above", "late: not measured, the time is over"]


def test_the_lightest_of_the_networks_here_comes_first():
    flops = [network.flops_per_input_pixel for network in vidsr.measure.tune.networks_here().values()]
    assert flops == sorted(flops)
