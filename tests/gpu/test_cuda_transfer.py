"""The lane between the host's pinned buffers and a GPU."""

from __future__ import annotations

import numpy as np
import torch
from worker_frames import make_format

from vidsr.devices.lanes import open_lane
from vidsr.frames import FrameTime
from vidsr.run.batch import HostBatch


def test_a_gpus_lane_brings_everything_there_and_back(device):
    lane = open_lane(device)
    picture = make_format("yuv420p10le", 640, 360)
    batches = [HostBatch(picture, 2, pinned=True) for _ in range(8)]
    waits = []
    for number, batch in enumerate(batches[:4]):
        batch.times = batches[number + 4].times = [FrameTime(pts=index, duration=1) for index in range(2)]
        for plane in batch.planes:
            plane[:] = np.arange(plane.size, dtype=np.uint16).reshape(plane.shape) % 1000 + number
        planes = lane.upload(batch.filled)
        with lane.computing():
            planes = [(plane.to(torch.int32) + 3).to(torch.uint16) for plane in planes]
        waits.append(lane.download(planes, batches[number + 4].filled))
        del planes
    assert all(tensor.is_pinned() for batch in batches for tensor in batch.tensors)
    for number, wait in enumerate(waits):
        wait()
        for sent, come in zip(batches[number].planes, batches[number + 4].planes, strict=True):
            assert np.array_equal(come, sent + 3)
