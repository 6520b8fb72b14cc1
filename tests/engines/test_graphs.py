"""Which shapes and works the engine of CUDA graphs records, keeps and gives up; with stand-ins, on the CPU."""

from __future__ import annotations

import gc
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
from tiny_network import make_network
from worker_frames import make_format, make_frames, stream

import vidsr.engines.recording
from vidsr.devices.lanes import HostLane
from vidsr.engines.graphs import CudaGraphEngine, why_absent
from vidsr.engines.recording import Recording
from vidsr.engines.torch import TorchEngine
from vidsr.errors import DeviceMemoryError
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.stage import StageTimes
from vidsr.pixels.sizes import Orientation
from vidsr.run.frame_worker import FrameWorker

CPU = torch.device("cpu")


class Recorder:
    """Records as CUDA does: what was computed for the static input is computed again into the static output."""

    made = 0

    def __init__(self):
        type(self).made += 1
        self.shapes, self.replayed, self.error, self.alive = [], [], None, weakref.WeakSet()

    def __call__(self, work, examples):
        if self.error is not None:
            raise self.error
        static_in = [example.clone() for example in examples]
        static_out = [out.clone() for out in work(static_in)]
        shape = tuple(examples[0].shape)
        self.shapes.append(shape)

        def replay():
            self.replayed.append(shape)
            for out, result in zip(static_out, work(static_in), strict=True):
                out.copy_(result)

        for out in static_out:
            self.alive.add(out)
        return Recording(static_in=static_in, static_out=static_out, replay=replay)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def engine(recorder):
    return CudaGraphEngine(make_network(), CPU, "fp32", make_recorder=lambda: recorder)


def picture(height, width=4, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_what_recurs_is_replayed_with_its_own_pictures(engine, recorder):
    network = make_network()
    for seed in range(4):
        x = picture(5, seed=seed)
        torch.testing.assert_close(engine.run(x), network(x), rtol=0, atol=1e-6)
    assert recorder.shapes == [(1, 3, 5, 4)]
    assert len(recorder.replayed) == 3  # all but the first


def test_results_are_the_callers(engine):
    first_x, second_x = picture(5, seed=1), picture(5, seed=2)
    engine.run(first_x)
    first = engine.run(first_x)
    kept = first.clone()
    engine.run(second_x)
    assert torch.equal(first, kept)
    assert torch.equal(engine.run(first_x), kept)


def test_a_shape_that_comes_once_is_not_recorded(engine, recorder):
    for height in range(1, 30):
        engine.run(picture(height))
    assert recorder.shapes == []


def test_batches_and_sides_are_shapes_of_their_own(engine, recorder):
    for _ in range(2):
        for shape in ((1, 3, 4, 6), (2, 3, 4, 6), (1, 3, 6, 4)):
            engine.run(torch.rand(shape))
    assert len(recorder.shapes) == 3


def test_so_many_are_kept_and_no_more(engine, recorder, monkeypatch):
    monkeypatch.setattr(vidsr.engines.recording, "_MAX_SHAPES", 3)
    monkeypatch.setattr(vidsr.engines.recording, "_IDLE_CALLS", 10)
    for _ in range(5):  # in turns: recording the fourth and fifth in place of others would never end
        for height in range(1, 6):
            engine.run(picture(height))
    assert [shape[2] for shape in recorder.shapes] == [1, 2, 3]
    for _ in range(20):  # the others have gone
        engine.run(picture(5))
    assert [shape[2] for shape in recorder.shapes] == [1, 2, 3, 5]
    gc.collect()
    assert len(recorder.alive) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),  # the driver's own, while a graph is instantiated
    ],
)
def test_without_memory_to_record_it_runs_eagerly(engine, recorder, error):
    network, x = make_network(), picture(5)
    recorder.error = error
    for _ in range(4):
        torch.testing.assert_close(engine.run(x), network(x), rtol=0, atol=1e-6)
    recorder.error = None
    engine.run(x)
    assert recorder.shapes == []  # not tried again for this shape
    for _ in range(2):
        engine.run(picture(6))
    assert recorder.shapes == [(1, 3, 6, 4)]


