"""Frames that are no pictures: found, computed again in fp32, counted; fades, black frames and grain are let be."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

import vidsr.run.upscale
from vidsr.devices.lanes import HostLane
from vidsr.errors import NumericError
from vidsr.events import Finished, Notice
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.guard import fault, measure, worse_of
from vidsr.pixels.sizes import Orientation
from vidsr.run.frame_worker import FrameWorker
from vidsr.run.prepare import prepare

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEIGHT, NUM_FRAMES = 16, 12, 7


class DeepLane(HostLane):
    """Several batches on their way, as on a GPU."""

    depth = 2


class FaultyEngine:
    """Hands pictures on, but spoils some of those it sees, counted from 0."""

    def __init__(self, inner, precision, spoil, chosen):
        self.info = dataclasses.replace(inner.info, precision=precision)
        self._spoil, self._chosen = spoil, chosen
        self.num_seen = 0

    def as_one_launch(self, work, recordable):
        return work

    def run(self, x):
        out = x.clone()
        for index in range(len(out)):
            if self.num_seen in self._chosen:
                self._spoil(out[index])
            self.num_seen += 1
        return out


def one_nan(picture):
    picture[1, 3, 5] = torch.nan


def one_infinity(picture):
    picture[2, -1, -1] = -torch.inf


def black(picture):
    picture.zero_()


def below_black(picture):
    picture.sub_(3)


def one_value(picture):
    picture.fill_(0.4)


SPOILERS = [one_nan, one_infinity, black, below_black, one_value]


def make_format(name, scale=1):
    color = ColorTags(matrix=1, full_range=True, siting="left")
    return PictureFormat(width=WIDTH * scale, height=HEIGHT * scale, layout=pixel_layout(name), color=color)


def make_frames(picture, count=NUM_FRAMES):
    generator = np.random.default_rng(5)
    if picture.layout.is_float:
        return [[generator.random(s, np.float32) for s in picture.plane_shapes] for _ in range(count)]
    stop = picture.layout.max_code + 1
    return [[generator.integers(0, stop, s, picture.layout.dtype) for s in picture.plane_shapes] for _ in range(count)]


def make_worker(name, *, batch, lane=None, spoil=None, chosen=(), precision="fp16", **options):
    upscaler = Upscaler(UpscaleOptions(model="lanczos", device="cpu", **options))
    if spoil is not None:
        upscaler._engine = FaultyEngine(upscaler._engine, precision, spoil, chosen)
    source, target = make_format(name), make_format(name, 2)
    return FrameWorker(
        upscaler,
        source,
        target,
        Orientation(),
        lane or HostLane(),
        time_base=Fraction(1, 25),
        batch=batch,
        queue_batches=2,
    )


def run(worker, frames):
    """(pts, planes) of all that comes out; what is given back is spoiled at once."""
    come = []

    def batches():
        held = None
        for number, planes in enumerate(frames):
            if held is None:
                held = worker.free_inputs.get()
                held.times = []
            held.append(planes, FrameTime(pts=number, duration=1))
            if len(held) == held.capacity or number == len(frames) - 1:
                yield held
                held = None

    for out in worker.run(batches()):
        come += [(time.pts, [plane[n].copy() for plane in out.planes]) for n, time in enumerate(out.times)]
        for plane in out.planes:
            plane.fill(0x55)
        worker.free_outputs.put(out)
    return come


def assert_same(found, wanted):
    assert [pts for pts, _ in found] == [pts for pts, _ in wanted]
    for (_, planes), (_, expected) in zip(found, wanted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, expected, strict=True))


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize("lane", [HostLane, DeepLane])
@pytest.mark.parametrize(("batch", "chosen"), [(1, {0}), (1, {3, 4}), (3, {1}), (3, {0, 2, 6}), (7, {0, 1, 6})])
def test_a_frame_that_fails_once_is_computed_again_in_fp32(spoil, lane, batch, chosen):
    frames = make_frames(make_format("gbrp"))
    untroubled = make_worker("gbrp", batch=batch)
    worker = make_worker("gbrp", batch=batch, lane=lane(), spoil=spoil, chosen=chosen)
    assert_same(run(worker, frames), run(untroubled, frames))
    assert (worker.tally.num_recomputed, untroubled.tally.num_recomputed) == (len(chosen), 0)
    assert worker._upscaler.exact is worker._upscaler.exact is not worker._upscaler
    # What was no picture is in no mean either.
    assert worker.tally.color_drift == untroubled.tally.color_drift
    assert all(np.isfinite(worker.tally.color_drift))


def test_on_the_cpu_the_second_try_is_the_same_again():
    frames = make_frames(make_format("yuv420p"))
    worker = make_worker("yuv420p", batch=1, spoil=one_nan, chosen={2}, precision="fp32")
    assert_same(run(worker, frames), run(make_worker("yuv420p", batch=1), frames))
    assert worker.tally.num_recomputed == 1
    assert worker._upscaler.exact is worker._upscaler


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (one_nan, "values that are not finite"),
        (one_infinity, "values that are not finite"),
        (black, r"one value everywhere, where the source has \d+ levels of 255 to show"),
        (below_black, "one value everywhere"),
    ],
)
@pytest.mark.parametrize(("batch", "lane"), [(1, HostLane), (3, DeepLane)])
def test_failing_twice_stops_with_the_time_and_what_was_found(spoil, found, batch, lane):
    always = range(4, 1000)
    worker = make_worker("gbrp", batch=batch, lane=lane(), spoil=spoil, chosen=always, precision="fp32")
    text = rf"frame at 0:00:00\.160 \(pts 4\): lanczos returned {found}.* in fp32 once more {found}"
    with pytest.raises(NumericError, match=text):
        run(worker, make_frames(make_format("gbrp")))


def test_the_exact_upscaler_can_fail_too():
    worker = make_worker("gbrp", batch=2, spoil=black, chosen={1})
    exact = worker._upscaler.exact
    exact._engine = FaultyEngine(exact._engine, "fp32", one_nan, {0})
    with pytest.raises(NumericError, match=r"\(pts 1\).* returned one value.* once more values that are not finite"):
        run(worker, make_frames(make_format("gbrp")))


def test_alpha_that_is_no_matte_is_computed_again():
    frames = make_frames(make_format("gbrap"))
    wanted = run(make_worker("gbrap", batch=1, alpha="network"), frames)
    # The engine sees each frame's colour and then its alpha.
    worker = make_worker("gbrap", batch=1, alpha="network", spoil=one_nan, chosen={3, 7})
    assert_same(run(worker, frames), wanted)
    assert worker.tally.num_recomputed == 2


@pytest.mark.parametrize("value", [0, 255])
def test_flat_mattes_are_mattes(value):
    frames = [[*planes[:3], np.full_like(planes[3], value)] for planes in make_frames(make_format("gbrap"))]
    worker = make_worker("gbrap", batch=3)
    run(worker, frames)
    assert worker.tally.num_recomputed == 0


@pytest.mark.parametrize("spoil", [one_nan, one_infinity, black])
def test_light_is_looked_at_before_it_is_clipped(spoil, monkeypatch):
    monkeypatch.setattr(Upscaler, "is_network", True)
    frames = make_frames(make_format("gbrpf32le"))
    worker = make_worker("gbrpf32le", batch=2, spoil=spoil, chosen={1, 4})
    assert_same(run(worker, frames), run(make_worker("gbrpf32le", batch=2), frames))
    assert worker.tally.num_recomputed == 2


def grain(level, sigma, generator):
    return level + sigma / 255 * generator.standard_normal((1, 3, 60, 80))


def dots(share, height, generator):
    return np.broadcast_to(height * (generator.random((1, 1, 60, 80)) < share), (1, 3, 60, 80))


def title(generator):
    card = np.zeros((1, 3, 60, 80))
    card[..., 25:35, 20:60] = 0.9
    return card


PICTURES = {
    "black": lambda g: np.zeros((1, 3, 60, 80)),
    "white flash": lambda g: np.ones((1, 3, 60, 80)),
    "one colour": lambda g: np.full((1, 3, 60, 80), 0.3) * np.array([1, 0, 2])[:, None, None],
    "end of a fade": lambda g: 0.004 * g.random((1, 3, 60, 80)),
    "grain on black": lambda g: grain(0, 10, g),
    "grain on gray": lambda g: grain(0.5, 20, g),
    "noise": lambda g: g.random((1, 3, 60, 80)),
    "stars": lambda g: dots(0.002, 1.0, g),
    "title card": title,
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_pass_as_they_are_and_smoothed(name):
    source = torch.from_numpy(np.ascontiguousarray(PICTURES[name](np.random.default_rng(1)))).float().clamp(0, 1)
    for result in (source, source * 1.02 - 0.01, torch.nn.functional.avg_pool2d(source, 3, 1, 1)):
        assert fault(measure(source, result)[0]) is None


def test_what_a_network_smooths_down_to_less_than_a_level_passes():
    # As RealESRGAN_x4plus_anime_6B does: the source 19 levels from black, the result within 0.9 levels.
    source = torch.from_numpy(grain(0.03, 20, np.random.default_rng(2))).float().clamp(0, 1)
    assert 15 < 255 * source.square().mean().sqrt() < 21
    result = torch.rand(1, 3, 120, 160, generator=torch.Generator().manual_seed(1)) * 0.9 / 255
    assert fault(measure(source, result)[0]) is None
    assert fault(measure(source, result - 0.02)[0]) is None  # clipped to plain black
    assert fault(measure(source, torch.zeros_like(result))[0]) is not None  # but never the same number everywhere


def test_a_flat_source_may_become_another_value_but_not_black():
    source = torch.ones(1, 3, 20, 20)
    for value in (0.3, 0.999, 1.2):
        assert fault(measure(source, torch.full((1, 3, 40, 40), value))[0]) is None
    for value in (0.0, -1.0):
        found = fault(measure(source, torch.full((1, 3, 40, 40), value))[0])
        assert found == "one value everywhere, where the source has 255 levels of 255 to show"


def test_nearly_black_may_become_black():
    source = torch.full((1, 3, 20, 20), 5 / 255)
    assert fault(measure(source, torch.full((1, 3, 40, 40), -0.02))[0]) is None


def test_dark_scenes_that_turn_black_are_found():
    source = torch.from_numpy(grain(0.05, 2, np.random.default_rng(3))).float()
    assert fault(measure(source, torch.zeros(1, 3, 120, 160))[0]) is not None


def test_each_frame_is_measured_for_itself():
    source = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    result = source.clone()
    result[1, 0, 0, 0], result[2] = torch.inf, 0
    measures = measure(source, result)
    assert [fault(row) is None for row in measures] == [True, False, False, True]
    assert [fault(row) is None for row in worse_of(measures, measures.flip(0))] == [True, False, False, True]


def test_the_run_tells_how_many_frames_were_computed_again(make_clip, tmp_path):
    clip = make_clip(frames=5)
    events = []
    options = UpscaleOptions(model="lanczos", device="cpu", batch=2, codec="ffv1")
    results = []
    for spoiled in (False, True):
        upscaler = Upscaler(options)
        if spoiled:
            upscaler._engine = FaultyEngine(upscaler._engine, "fp16", black, {0, 3})
        prepared = prepare(clip.path, tmp_path / f"{spoiled}.mkv", options, overwrite=False)
        results.append(vidsr.run.upscale.Run(prepared, events.append, upscaler=upscaler).execute())
    assert [result.num_recomputed for result in results] == [0, 2]
    assert [event.num_recomputed for event in events if isinstance(event, Finished)] == [0, 2]
    texts = [event.text for event in events if isinstance(event, Notice) and "fp32" in event.text]
    assert texts == ["2 frames were no pictures at first and were computed again in fp32"]
    assert results[0].color_drift == results[1].color_drift
