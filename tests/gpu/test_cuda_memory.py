"""A GPU whose memory does not hold a whole frame: it goes on in tiles, to the same picture."""

from __future__ import annotations

import gc

import pytest
import torch
from real_frames import EXAMPLE, network_of, piece

from vidsr.engines.gate import closeness
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions

MODEL = "realesr-animevideov3"
SIDE_PX = 1024
# For each pixel of the frame, four times as large: 192 bytes for the result in fp32 and 12 for the frame. Whole, 96 for
# what the network gives in half precision are there beside them, 300 in all; in tiles, what a tile takes.
BYTES_PER_PIXEL = 256


@pytest.fixture
def little_memory(device):
    """A function that leaves this process so many bytes more than it holds."""

    def leave(num_bytes):
        gc.collect()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + num_bytes) / total, device)

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_what_does_not_fit_whole_goes_on_in_tiles(device, little_memory):
    network_of(MODEL)  # skips where its weights are not
    x = torch.nn.functional.interpolate(piece(EXAMPLE, 64, 64), (SIDE_PX, SIDE_PX), mode="bicubic").clamp(0, 1)
    texts = []
    options = UpscaleOptions(model=MODEL, device=str(device), engine="torch")
    upscaler = Upscaler(options, lambda event: texts.append(event.text))
    whole = upscaler.run_network(x.to(device)).cpu()
    assert (upscaler.tile_px, texts) == (0, [])
    little_memory(BYTES_PER_PIXEL * SIDE_PX**2)
    tiled = upscaler.run_network(x.to(device)).cpu()
    assert 0 < upscaler.tile_px < SIDE_PX
    (text,) = texts
    assert text == f"out of memory with whole frames: goes on with tiles of {upscaler.tile_px} pixels"
    found = closeness(tiled, whole)
    assert found.passed, found