def test_without_memory_to_run_it_gives_up_its_recordings(engine, recorder, monkeypatch):
    for _ in range(2):
        engine.run(picture(5))
    before = Recorder.made

    def fail(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine._recordings._make_recorder = Recorder
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_compute", fail)
        with pytest.raises(DeviceMemoryError, match="ran out of memory on 1 frames of 4x90"):
            engine.run(picture(90))
    gc.collect()
    assert not recorder.alive
    assert Recorder.made == before + 1  # a pool of memory of its own for what comes
    assert engine.run(picture(5)).shape == (1, 3, 10, 8)


def test_errors_of_a_recording_are_not_swallowed(engine, recorder):
    engine.run(picture(5))
    recorder.error = RuntimeError("operation not permitted when stream is capturing")
    with pytest.raises(RuntimeError, match="not permitted"):
        engine.run(picture(5))


def half_and_double(engine):
    """A work as a worker has it: something before the network, and something behind."""

    def work(tensors):
        out = engine.run(tensors[0] / 2)
        return [out * 2, out.amax((1, 2, 3))]

    return work


def test_a_work_is_recorded_as_a_whole_and_not_the_network_within(engine, recorder):
    work = half_and_double(engine)
    launch = engine.as_one_launch(work, work)
    for seed in range(4):
        x = picture(5, seed=seed)
        expected = half_and_double(CudaGraphEngine(make_network(), CPU, "fp32", make_recorder=Recorder))([x])
        for out, wanted in zip(launch([x]), expected, strict=True):
            torch.testing.assert_close(out, wanted, rtol=0, atol=1e-6)
    assert recorder.shapes == [(1, 3, 5, 4)] and len(recorder.replayed) == 3
    for seed in range(3):  # alone, the network is a work of its own
        engine.run(picture(5, seed=seed))
    assert len(recorder.shapes) == 2


def test_only_what_adapts_to_nothing_is_recorded(engine, recorder):
    calls = []

    def named(name):
        def work(tensors):
            calls.append(name)
            return half_and_double(engine)(tensors)

        return work

    launch = engine.as_one_launch(named("adapts"), named("does not"))
    for seed in range(3):
        launch([picture(5, seed=seed)])
    assert calls == ["adapts", "does not", "does not", "does not"]  # recorded, and by the stand-in replayed twice


def test_without_memory_to_record_a_whole_the_network_alone_is(engine, recorder):
    work, record = half_and_double(engine), recorder.__call__
    launch = engine.as_one_launch(work, work)

    class TooLarge(Recorder):
        def __call__(self, recordable, examples):
            if recordable.__name__ == "as_a_whole":
                raise DeviceMemoryError("no")
            return record(recordable, examples)

    engine._recordings._make_recorder = TooLarge
    engine._recordings.forget()
    expected = work([picture(5, seed=3)])
    for _ in range(5):
        found = launch([picture(5, seed=3)])
        assert all(torch.allclose(out, wanted, atol=1e-6) for out, wanted in zip(found, expected, strict=True))
    assert set(recorder.shapes) == {(1, 3, 5, 4)} and len(recorder.replayed) >= 2


def test_works_of_other_dtypes_are_other_works(engine, recorder):
    def work(tensors):
        return [tensors[0].float() + 1]

    launch = engine.as_one_launch(work, work)
    for dtype in (torch.uint8, torch.uint16, torch.uint8, torch.uint16):
        (out,) = launch([torch.ones((2, 4, 4), dtype=dtype)])
        assert torch.equal(out, torch.full((2, 4, 4), 2.0))
    assert len(recorder.shapes) == 2


@pytest.mark.parametrize("inside", [True, False])
def test_it_does_not_matter_in_which_mode_of_torch_it_is_called(engine, recorder, inside):
    work = half_and_double(engine)
    launch = engine.as_one_launch(work, work)
    for seed in range(6):
        x = picture(5, seed=seed)
        with torch.inference_mode((seed < 3) is inside):
            out, _ = launch([x])
        torch.testing.assert_close(out, half_and_double(engine)([x])[0], rtol=0, atol=1e-6)


def test_a_work_that_nobody_has_any_more_holds_no_memory(engine, recorder):
    work = half_and_double(engine)
    launch = engine.as_one_launch(work, work)
    for _ in range(2):
        launch([picture(5)])
    assert recorder.alive
    del launch
    gc.collect()
    assert not recorder.alive


class OneShapeLane(HostLane):
    one_shape = True


@pytest.mark.parametrize("formats", [("yuv420p", "yuv420p"), ("yuva444p10le", "yuva444p10le"), ("gbrp", "yuv420p10le")])
def test_frames_of_recorded_batches_are_those_of_others(recorder, formats):
    source, target = make_format(formats[0], 18, 10), make_format(formats[1], 36, 20)
    frames, found = make_frames(source, 11), []
    for engine in (
        TorchEngine(make_network(), CPU, "fp32"),
        CudaGraphEngine(make_network(), CPU, "fp32", make_recorder=lambda: recorder),
    ):
        upscaler = Upscaler(UpscaleOptions(model="lanczos", device="cpu", scale=2))
        upscaler._engine = engine
        sizes = {"batch": 2, "queue_batches": 2, "time_base": Fraction(1)}
        worker = FrameWorker(upscaler, source, target, Orientation(), OneShapeLane(), **sizes)
        found.append([planes for _, planes in stream(worker, frames, batch=2, queue_batches=2)])
        times = worker.with_device_times(StageTimes.total([]))
        assert (times.network_busy_seconds == times.compute_busy_seconds) is (engine.info.engine == "cuda-graphs")
    assert len(recorder.shapes) == 1 and len(recorder.replayed) == 5  # one shape: six batches, the last filled up
    assert len(found[0]) == len(found[1]) == 11
    for planes, others in zip(*found, strict=True):
        assert all(np.array_equal(plane, other) for plane, other in zip(planes, others, strict=True))


def test_absence_is_told():
    assert (why_absent() is None) == torch.cuda.is_available()
