"""Which shapes the engine of CUDA graphs records, keeps and gives up; with stand-ins for graphs, on the CPU."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

import vidsr.engines.graphs
from vidsr.engines.graphs import CudaGraphEngine, Recording, why_absent
from vidsr.errors import DeviceMemoryError
from vidsr.models.compact import SRVGGNetCompact

CPU = torch.device("cpu")


def make_network():
    torch.manual_seed(0)
    return SRVGGNetCompact(scale=2, num_features=4, num_convs=1).eval().requires_grad_(False)


class Recorder:
    """Records as CUDA does: what was computed for the static input is computed again into the static output."""

    made = 0

    def __init__(self):
        type(self).made += 1
        self.shapes, self.replayed, self.error, self.alive = [], [], None, weakref.WeakSet()

    def __call__(self, compute, example):
        if self.error is not None:
            raise self.error
        static_in = example.clone()
        static_out = compute(static_in).clone()
        shape = tuple(example.shape)
        self.shapes.append(shape)

        def replay():
            self.replayed.append(shape)
            static_out.copy_(compute(static_in))

        self.alive.add(static_out)
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
    monkeypatch.setattr(vidsr.engines.graphs, "_MAX_SHAPES", 3)
    monkeypatch.setattr(vidsr.engines.graphs, "_IDLE_CALLS", 10)
    for _ in range(5):  # in turns: recording the fourth and fifth in place of others would never end
        for height in range(1, 6):
            engine.run(picture(height))
    assert [shape[2] for shape in recorder.shapes] == [1, 2, 3]
    for _ in range(20):  # the others have gone
        engine.run(picture(5))
    assert [shape[2] for shape in recorder.shapes] == [1, 2, 3, 5]
    gc.collect()
    assert len(recorder.alive) == 3


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
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

    engine._make_recorder = Recorder
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


def test_absence_is_told():
    assert (why_absent() is None) == torch.cuda.is_available()
