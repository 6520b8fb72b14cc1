"""The middle stage: order, buffers that are given back in time, planes of every kind."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest
import torch
from worker_frames import (
    UPRIGHT,
    PromisingLane,
    doubled,
    make_format,
    make_frames,
    make_worker,
    stream,
)

from vidsr.devices.lanes import HostLane
from vidsr.frames import FrameTime
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.stage import run_stages
from vidsr.pixels.resample import resize
from vidsr.pixels.sizes import Orientation
from vidsr.run.frame_worker import FrameWorker


@pytest.mark.parametrize("queue_batches", [1, 2])
@pytest.mark.parametrize("num_frames", [0, 1, 2, 3, 17, 40])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("depth", [None, 1, 2])
def test_every_frame_comes_out_once_in_order(depth, batch, num_frames, queue_batches):
    source, target = make_format("gbrp", 6, 4), make_format("gbrp", 12, 8)
    lane = HostLane() if depth is None else PromisingLane(depth)
    worker = make_worker(source, target, lane, batch=batch, queue_batches=queue_batches)
    frames = make_frames(source, num_frames)
    slowness = 0.001 if num_frames == 17 else 0.0
    come = stream(worker, frames, batch=batch, queue_batches=queue_batches, seconds_per_sink_batch=slowness)
    assert [stamp for stamp, _ in come] == [FrameTime(pts=n * 10, duration=10) for n in range(num_frames)]
    for planes, (_, found) in zip(frames, come, strict=True):
        assert all(np.array_equal(f, doubled(p)) for f, p in zip(found, planes, strict=True))
    if depth is not None and num_frames == 40:
        # As many as the lane allows are on their way, and the one that has just joined them.
        assert lane.num_in_flight_most == depth + 1


@pytest.mark.parametrize("depth", [None, 2])
def test_all_buffers_are_back_at_the_end(depth):
    source, target = make_format("gbrp", 6, 4), make_format("gbrp", 12, 8)
    lane = HostLane() if depth is None else PromisingLane(depth)
    worker = make_worker(source, target, lane, batch=2, queue_batches=2)
    stream(worker, make_frames(source, 21), batch=2, queue_batches=2)
    for ring, picture in ((worker.free_inputs, source), (worker.free_outputs, target)):
        ring.close()
        batches = list(ring)
        assert len({id(batch) for batch in batches}) == len(batches) == 2 + (depth or 0) + 2
        assert all(batch.planes[0].shape == (2, picture.height, picture.width) for batch in batches)


@pytest.mark.parametrize("name", ["gbrp10le", "gbrp12le", "gbrp16le", "yuv444p10le", "gray12le"])
def test_deep_planes(name):
    source, target = make_format(name, 5, 3), make_format(name, 10, 6)
    frames = make_frames(source, 3)
    come = stream(make_worker(source, target, PromisingLane(2)), frames, batch=2, queue_batches=2)
    # 16-bit codes do not fit through float32 sums to the last; 12 bit and below do.
    limit = 1 if name.endswith("16le") else 0
    for planes, (_, found) in zip(frames, come, strict=True):
        for plane, out in zip(planes, found, strict=True):
            assert out.dtype == np.uint16
            assert np.abs(out.astype(int) - doubled(plane)).max() <= limit


def test_another_format_comes_out_than_went_in():
    source, target = make_format("gray", 4, 4), make_format("yuv420p10le", 8, 8, full_range=False)
    gray = np.full((4, 4), 255, np.uint8)
    ((_, planes),) = stream(make_worker(source, target, HostLane()), [[gray]], batch=2, queue_batches=2)
    assert [plane.shape for plane in planes] == [(8, 8), (4, 4), (4, 4)]
    assert [np.unique(plane).tolist() for plane in planes] == [[940], [512], [512]]


@pytest.mark.parametrize(("name", "deep"), [("yuva420p", "yuva420p"), ("gbrap", "gbrap12le"), ("yuva444p10le",) * 2])
def test_alpha_is_resized_by_lanczos(name, deep):
    source, target = make_format(name, 6, 5), make_format(deep, 12, 10)
    frames = make_frames(source, 3)
    come = stream(make_worker(source, target, PromisingLane(2)), frames, batch=2, queue_batches=2)
    for planes, (_, found) in zip(frames, come, strict=True):
        alpha = torch.from_numpy(planes[3].astype(np.float32) / source.layout.max_code)[None, None]
        expected = resize(alpha, 10, 12, "lanczos")[0, 0].clamp(0, 1) * target.layout.max_code
        assert len(found) == 4
        assert np.abs(found[3] - expected.numpy()).max() <= 0.501  # rounding


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le", "gbrp", "gray"])
def test_what_has_no_alpha_becomes_opaque(name):
    source, target = make_format(name, 6, 4), make_format("yuva420p10le", 12, 8)
    come = stream(make_worker(source, target, HostLane()), make_frames(source, 3), batch=2, queue_batches=2)
    assert [np.unique(planes[3]).tolist() for _, planes in come] == [[1023]] * 3


def test_alpha_is_left_out_where_the_target_has_none():
    source, target = make_format("yuva420p", 6, 4), make_format("yuv420p", 12, 8)
    frames = make_frames(source, 2)
    come = stream(make_worker(source, target, HostLane()), frames, batch=2, queue_batches=2)
    without = make_worker(make_format("yuv420p", 6, 4), target, HostLane())
    expected = stream(without, [planes[:3] for planes in frames], batch=2, queue_batches=2)
    for (_, found), (_, wanted) in zip(come, expected, strict=True):
        assert len(found) == 3
        assert all(np.array_equal(f, w) for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("one_shape", [False, True])
def test_short_batches_are_filled_up_where_every_shape_costs(one_shape):
    source, target = make_format("yuv420p10le", 6, 4), make_format("yuv420p10le", 12, 8)
    worker = make_worker(source, target, PromisingLane(1, one_shape), batch=3)
    sizes, upscale_tensor = [], worker._upscaler.upscale_tensor

    def noted(x, size):
        sizes.append(len(x))
        return upscale_tensor(x, size)

    worker._upscaler.upscale_tensor = noted
    frames = make_frames(source, 7)
    come = stream(worker, frames, batch=3, queue_batches=2)
    assert sizes == ([3, 3, 3] if one_shape else [3, 3, 1])
    alone = make_worker(source, target, HostLane(), batch=1)
    expected = stream(alone, frames, batch=1, queue_batches=2)
    assert len(come) == len(expected) == 7
    for (stamp, planes), (wanted_stamp, wanted) in zip(come, expected, strict=True):
        assert stamp == wanted_stamp
        assert all(np.array_equal(plane, other) for plane, other in zip(planes, wanted, strict=True))
    assert worker.tally.num_frames == 7


def test_a_batch_that_the_engine_launches_as_one_is_computed_by_that():
    source, target = make_format("gbrp", 6, 4), make_format("gbrp", 12, 8)
    upscaler = Upscaler(UpscaleOptions(model="nearest", device="cpu"))
    shapes = []

    def as_one_launch(work):
        def launch(planes):
            shapes.append([tuple(plane.shape) for plane in planes])
            return work(planes)

        return launch

    upscaler.as_one_launch = as_one_launch
    lane, sizes = PromisingLane(2), {"batch": 2, "queue_batches": 2}
    worker = FrameWorker(upscaler, source, target, UPRIGHT, lane, time_base=Fraction(1, 100), **sizes)
    frames = make_frames(source, 5)
    come = stream(worker, frames, batch=2, queue_batches=2)
    for planes, (_, found) in zip(frames, come, strict=True):
        assert all(np.array_equal(f, doubled(p)) for f, p in zip(found, planes, strict=True))
    assert shapes == [[(2, 4, 6)] * 3] * 3


def test_an_error_in_the_network_ends_the_run():
    source, target = make_format("gbrp", 6, 4), make_format("gbrp", 12, 8)
    worker = make_worker(source, target, PromisingLane(2), batch=1)

    def fail(*args):
        raise ArithmeticError("no picture")

    worker._upscaler.upscale_tensor = fail
    before = threading.active_count()
    with pytest.raises(ArithmeticError, match="no picture"):
        run_stages(
            lambda: iter(lambda: filled(worker.free_inputs.get()), None),
            worker.run,
            lambda batches: [worker.free_outputs.put(batch) for batch in batches] and None,
            capacity=2,
            rings=(worker.free_inputs, worker.free_outputs),
        )
    assert threading.active_count() == before


def filled(batch):
    batch.times = [FrameTime(pts=0, duration=1)]
    return batch


def run_one(worker, planes):
    batch = worker.free_inputs.get()
    batch.times = []
    batch.append(planes, FrameTime(pts=0, duration=1))
    (out,) = worker.run(iter([batch]))
    return [plane[0].copy() for plane in out.planes]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("flipped_x", [False, True])
@pytest.mark.parametrize("flipped_y", [False, True])
def test_pictures_and_their_alpha_are_turned_alike(transposed, flipped_x, flipped_y):
    turned = Orientation(transposed=transposed, flipped_x=flipped_x, flipped_y=flipped_y)
    width, height = turned.size(6, 4)
    source, target = make_format("gbrap", 6, 4), make_format("gbrap", width, height)
    planes = [np.random.default_rng(n).integers(0, 256, (4, 6), dtype=np.uint8) for n in range(4)]
    out = run_one(make_worker(source, target, HostLane(), turned=turned), planes)
    for before, after in zip(planes, out, strict=True):
        wanted = before.T if transposed else before
        wanted = wanted[:, ::-1] if flipped_x else wanted
        wanted = wanted[::-1] if flipped_y else wanted
        assert np.array_equal(after, wanted)


def test_less_depth_is_dithered_and_keeps_the_mean():
    source, target = make_format("gray10le", 64, 64), make_format("gray", 64, 64)
    # 512.375 in 8-bit codes is 127.71: with rounding alone all would be 128.
    out = run_one(make_worker(source, target, HostLane()), [np.full((64, 64), 512, np.uint16)])[0]
    assert set(np.unique(out)) == {127, 128}
    assert out.mean() == pytest.approx(512 / 1023 * 255, abs=0.02)


def test_codes_that_exist_in_less_depth_are_not_dithered():
    source, target = make_format("gray10le", 64, 64, False), make_format("gray", 64, 64, False)
    out = run_one(make_worker(source, target, HostLane()), [np.full((64, 64), 4 * 77, np.uint16)])[0]
    assert np.unique(out).tolist() == [77]


def test_a_matte_goes_through_the_network_if_asked():
    source, target = make_format("gbrap", 24, 24), make_format("gbrap", 48, 48)
    planes = [np.random.default_rng(n).integers(0, 256, (24, 24), dtype=np.uint8) for n in range(3)]
    matte = np.zeros((24, 24), np.uint8)
    matte[:, 12:] = 255
    model = {"model": "realesr-animevideov3", "scale": 2}
    outs = [
        run_one(make_worker(source, target, HostLane(), **model, **given), [*planes, matte])
        for given in ({}, {"alpha": "network"})
    ]
    for plain, network in zip(outs[0][:3], outs[1][:3], strict=True):
        assert np.array_equal(plain, network)
    by_lanczos, by_network = outs[0][3].astype(int), outs[1][3].astype(int)
    assert np.abs(by_lanczos - by_network).max() > 0
    assert np.abs(by_lanczos - by_network)[:, [*range(16), *range(32, 48)]].max() < 12  # flat parts agree
    assert by_network[:, :16].max() < 12 and by_network[:, 32:].min() > 243


def test_colour_drift_is_the_difference_of_means():
    source, target = make_format("gbrp", 8, 8), make_format("gbrp", 8, 8)
    worker = make_worker(source, target, HostLane())
    assert worker.tally.color_drift == (0, 0, 0)
    worker._upscaler.upscale_tensor = lambda x, size: x + 0.25 * torch.tensor([1, 0, -1])[:, None, None]
    run_one(worker, [np.full((8, 8), 100, np.uint8)] * 3)
    run_one(worker, [np.full((8, 8), 200, np.uint8)] * 3)
    assert worker.tally.color_drift == pytest.approx((63.75, 0, -63.75), abs=1e-3)
