"""The packaged networks, converted by us, against ncnn's own run of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vidsr.models.catalogue import find_model
from vidsr.models.loading import load_network
from vidsr.models.weights_store import locate

ncnn = pytest.importorskip("ncnn", reason="the judge, ncnn, is not installed")

NAMES = ["realesr-animevideov3", "RealESRGAN_x4plus_anime_6B", "RealESRGAN_x4plus"]
MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "media"
# fp32 sums in another order; 122-132 dB were measured. A wrong layer or slope is below 60.
MIN_DB = 90.0


def run_ncnn(param, x_chw):
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    net.opt.num_threads = 2
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(param.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    held = np.ascontiguousarray(x_chw)  # a Mat borrows the array's memory
    extractor.input(net.input_names()[0], ncnn.Mat(held))
    status, out = extractor.extract(net.output_names()[0])
    assert status == 0
    return np.array(out)


def decibels(found, expected):
    error = float(np.mean((found.astype(np.float64) - expected) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def check(name, x_chw):
    param = locate_packaged(name)
    network = load_network(param)
    with torch.inference_mode():
        ours = network(torch.from_numpy(x_chw)[None])[0].numpy()
    db = decibels(ours, run_ncnn(param, x_chw))
    assert db >= MIN_DB, f"{db:.1f} dB"


def locate_packaged(name):
    entry = find_model(name)
    found = locate(entry)
    if found is None or found.origin != "package":
        pytest.skip("the package with the weights is not installed, or other weights are in the cache")
    return found.path


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSR_CACHE", str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_generated_picture(name, make_picture):
    check(name, make_picture(32, 40)[0].numpy())


@pytest.mark.parametrize("name", NAMES)
def test_real_frame(name):
    path = MEDIA / "01_h264_1080p60_bbb.mp4"
    if not path.is_file():
        pytest.skip("no folder with clips beside the checkout")
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    crop = frame[480:528, 1408:1472].transpose(2, 0, 1).astype(np.float32) / 255
    assert crop.std() > 0.1, "a flat crop would compare nothing"
    check(name, crop)
