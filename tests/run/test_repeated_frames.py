"""Repeated frames: computed once, shown as often as in the source, and not a bit otherwise than computed each time."""

from __future__ import annotations

import threading
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vidsr.devices.lanes import HostLane
from vidsr.events import Finished, Progress
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.inference.unchanged_regions import Regions
from vidsr.inference.upscaler import Upscaler
from vidsr.media.read.video import DecodedFrame
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import save_safetensors
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.stage import Channel, run_stages
from vidsr.pixels.sizes import Orientation
from vidsr.run.batch import HostBatch
from vidsr.run.frame_worker import FrameWorker
from vidsr.run.repeated_frames import _MAX_REPEATS, distinct_batches
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

ON_TWOS = "aabbbcaadeeeeeeefg"


def make_format(name, width=12, height=10):
    color = ColorTags(matrix=1, full_range=True, siting="left")
    return PictureFormat(width=width, height=height, layout=pixel_layout(name), color=color)


def frames_of(pattern, picture):
    """One frame for each letter, the same for the same letter, each in memory of its own."""
    for number, letter in enumerate(pattern):
        generator = np.random.default_rng(ord(letter))
        planes = []
        for shape in picture.plane_shapes:
            if picture.layout.is_float:
                planes.append(generator.normal(0.4, 0.5, shape).astype(picture.layout.dtype))
            else:
                planes.append(generator.integers(0, picture.layout.max_code + 1, shape, picture.layout.dtype))
        yield DecodedFrame(FrameTime(pts=10 * number, duration=10, captions=bytes([number])), tuple(planes))


def batches_of(pattern, capacity, borders=(), picture=None):
    """[(letters in places, all letters shown, follows)] of each batch; times are checked on the way."""
    picture = picture or make_format("gray")
    free = Channel(2, [HostBatch(picture, capacity, pinned=False) for _ in range(2)])
    letters = {next(frames_of(letter, picture)).planes[0].tobytes(): letter for letter in pattern}
    found, number = [], 0
    for batch in distinct_batches(frames_of(pattern, picture), free, borders):
        places = [letters[batch.planes[0][place].tobytes()] for place in range(len(batch))]
        shown = ""
        for place, time, is_repeat in batch.shown():
            assert time == FrameTime(pts=10 * number, duration=10, captions=bytes([number]))
            assert is_repeat == shown.endswith(places[place])
            shown += places[place]
            number += 1
        assert batch.num_shown == len(shown)
        found.append(("".join(places), shown, batch.follows))
        free.put(batch)
    assert number == len(pattern)
    return found


@pytest.mark.parametrize(
    ("capacity", "places"),
    [(1, ["a", "b", "c", "a", "d", "e", "f", "g"]), (3, ["abc", "ade", "fg"]), (8, ["abcadefg"])],
)
def test_batches_are_full_of_distinct_frames(capacity, places):
    found = batches_of(ON_TWOS, capacity)
    assert [batch[0] for batch in found] == places
    assert "".join(batch[1] for batch in found) == ON_TWOS
    assert [batch[2] for batch in found] == [False] + [True] * (len(found) - 1)


def test_nothing_reaches_over_a_border():
    found = batches_of("aaaaabbbbb", 4, borders=[30, 70])
    assert found == [("a", "aaa", False), ("ab", "aabb", False), ("b", "bbb", False)]
    assert batches_of("aaa", 2, borders=[5, 6, 20, 90]) == [("a", "a", False)] * 3


def test_a_still_of_any_length_goes_on_its_way():
    pattern = "a" * (2 * _MAX_REPEATS + 5)
    found = batches_of(pattern, 4)
    assert [len(batch[1]) for batch in found] == [_MAX_REPEATS + 1, _MAX_REPEATS + 1, 3]
    assert [batch[2] for batch in found] == [False, True, True]


def test_no_frames_no_batches():
    assert batches_of("", 2) == []


@pytest.mark.parametrize("name", ["yuv420p", "yuva444p10le", "gbrapf32le", "grayf16le"])
@pytest.mark.parametrize("spot", [(0, 0), (-1, -1)])
def test_one_sample_of_any_plane_makes_another_frame(name, spot):
    picture = make_format(name, 70, 130)
    for plane in range(len(picture.plane_shapes)):
        (first,), (second,) = frames_of("a", picture), frames_of("a", picture)
        second.planes[plane][spot] += 1
        free = Channel(1, [HostBatch(picture, 4, pinned=False)])
        (batch,) = distinct_batches([first, first, second, second, first], free)
        assert [list(batch.repeats), len(batch)] == [[0, 1], 3]


