"""The middle stage on a GPU: every frame comes back, in order, with its own planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_network import write_checkpoint
from worker_frames import doubled, make_format, make_frames, make_worker, stream

from vidsr.devices.lanes import open_lane


@pytest.mark.parametrize("name", ["gbrp", "gbrap12le", "yuv444p10le"])
def test_every_frame_comes_back_in_order(device, name):
    source, target = make_format(name, 64, 36), make_format(name, 128, 72)
    worker = make_worker(source, target, open_lane(device), batch=3, queue_batches=2, device=str(device))
    frames = make_frames(source, 50)
    come = stream(worker, frames, batch=3, queue_batches=2)
    assert [stamp.pts for stamp, _ in come] == [n * 10 for n in range(50)]
    for planes, (_, found) in zip(frames, come, strict=True):
        assert all(np.array_equal(f, doubled(p)) for f, p in zip(found[:3], planes[:3], strict=True))


@pytest.mark.parametrize(("name", "most_codes"), [("yuv420p", 1), ("yuva444p10le", 4), ("gbrp", 1)])
def test_a_recorded_batch_is_the_batch(device, tmp_path, name, most_codes):
    source, target = make_format(name, 64, 36), make_format(name, 128, 72)
    frames, found = make_frames(source, 20), {}
    for engine in ("torch", "cuda-graphs", "cuda-graphs-padded"):
        model = {"model": write_checkpoint(tmp_path), "engine": engine}
        worker = make_worker(source, target, open_lane(device), batch=3, queue_batches=2, device=str(device), **model)
        found[engine] = [planes for _, planes in stream(worker, frames, batch=3, queue_batches=2)]
        if engine != "torch":
            assert len(worker._launch._recordings) == 1  # one shape: seven batches, the last filled up
    assert torch.cuda.current_stream(device) == torch.cuda.default_stream(device)
    for engine in ("cuda-graphs", "cuda-graphs-padded"):
        for planes, others in zip(found[engine], found["torch"], strict=True):
            # Another of cuDNN's ways may round half precision to the other side.
            assert max(np.abs(p.astype(int) - o).max() for p, o in zip(planes, others, strict=True)) <= most_codes
