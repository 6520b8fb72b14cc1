"""The CPU's engines against plain fp32 PyTorch with real weights on real frames, at even and odd sizes."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from real_frames import EXAMPLE, network_of, piece

from vidsr.engines.table import ENGINES, find_engine

CPU = torch.device("cpu")
FILES = (
    EXAMPLE.name,
    "01_h264_1080p60_bbb.mp4",
    "02_vfr_phone_portrait_rot-90.mov",
    "04_fullrange_bt601_240p.mp4",
)
# x4plus computes 36 million operations for each input pixel: small pieces, so that this takes seconds.
SIDES = {
    "realesr-animevideov3": ((64, 96), (61, 83)),
    "RealESRGAN_x4plus_anime_6B": ((32, 48), (23, 35)),
    "RealESRGAN_x4plus": ((16, 24), (13, 19)),
}


@pytest.fixture
def path(request, file):
    return EXAMPLE if file == EXAMPLE.name else request.getfixturevalue("shared_media") / file


@functools.cache
def expected(model, path, height, width):
    with torch.inference_mode():
        return network_of(model)(piece(path, height, width)).clamp(0, 1)


@functools.cache
def opened(name, model):
    return find_engine(name).open(copy.deepcopy(network_of(model)), CPU, "fp32")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("model", SIDES)
@pytest.mark.parametrize("engine", [row.name for row in ENGINES if "cpu" in row.precisions])
def test_at_least_100_db_and_a_tenth_of_a_level(engine, model, path):
    absent = find_engine(engine).why_absent()
    if absent is not None:
        pytest.skip(f"{engine} is not here: {absent}")
    for height, width in SIDES[model]:
        x = piece(path, height, width)
        assert x.std() > 0.01, "the piece shows something"
        difference = (opened(engine, model).run(x).clamp(0, 1) - expected(model, path, height, width)).double()
        # float32 gives 110 dB and more; the gate of half precision, 60 dB and two levels, is far away.
        assert difference.square().mean() <= 1e-10  # 100 dB
        assert 255 * difference.abs().max() <= 0.1