def test_floats_are_compared_by_their_bits():
    picture = make_format("grayf32le", 4, 4)
    values = [0.0, -0.0, np.nan, np.nan, 0.0, 0.0]
    frames = [
        DecodedFrame(FrameTime(pts=n, duration=1), (np.full((4, 4), value, np.float32),))
        for n, value in enumerate(values)
    ]
    (batch,) = distinct_batches(frames, Channel(1, [HostBatch(picture, 8, pinned=False)]))
    assert (len(batch), list(batch.repeats)) == (4, [2, 3])


def worked(pattern, name, target_name, batch, monkeypatch, *, all_computed=False, model="lanczos"):
    """All frames through a worker, in order with their times; and the worker."""
    source, target = make_format(name), make_format(target_name, 24, 20)
    upscaler = Upscaler(UpscaleOptions(model=model, device="cpu"))
    sizes = {"batch": batch, "queue_batches": 2}
    worker = FrameWorker(upscaler, source, target, Orientation(), HostLane(), time_base=Fraction(1, 100), **sizes)
    come = []

    def sink(batches):
        for out in batches:
            come.extend((time, [plane[index].tobytes() for plane in out.planes]) for index, time, _ in out.shown())
            for plane in out.planes:
                plane.fill(0x55)
            worker.free_outputs.put(out)

    with monkeypatch.context() as patched:
        if all_computed:
            patched.setattr("vidsr.run.repeated_frames._is_shown_again", lambda *_: False)
        rings = (worker.free_inputs, worker.free_outputs)
        rescue = threading.Timer(60, lambda: [ring.stop() for ring in rings])
        rescue.start()
        try:
            run_stages(
                lambda: distinct_batches(frames_of(pattern, source), worker.free_inputs),
                worker.run,
                sink,
                capacity=2,
                rings=rings,
            )
            assert rescue.is_alive(), "deadlock"
        finally:
            rescue.cancel()
    return come, worker


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(
    ("name", "target_name"),
    [
        ("yuv420p", "yuv420p"),
        ("yuv422p10le", "yuv420p"),  # dithered
        ("gray12le", "gray12le"),
        ("yuva444p10le", "yuva420p"),
        ("gbrapf32le", "gbrapf16le"),
        ("grayf16le", "grayf32le"),
    ],
)
def test_not_a_bit_is_otherwise_than_computed_each_time(name, target_name, batch, monkeypatch):
    come, worker = worked(ON_TWOS, name, target_name, batch, monkeypatch)
    wanted, other = worked(ON_TWOS, name, target_name, batch, monkeypatch, all_computed=True)
    assert come == wanted and len(come) == len(ON_TWOS)
    assert (worker.tally.num_repeated, other.tally.num_repeated) == (len(ON_TWOS) - 8, 0)
    assert worker.tally.color_drift == pytest.approx(other.tally.color_drift, abs=1e-9)


def test_nor_with_a_network(monkeypatch):
    how = (ON_TWOS, "yuv420p", "yuv420p")
    model = "realesr-animevideov3"
    for batch in (1, 4):
        come, _ = worked(*how, batch, monkeypatch, model=model)
        wanted, _ = worked(*how, batch, monkeypatch, all_computed=True, model=model)
        assert come == wanted


def write_animation(path, pattern, *, pix_fmt="yuv420p", size=(32, 32), pts=None, keyframes=40):
    """Losslessly: each letter a picture, of which a small square tells which one it is; what was put in."""
    stamps = list(pts or range(len(pattern)))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25, options={"g": str(keyframes)})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        for letter, stamp in zip(pattern, stamps, strict=True):
            frame = av.VideoFrame(*size, pix_fmt)
            bits = frame.format.components[0].bits
            for index, plane in enumerate(frame.planes):
                lines = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
                lines = lines.reshape(plane.height, -1)
                rows, columns = np.mgrid[0 : lines.shape[0], 0 : lines.shape[1]]
                lines[:] = (80 + 20 * index + rows + 2 * columns) % 200 << (bits - 8)
                lines[4:7, 4:7] = ord(letter) << (bits - 8)
            frame.pts, frame.time_base = stamp, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return stamps


class PowerCutError(Exception):
    pass


def run(source, target, until=None, **given):
    events = []

    def on_event(event):
        events.append(event)
        if until is not None and isinstance(event, Progress) and event.num_frames_done >= until:
            raise PowerCutError

    how = {"model": "lanczos", "codec": "ffv1", "device": "cpu", **given}
    if until is not None:
        with pytest.raises(PowerCutError):
            upscale_video(source, target, UpscaleOptions(**how), on_event=on_event)
        return None
    result = upscale_video(source, target, UpscaleOptions(**how), on_event=on_event)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert (finished.num_repeated, finished.num_partly) == (result.num_repeated, result.num_partly)
    return result


