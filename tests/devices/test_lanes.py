"""Host buffers and the lanes between them and a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidsr.devices.lanes import HostLane, open_lane
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.run.batch import HostBatch


def make_format(name, width=7, height=5):
    color = ColorTags(matrix=1, full_range=False, siting="left")
    return PictureFormat(width=width, height=height, layout=pixel_layout(name), color=color)


def make_times(count):
    return [FrameTime(pts=index, duration=1) for index in range(count)]


@pytest.mark.parametrize(
    ("name", "dtype", "shapes"),
    [
        ("yuv420p", np.uint8, [(3, 5, 7), (3, 3, 4), (3, 3, 4)]),
        ("yuva420p10le", np.uint16, [(3, 5, 7), (3, 3, 4), (3, 3, 4), (3, 5, 7)]),
        ("gray16le", np.uint16, [(3, 5, 7)]),
    ],
)
def test_a_host_batch_has_an_array_for_every_plane(name, dtype, shapes):
    batch = HostBatch(make_format(name), 3, pinned=False)
    assert [plane.shape for plane in batch.planes] == shapes
    assert {plane.dtype for plane in batch.planes} == {np.dtype(dtype)}
    assert batch.capacity == 3
    assert len(batch) == 0
    assert not any(tensor.is_pinned() for tensor in batch.tensors)


def test_arrays_and_tensors_are_the_same_memory():
    batch = HostBatch(make_format("yuv420p10le"), 2, pinned=False)
    batch.planes[1][1] = 1000
    assert batch.tensors[1][1].int().unique().tolist() == [1000]
    batch.tensors[0][0] = 7
    assert np.unique(batch.planes[0][0]).tolist() == [7]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_only_what_holds_frames_is_filled(count):
    batch = HostBatch(make_format("yuv420p"), 3, pinned=False)
    batch.times = make_times(count)
    assert [tensor.shape[0] for tensor in batch.filled] == [count] * 3
    for tensor in batch.filled:
        tensor.fill_(9)
    for plane in batch.planes:
        plane[count:] = 0
        assert (plane[:count] == 9).all()


def test_the_hosts_lane_keeps_nothing_on_its_way():
    lane = open_lane(torch.device("cpu"))
    assert isinstance(lane, HostLane)
    assert (lane.depth, lane.pinned) == (0, False)
    planes = [torch.arange(6, dtype=torch.uint8).view(1, 2, 3), torch.ones((1, 1, 2), dtype=torch.uint8)]
    targets = [torch.zeros_like(plane) for plane in planes]
    with lane.computing():
        computed = [plane * 2 for plane in lane.upload(planes)]
    wait = lane.download(computed, targets)
    assert [t.tolist() for t in targets] == [c.tolist() for c in computed]
    computed[0].zero_()
    wait()
    assert targets[0].sum() == 30


def test_planes_and_targets_must_match_in_number():
    plane = torch.zeros((1, 2, 2))
    with pytest.raises(ValueError, match="zip"):
        HostLane().download([plane, plane], [plane])
