"""Which engine runs a network: the table, what was asked for, and what is said about it."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from tiny_network import make_network, write_checkpoint
from typer.testing import CliRunner

import vidsr.engines.choice
import vidsr.engines.table
from vidsr.cli.main import app
from vidsr.engines.base import IdentityEngine
from vidsr.engines.choice import choose_engine
from vidsr.engines.table import ENGINES, EngineRow, find_engine
from vidsr.engines.torch import TorchEngine
from vidsr.errors import UsageError
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions

CPU = torch.device("cpu")
TORCH = find_engine("torch")


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path)


def row(name, **changes):
    return EngineRow(**{"name": name, "summary": "", "precisions": {"cpu": ("fp32",)}, "open": TorchEngine} | changes)


@pytest.fixture
def rows(monkeypatch):
    """Stand-ins in the table, before and behind the real ones."""
    stand_ins = (
        row("missing", why_absent=lambda: 'pip install "vidsr-upscale[missing]"', by_default=True),
        row("picky", supports=lambda network: "it has not enough convolutions", by_default=True),
        row("gpu-only", precisions={"cuda": ("fp16", "fp32")}, by_default=True),
        row("shy"),
    )
    rows = (*stand_ins, TORCH, row("late", by_default=True))
    for module in (vidsr.engines.table, vidsr.engines.choice):
        monkeypatch.setattr(module, "ENGINES", rows)


def test_names_are_unique_and_neither_auto_nor_none():
    names = [row.name for row in ENGINES]
    assert len(set(names)) == len(names)
    assert not {"auto", "none"} & set(names)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_reference_is_always_there(device, precision):
    if (device, precision) != ("cpu", "fp16"):
        assert find_engine("torch").why_not(make_network(), torch.device(device), precision) is None


def test_auto_is_the_first_by_default_that_can(rows):
    chosen = choose_engine("auto", make_network(), CPU, "fp32")
    assert (chosen.row.name, chosen.num_threads) == ("torch", None)
    assert chosen.reason.startswith("default")


def test_what_was_not_measured_is_not_asked_for_its_library(rows, monkeypatch):
    def fail():
        raise AssertionError("imports a large library")

    idle = row("idle", why_absent=fail)
    monkeypatch.setattr(vidsr.engines.choice, "ENGINES", (idle, TORCH))
    assert choose_engine("auto", make_network(), CPU, "fp32").row.name == "torch"


@pytest.mark.parametrize(
    ("name", "precision", "words"),
    [
        ("missing", "fp32", r'engine missing was asked for, but it is not on this machine: pip install "vidsr-up'),
        ("picky", "fp32", "engine picky was asked for, but it has not enough convolutions; try --engine auto"),
        ("gpu-only", "fp32", "but it runs on cuda, not on cpu"),
        ("shy", "fp16", "but it computes in fp32 on cpu, not in fp16"),
        ("tochr", "fp32", "engine is 'tochr'; it must be auto, missing or .*; did you mean torch"),
        ("", "fp32", "engine is ''; it must be auto"),
    ],
)
def test_what_cannot_be_is_said(rows, name, precision, words):
    with pytest.raises(UsageError, match=words):
        choose_engine(name, make_network(), CPU, precision)


def test_an_upscaler_opens_what_was_asked_for(rows, checkpoint):
    upscaler = Upscaler(UpscaleOptions(model=checkpoint, device="cpu", engine="shy"))
    assert upscaler.engine_reason == "asked for"
    assert isinstance(upscaler._engine, TorchEngine)
    upscaler = Upscaler(UpscaleOptions(model=checkpoint, device="cpu"))
    assert upscaler.engine_reason.startswith("default")


def test_without_a_network_there_is_no_engine():
    upscaler = Upscaler(UpscaleOptions(model="nearest", device="cpu"))
    assert (upscaler.engine_info.engine, upscaler.engine_reason) == ("none", "")
    with pytest.raises(UsageError, match="engine torch was asked for, but nearest is no network; use auto"):
        Upscaler(UpscaleOptions(model="nearest", device="cpu", engine="torch"))
    with pytest.raises(UsageError, match="engine is 'nonsense'; it must be auto, winograd or torch"):
        Upscaler(UpscaleOptions(model="nearest", device="cpu", engine="nonsense"))


def test_frames_are_computed_again_by_the_reference(rows, checkpoint):
    upscaler = Upscaler(UpscaleOptions(model=checkpoint, device="cpu", engine="shy"))
    upscaler._engine = IdentityEngine(CPU)
    upscaler._engine._info = dataclasses.replace(upscaler._engine.info, precision="fp16")
    assert upscaler.exact.options.engine == "torch"
    assert upscaler.exact.engine_info.engine == "torch"


def test_the_engine_is_part_of_the_digest():
    assert UpscaleOptions(engine="torch").digest() != UpscaleOptions().digest()


def test_the_first_lines_of_a_run_name_it(checkpoint, make_clip):
    clip = make_clip(frames=2)
    result = CliRunner().invoke(app, ["upscale", str(clip.path), "--model", checkpoint, "--engine", "torch"])
    assert result.exit_code == 0, result.output
    assert "engine torch (asked for)" in result.stdout.splitlines()
    dry = CliRunner().invoke(app, ["upscale", str(clip.path), "--model", checkpoint, "--dry-run", "--overwrite"])
    assert re.search(r"^engine \S+ \(default", dry.stdout, re.MULTILINE)


def test_doctor_lists_the_engines(rows):
    lines = CliRunner().invoke(app, ["doctor"]).stdout.splitlines()
    listed = [line for line in lines if line.startswith("engine ")]
    assert len(listed) == len(vidsr.engines.table.ENGINES)
    assert "no," in listed[0].split() and listed[0].endswith('pip install "vidsr-upscale[missing]"')
    assert any(line.split()[1:3] == ["torch", "yes,"] for line in listed)
