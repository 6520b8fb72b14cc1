"""From file to file on a GPU: the pictures of the CPU, whole or interrupted, by one GPU or by two."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from real_frames import EXAMPLE, network_of

from vidsr.devices.names import device_names, resolve_devices
from vidsr.events import Notice, Progress, Started
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.plan import work_folder
from vidsr.run.upscale import upscale_video

MODEL = "realesr-animevideov3"
# Half precision moves a sample by a twentieth of a level, so that one in twenty is rounded to the other side: 61 dB.
# And as cuDNN measures which of its ways is the fastest, each run may take another. A frame that is another one, or
# shifted by a pixel, is below 40 dB.
LEAST_PSNR_DB = 50.0


class PowerCutError(Exception):
    pass


def run(target, device, on_event=None, model=MODEL, **given):
    """The events; without loss, so that what is read is what was made."""
    if model == MODEL:
        network_of(model)  # skips where its weights are not
    events = []

    def keep(event):
        events.append(event)
        if on_event is not None:
            on_event(event)

    options = UpscaleOptions(**({"model": model, "scale": Fraction(2), "codec": "ffv1", "device": str(device)} | given))
    upscale_video(EXAMPLE, target, options, on_event=keep)
    return events


def psnr_db(look, path, other):
    """Of the worst plane of all frames, whose times must be the same."""
    assert look.video(path).times == look.video(other).times
    worst = 0.0
    for planes, wanted in zip(look.planes(path), look.planes(other), strict=True):
        for a, b in zip(planes, wanted, strict=True):
            assert (a.shape, a.dtype, b.dtype) == (b.shape, np.uint8, np.uint8)
            worst = max(worst, float(np.square(a.astype(float) - b).mean()))
    return 10 * math.log10(255**2 / worst) if worst else math.inf


@pytest.mark.parametrize("engine", ["torch", "cuda-graphs"])
def test_a_run_makes_the_pictures_of_the_cpu(device, look, tmp_path, engine):
    run(tmp_path / "gpu.mkv", device, engine=engine, stop=9)
    run(tmp_path / "cpu.mkv", "cpu", stop=9)
    assert look.video(tmp_path / "gpu.mkv").count == 9
    assert psnr_db(look, tmp_path / "gpu.mkv", tmp_path / "cpu.mkv") >= LEAST_PSNR_DB


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize(("model", "least_psnr_db"), [("nearest", math.inf), (MODEL, LEAST_PSNR_DB)])
def test_a_run_that_goes_on_makes_the_same_pictures(device, look, tmp_path, model, least_psnr_db):
    def cut(event):
        if isinstance(event, Progress) and event.num_frames_done >= 25:
            raise PowerCutError

    target = tmp_path / "out.mkv"
    with pytest.raises(PowerCutError):
        run(target, device, cut, model)
    assert not target.exists() and list(work_folder(target).glob("*.segment"))
    events = run(target, device, model=model)
    assert next(event for event in events if isinstance(event, Progress)).num_frames_before >= 8
    run(tmp_path / "whole.mkv", device, model=model)
    assert psnr_db(look, target, tmp_path / "whole.mkv") >= least_psnr_db


@pytest.mark.usefixtures("short_segments")
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_make_the_pictures_of_one(device, look, tmp_path):
    events = run(tmp_path / "two.mkv", "cuda:0,cuda:1")
    started = next(event for event in events if isinstance(event, Started))
    assert started.device == device_names(resolve_devices("cuda:0,cuda:1"))
    assert not [event.text for event in events if isinstance(event, Notice) and "1 of 2 devices" in event.text]
    run(tmp_path / "one.mkv", device)
    assert psnr_db(look, tmp_path / "two.mkv", tmp_path / "one.mkv") >= LEAST_PSNR_DB