def assert_equal_files(look, path, other):
    assert look.video(path).times == look.video(other).times
    pictures, others = look.planes(path), look.planes(other)
    assert len(pictures) == len(others)
    for planes, wanted in zip(pictures, others, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


@pytest.mark.parametrize(
    ("pix_fmt", "given"),
    [
        ("yuv420p", {}),
        ("yuv420p", {"batch": 4}),
        ("yuva420p", {"batch": 4}),
        ("yuv420p10le", {}),
        ("yuv420p", {"deinterlace": "bwdif"}),
        ("yuv420p", {"deinterlace": "bwdif:double"}),
        ("yuv420p", {"rotation": "apply"}),
    ],
)
def test_a_run_with_repeats_is_a_run_without(look, tmp_path, monkeypatch, pix_fmt, given):
    source = tmp_path / "in.mkv"
    irregular = [n + n // 3 for n in range(len(ON_TWOS))]
    write_animation(source, ON_TWOS, pix_fmt=pix_fmt, pts=None if "deinterlace" in given else irregular)
    result = run(source, tmp_path / "out.mkv", **given)
    monkeypatch.setattr("vidsr.run.repeated_frames._is_shown_again", lambda *_: False)
    whole = run(source, tmp_path / "whole.mkv", **given)
    assert whole.num_repeated == 0 < result.num_repeated
    if "deinterlace" not in given:
        assert result.num_repeated == len(ON_TWOS) - 8
        assert look.video(tmp_path / "out.mkv").times == look.video(source).times
    assert result.color_drift == pytest.approx(whole.color_drift, abs=1e-9)
    assert_equal_files(look, tmp_path / "out.mkv", tmp_path / "whole.mkv")


@pytest.mark.parametrize("batch", [1, 4])
def test_an_interrupted_run_gives_the_same_bits(look, tmp_path, batch):
    """The second segment begins in the middle of a repeat."""
    source, pattern = tmp_path / "in.mkv", ("aaabbcc" * 80)[:400]
    write_animation(source, pattern)
    whole = run(source, tmp_path / "whole.mkv", batch=batch)
    run(source, tmp_path / "out.mkv", until=270, batch=batch)
    resumed = run(source, tmp_path / "out.mkv", batch=batch)
    assert resumed.num_repeated == whole.num_repeated
    assert resumed.color_drift == whole.color_drift
    assert_equal_files(look, tmp_path / "out.mkv", tmp_path / "whole.mkv")


@pytest.fixture
def tiny_network(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "tiny.safetensors"
    save_safetensors(SRVGGNetCompact(scale=2, num_features=2, num_convs=1).eval(), path)
    return str(path)


def test_a_run_in_parts_is_a_run_of_the_whole(look, tmp_path, monkeypatch, tiny_network):
    source = tmp_path / "in.mkv"
    write_animation(source, "abcdefgghijk" * 3, size=(64, 48))
    result = run(source, tmp_path / "out.mkv", model=tiny_network)
    assert (result.num_repeated, result.num_partly) == (3, 32)
    monkeypatch.setattr(Regions, "suit", lambda *_: False)
    assert run(source, tmp_path / "whole.mkv", model=tiny_network).num_partly == 0
    assert_equal_files(look, tmp_path / "out.mkv", tmp_path / "whole.mkv")


def test_parts_are_the_same_after_an_interruption(look, tmp_path, monkeypatch, tiny_network):
    """Even with an engine whose crops are quite other than its whole pictures."""
    source, pattern = tmp_path / "in.mkv", ("abcdde" * 100)[:300]
    write_animation(source, pattern, size=(64, 48))
    run_network = Upscaler.run_network
    monkeypatch.setattr(Upscaler, "run_network", lambda self, x: run_network(self, x) + (x.shape[-1] < 64) * 0.1)
    whole = run(source, tmp_path / "whole.mkv", model=tiny_network)
    run(source, tmp_path / "out.mkv", until=270, model=tiny_network)
    resumed = run(source, tmp_path / "out.mkv", model=tiny_network)
    assert (resumed.num_repeated, resumed.num_partly) == (whole.num_repeated, whole.num_partly)
    assert whole.num_partly == 300 - whole.num_repeated - 2  # but the first of each segment
    assert_equal_files(look, tmp_path / "out.mkv", tmp_path / "whole.mkv")
