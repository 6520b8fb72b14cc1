"""The CPU's engines against plain fp32 PyTorch on frames of real videos, at even and odd sizes."""

from __future__ import annotations

import functools
import math

import av
import pytest
import torch

from vidsr.engines.table import ENGINES
from vidsr.measure.tune import network_of

CPU = torch.device("cpu")
FILES = ("01_h264_1080p60_bbb.mp4", "02_vfr_phone_portrait_rot-90.mov", "04_fullrange_bt601_240p.mp4")
# x4plus computes 36 million operations for each input pixel: small pieces, so that this takes seconds.
SIDES = {
    "realesr-animevideov3": ((64, 96), (61, 83)),
    "RealESRGAN_x4plus_anime_6B": ((32, 48), (23, 35)),
    "RealESRGAN_x4plus": ((16, 24), (13, 19)),
}


@functools.cache
def piece(path, height, width):
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    part = torch.from_numpy(picture[top : top + height, left : left + width].copy())
    return part.permute(2, 0, 1)[None].float().contiguous() / 255


@functools.cache
def plain(model):
    return network_of(model)


@functools.cache
def opened(name, model):
    row = next(row for row in ENGINES if row.name == name)
    return row.open(network_of(model), CPU, "fp32")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("model", SIDES)
@pytest.mark.parametrize("row", [row for row in ENGINES if "cpu" in row.precisions], ids=lambda row: row.name)
def test_at_least_100_db_and_a_tenth_of_a_level(shared_media, row, model, file):
    absent = row.why_absent()
    if absent is not None:
        pytest.skip(f"{row.name} is not here: {absent}")
    for height, width in SIDES[model]:
        x = piece(shared_media / file, height, width)
        with torch.inference_mode():
            expected = plain(model)(x).clamp(0, 1)
        difference = (opened(row.name, model).run(x).clamp(0, 1) - expected).double()
        assert -10 * math.log10(float(difference.square().mean()) + 1e-20) >= 100
        assert 255 * float(difference.abs().max()) <= 0.1
