"""A run that goes on has the engine that it was begun with, whatever `auto` has come to mean since."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_network import make_network, write_checkpoint

import vidsr.engines.choice
import vidsr.engines.table
from vidsr import __version__
from vidsr.engines.measured import Measurement, measured_key, remember_measured
from vidsr.engines.table import EngineRow, find_engine
from vidsr.engines.torch import TorchEngine
from vidsr.errors import ResumeError
from vidsr.events import Progress, Started
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.plan import work_folder
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TORCH = find_engine("torch")


class PowerCutError(Exception):
    pass


class Brighter(TorchEngine):
    """Another engine, whose frames can be told from the first's."""

    def __init__(self, network, device, precision, *, num_threads=None):
        super().__init__(network, device, precision, num_threads=num_threads)
        self._info = dataclasses.replace(self._info, engine="brighter")

    def as_one_launch(self, work, recordable):
        return work

    def run(self, x):
        return super().run(x) + 0.1


BRIGHTER = EngineRow(name="brighter", summary="", precisions={"cpu": ("fp32",)}, open=Brighter)


@pytest.fixture
def options(tmp_path):
    return UpscaleOptions(model=write_checkpoint(tmp_path), device="cpu", codec="ffv1")


@pytest.fixture
def clip(make_clip):
    return make_clip("in.mkv", size=(32, 32), frames=300, codec="ffv1", options={"g": "40"}, noise=True).path


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    for module in (vidsr.engines.table, vidsr.engines.choice):
        monkeypatch.setattr(module, "ENGINES", (TORCH, BRIGHTER))


def tune(**frames_per_second):
    """Have `vidsr tune` find the engines this fast."""
    versions = {"torch": TORCH.version(), "brighter": __version__}
    measured = [
        Measurement(
            engine=name,
            version=versions[name],
            num_threads=1,
            width=320,
            height=180,
            frames_per_second=fps,
            psnr_db=120.0,
            share_off=0.0,
            max_levels=0.1,
        )
        for name, fps in frames_per_second.items()
    ]
    remember_measured(measured_key(make_network(), CPU, "fp32"), measured)


def cut_off(prepared):
    """Run it until the first of its two segments is done."""

    def on_event(event):
        if isinstance(event, Progress) and event.num_frames_done >= 250:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        Run(prepared, on_event).execute()


def test_what_is_measured_meanwhile_changes_no_frame(clip, options, tmp_path, look):
    tune(torch=10.0, brighter=5.0)
    whole = prepare(clip, tmp_path / "whole.mkv", options)
    Run(whole).execute()
    prepared, events = prepare(clip, tmp_path / "out.mkv", options), []
    cut_off(prepared)

    tune(torch=10.0, brighter=50.0)
    new = Upscaler(options)
    assert new.engine_info.engine == "brighter"
    # As the command does, which makes one upscaler for all its files.
    Run(prepared, events.append, upscaler=new).execute()
    assert look.packets(prepared.target, "video") == look.packets(whole.target, "video")  # FFV1: one form per picture
    started = next(event for event in events if isinstance(event, Started))
    assert (started.engine, started.engine_reason) == ("torch", "as this run was begun")
    assert next(event for event in events if isinstance(event, Progress)).num_frames_before == 240


def test_only_the_run_that_goes_on_has_it(clip, options, tmp_path):
    tune(torch=10.0, brighter=5.0)
    prepared = prepare(clip, tmp_path / "out.mkv", options)
    cut_off(prepared)
    tune(torch=10.0, brighter=50.0)
    goes_on = Run(prepared).upscaler
    assert goes_on.engine_info.engine == "torch"
    following = Run(prepare(clip, tmp_path / "next.mkv", options), upscaler=goes_on).upscaler
    assert following.engine_info.engine == "brighter"
    assert Run(prepare(clip, tmp_path / "third.mkv", options), upscaler=following).upscaler is following
    assert Run(prepared, restart=True).upscaler.engine_info.engine == "brighter"


def test_an_engine_that_is_gone_and_another_by_name_are_refused(clip, options, tmp_path, monkeypatch):
    tune(torch=10.0, brighter=50.0)
    prepared = prepare(clip, tmp_path / "out.mkv", options)
    cut_off(prepared)
    named = prepare(clip, prepared.target, dataclasses.replace(options, engine="torch"))
    gone = dataclasses.replace(BRIGHTER, why_absent=lambda: "its library was removed")
    words = r"engine was brighter, is torch\. Run it as it was begun \(--engine brighter\)"
    with pytest.raises(ResumeError, match=words):
        Run(named).execute()
    for module in (vidsr.engines.table, vidsr.engines.choice):
        monkeypatch.setattr(module, "ENGINES", (TORCH, gone))
    with pytest.raises(ResumeError, match=words):
        Run(prepared).execute()
    assert work_folder(prepared.target).is_dir()
