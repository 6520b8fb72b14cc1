"""Recordings of several shapes share one pool of memory and do not write into each other."""

from __future__ import annotations

import pytest
import torch
from tiny_network import make_network

from vidsr.engines.graphs import CudaGraphEngine


def picture(height, width, seed):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_graphs_of_several_shapes_share_memory_and_stay_right(device):
    engine = CudaGraphEngine(make_network(), device, "fp32")
    network = make_network().to(device)
    stream = torch.cuda.Stream(device)
    for seed in range(6):
        for height in (8, 40, 17):
            x = picture(height, 33, seed).to(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream), torch.inference_mode():
                out, expected = engine.run(x), network(x)
            stream.synchronize()
            # Convolutions in TF32 keep 11 bits, and another algorithm may be chosen for another memory layout.
            assert float((out - expected).abs().max()) <= 2e-3
    assert len(engine._network._recordings) == 3


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_second_gpu_records_its_own_launches():
    for index in (0, 1, 0):
        device = torch.device("cuda", index)
        engine, network = CudaGraphEngine(make_network(), device, "fp32"), make_network().to(device)
        for seed in range(4):
            x = picture(24, 33, seed).to(device)
            with torch.inference_mode():
                assert float((engine.run(x) - network(x)).abs().max()) <= 2e-3
        assert len(engine._network._recordings) == 1
