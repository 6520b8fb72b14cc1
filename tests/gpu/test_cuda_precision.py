"""How close a GPU is to plain fp32 PyTorch on the CPU, with real weights on a real frame."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from real_frames import EXAMPLE, network_of, piece

from vidsr.engines.gate import closeness
from vidsr.engines.table import ENGINES, find_engine
from vidsr.inference.upscaler import Upscaler
from vidsr.models.catalogue import CATALOGUE
from vidsr.options.upscale import UpscaleOptions

NETWORKS = [entry.name for entry in CATALOGUE if entry.kind == "network"]
ON_CUDA = [row.name for row in ENGINES if "cuda" in row.precisions and not row.by_name_only]
SIDES = ((64, 96), (57, 81))


@functools.cache
def expected(model, height, width):
    with torch.inference_mode():
        return network_of(model)(piece(EXAMPLE, height, width))


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("engine", ON_CUDA)
def test_half_precision_passes_the_gate(device, engine, model):
    opened = find_engine(engine).open(copy.deepcopy(network_of(model)), device, "fp16")
    for sides in SIDES:
        x = piece(EXAMPLE, *sides)
        for _ in range(3):  # what is recorded the second time is replayed the third
            out = opened.run(x.to(device))
        found = closeness(out, expected(model, *sides))
        assert found.passed, found


@pytest.fixture
def tf32_allowed():
    """As PyTorch has it for convolutions until it is told otherwise."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("engine", ON_CUDA)
@pytest.mark.usefixtures("tf32_allowed")
def test_fp32_is_fp32(device, engine):
    model = "realesr-animevideov3"
    x, wanted = piece(EXAMPLE, *SIDES[0]), expected(model, *SIDES[0])
    upscaler = Upscaler(UpscaleOptions(model=model, device=str(device), precision="fp32", engine=engine))
    for _ in range(3):
        out = upscaler.run_network(x.to(device)).cpu()
    # Sums in another order are 1e-6 apart here; TF32, which rounds each factor to 11 bits, is 1e-3.
    assert (out - wanted).abs().max() <= 1e-4
