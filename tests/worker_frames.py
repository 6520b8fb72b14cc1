"""Frames, workers and a device that is as late as one may be, for the tests of all that a worker does."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import torch

from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.stage import run_stages
from vidsr.pixels.sizes import Orientation
from vidsr.run.frame_worker import FrameWorker

UPRIGHT = Orientation()
POISON_IN, POISON_OUT = 0xAA, 0x55
TIMEOUT_SECONDS = 60  # a deadlock fails instead of hanging; the tests take milliseconds


def make_format(name, width, height, full_range=True):
    color = ColorTags(matrix=1, full_range=full_range, siting="left")
    return PictureFormat(width=width, height=height, layout=pixel_layout(name), color=color)


def make_worker(
    source, target, lane, *, batch=2, queue_batches=2, device="cpu", turned=UPRIGHT, model="nearest", **given
):
    upscaler = Upscaler(UpscaleOptions(model=model, device=device, **given))
    sizes = {"batch": batch, "queue_batches": queue_batches}
    return FrameWorker(upscaler, source, target, turned, lane, time_base=Fraction(1, 100), **sizes)


def make_frames(picture, count):
    generator = np.random.default_rng(count)
    dtype, stop = picture.layout.dtype, picture.layout.max_code + 1
    return [[generator.integers(0, stop, shape, dtype) for shape in picture.plane_shapes] for _ in range(count)]


class PromisingLane:
    """A device that is as late as one may be: copies happen when they are waited for, and never before.

    What is uploaded must stay in the host's buffer until then; what is written into before is found out.
    """

    pinned = False

    def __init__(self, depth, one_shape=True):
        self.depth, self.one_shape = depth, one_shape
        self.num_in_flight_most = 0
        self._uploaded = None
        self._in_flight = []
        self._is_computing = False

    def upload(self, planes):
        assert not self._is_computing
        self._uploaded = [(plane, plane.clone()) for plane in planes]
        return [plane.clone() for plane in planes]

    @contextmanager
    def computing(self):
        self._is_computing = True
        yield
        self._is_computing = False

    def download(self, planes, into):
        assert not self._is_computing
        addresses = {target.data_ptr() for target in into}
        for _, targets, _ in self._in_flight:
            assert addresses.isdisjoint(t.data_ptr() for t in targets), "a buffer was taken while it was on its way"
        for target in into:
            target.fill_(POISON_OUT)
        job = ([plane.clone() for plane in planes], list(into), self._uploaded)
        self._in_flight.append(job)
        self.num_in_flight_most = max(self.num_in_flight_most, len(self._in_flight))

        def wait():
            assert self._in_flight[0] is job, "waited for out of order"
            self._in_flight.pop(0)
            for plane, target in zip(job[0], job[1], strict=True):
                assert (target.int() == POISON_OUT).all(), "written to while it was on its way"
                target.copy_(plane)
            for plane, kept in job[2]:
                assert torch.equal(plane, kept), "an input was reused while it was on its way"

        return wait


def stream(worker, frames, *, batch, queue_batches, seconds_per_sink_batch=0.0):
    """Everything through all stages as a run does it; the frames that come out, with their times."""
    come = []
    give_back = worker.free_inputs.put

    def spoil_and_give_back(held):
        held.times.clear()
        for plane in held.planes:
            plane.fill(POISON_IN)
        give_back(held)

    worker.free_inputs.put = spoil_and_give_back

    def source():
        held = None
        for number, planes in enumerate(frames):
            if held is None:
                held = worker.free_inputs.get()
            for target, plane in zip(held.planes, planes, strict=True):
                target[len(held)] = plane
            held.times.append(FrameTime(pts=number * 10, duration=10))
            if len(held) == batch:
                yield held
                held = None
        if held is not None:
            yield held

    def sink(batches):
        for out in batches:
            time.sleep(seconds_per_sink_batch)
            for index, stamp in enumerate(out.times):
                come.append((stamp, [plane[index].copy() for plane in out.planes]))
            out.times.clear()
            for plane in out.planes:
                plane.fill(POISON_OUT)
            worker.free_outputs.put(out)

    rings = (worker.free_inputs, worker.free_outputs)
    rescue = threading.Timer(TIMEOUT_SECONDS, lambda: [ring.stop() for ring in rings])
    rescue.start()
    try:
        run_stages(source, worker.run, sink, capacity=queue_batches, rings=rings)
        assert rescue.is_alive(), "deadlock"
    finally:
        rescue.cancel()
        rescue.join()
    return come


def doubled(plane):
    return plane.repeat(2, 0).repeat(2, 1)
