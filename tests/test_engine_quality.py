"""Every engine of this machine against plain fp32 PyTorch, with real weights on a real frame at odd sizes."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import av
import pytest
import torch

from vidsr.engines.table import ENGINES
from vidsr.models.catalogue import find_model
from vidsr.models.loading import load_network
from vidsr.store import locate

CLIP = Path(__file__).parents[1] / "examples" / "clip.mp4"
# x4plus computes 36 million operations for each input pixel: small pieces, so that this takes seconds.
SIDES = {"realesr-animevideov3": (61, 83), "RealESRGAN_x4plus_anime_6B": (23, 35), "RealESRGAN_x4plus": (13, 19)}
CPU = torch.device("cpu")


@functools.cache
def frame():
    with av.open(str(CLIP)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def network_of(model):
    weights = locate(find_model(model))
    if weights is None:
        pytest.skip(f"the weights of {model} are not on this machine")
    return load_network(weights.path)


@functools.cache
def piece_and_expected(model):
    height, width = SIDES[model]
    x = frame()[..., 31 : 31 + height, 40 : 40 + width].contiguous()
    assert x.std() > 0.02, "the piece shows something"
    with torch.inference_mode():
        return x, network_of(model)(x).clamp(0, 1)


@pytest.mark.parametrize("model", SIDES)
@pytest.mark.parametrize("row", [row for row in ENGINES if "cpu" in row.precisions], ids=lambda row: row.name)
def test_within_the_gate_and_fp32_within_a_tenth_of_a_level(row, model):
    absent = row.why_absent()
    if absent is not None:
        pytest.skip(f"{row.name} is not here: {absent}")
    network = network_of(model)
    x, expected = piece_and_expected(model)
    out = row.open(network, CPU, "fp32").run(x).clamp(0, 1)
    difference = (out - expected).double()
    # float32 gives 110 dB and more; the gate of half precision, 60 dB and two levels, is far away.
    assert -10 * math.log10(float(difference.square().mean()) + 1e-20) >= 100
    assert 255 * float(difference.abs().max()) <= 0.1
