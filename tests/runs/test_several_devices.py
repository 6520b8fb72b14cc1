"""One file on several devices: the same result as on one, and all else that a run promises."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

import vidsr.run.frame_worker
import vidsr.run.segments
from vidsr.devices.names import resolve_devices
from vidsr.devices.threads import shared_threads, threads_of_engine
from vidsr.engines import winograd
from vidsr.errors import DeviceError, DeviceMemoryError, RunStoppedError
from vidsr.events import Finished, Notice, Progress, Started
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.plan import work_folder
from vidsr.run.frame_worker import FrameWorker
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run, upscale_video

pytestmark = pytest.mark.usefixtures("one_thread", "short_segments")

NUM_FRAMES = 100
HOW = {"model": "bicubic", "scale": Fraction(2), "codec": "ffv1"}


class PowerCutError(Exception):
    pass


@pytest.fixture
def clip(make_clip):
    """B-frames, and a keyframe every twelve frames: few segments begin at one."""
    return make_clip("in.mkv", size=(32, 32), frames=NUM_FRAMES, audio="flac", options={"g": "12", "bf": "3"})


@pytest.fixture
def workers(monkeypatch):
    """Names of the threads that computed, one for each batch."""
    names, start = [], FrameWorker._start

    def noted(self, *args):
        names.append(threading.current_thread().name)
        return start(self, *args)

    monkeypatch.setattr(FrameWorker, "_start", noted)
    return names


def run(clip, target, device, on_event=None, **given):
    events = []

    def keep(event):
        events.append(event)
        if on_event is not None:
            on_event(event)

    before = threading.active_count()
    try:
        upscale_video(clip.path, target, UpscaleOptions(**(HOW | {"device": device} | given)), on_event=keep)
    finally:
        assert threading.active_count() == before
    return events


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def assert_same(look, path, other):
    assert look.video(path).times == look.video(other).times
    for planes, wanted in zip(look.planes(path), look.planes(other), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))
    assert look.packets(path, "audio")[:1] == look.packets(other, "audio")[:1]


@pytest.mark.parametrize("given", [{}, {"batch": 3, "start": Fraction(1), "stop": 90}, {"deinterlace": "bwdif"}])
def test_the_result_is_that_of_one(clip, look, tmp_path, workers, given):
    alone = run(clip, tmp_path / "one.mkv", "cpu", **given)
    assert len(set(workers)) == 1
    shared = run(clip, tmp_path / "three.mkv", "cpu,cpu,cpu", **given)
    assert len(set(workers)) == 3
    assert_same(look, tmp_path / "three.mkv", tmp_path / "one.mkv")
    (one,), (three,) = of(Finished, alone), of(Finished, shared)
    assert three.num_frames == one.num_frames
    assert three.color_drift == one.color_drift  # to the last bit: sums are made in the order of the segments
    done = [event.num_frames_done for event in of(Progress, shared)]
    assert done == sorted(done) and done[-1] == one.num_frames


def test_a_network_gives_the_same(make_clip, look, tmp_path):
    clip = make_clip("in.mkv", size=(16, 16), frames=22)
    for device in ("cpu", "cpu,cpu"):
        run(clip, tmp_path / f"{device.count('c')}.mkv", device, model="realesr-animevideov3")
    assert_same(look, tmp_path / "2.mkv", tmp_path / "1.mkv")


def test_every_device_is_named(clip, tmp_path):
    (started,) = of(Started, run(clip, tmp_path / "out.mkv", "cpu,cpu"))
    assert started.device.startswith("2 x ")


@pytest.mark.parametrize(("first", "then"), [("cpu,cpu,cpu", "cpu"), ("cpu", "cpu,cpu")])
def test_a_run_goes_on_with_any_number(clip, look, tmp_path, first, then):
    def cut(event):
        if isinstance(event, Progress) and event.num_frames_done >= 65:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        run(clip, tmp_path / "out.mkv", first, on_event=cut)
    num_done = len(list(work_folder(tmp_path / "out.mkv").glob("*.segment")))
    assert num_done >= 3
    progress = of(Progress, run(clip, tmp_path / "out.mkv", then))
    assert progress[0].num_frames_before >= 8 * num_done
    run(clip, tmp_path / "whole.mkv", "cpu")
    assert_same(look, tmp_path / "out.mkv", tmp_path / "whole.mkv")


def test_a_stop_lets_every_device_finish_its_segment(clip, look, tmp_path):
    target, seen = tmp_path / "out.mkv", []

    def on_event(event):
        seen.append(event)
        if isinstance(event, Progress) and event.num_frames_done >= 30:
            upscale.request_stop()

    options = UpscaleOptions(**HOW, device="cpu,cpu")
    upscale = Run(prepare(clip.path, target, options), on_event)
    with pytest.raises(RunStoppedError, match=r"stopped with (\d+) of 1\d segments done") as caught:
        upscale.execute()
    segments = list(work_folder(target).glob("*.segment"))
    assert f"with {len(segments)} of" in str(caught.value)
    assert not list(work_folder(target).glob("*.part"))
    # What was told last is what is kept: nothing that was made was thrown away but what the queues held.
    assert of(Progress, seen)[-1].num_frames_done <= 10 * len(segments)
    run(clip, target, "cpu,cpu")
    run(clip, tmp_path / "whole.mkv", "cpu")
    assert_same(look, target, tmp_path / "whole.mkv")


@pytest.mark.parametrize("broken", [0, 1])
def test_a_failure_on_one_ends_all(clip, tmp_path, monkeypatch, broken):
    calls, upscale_tensor = [0], Upscaler.upscale_tensor
    lock = threading.Lock()

    def fail(self, *args):
        is_second = threading.current_thread().name == "vidsr-line-1"
        with lock:
            calls[0] += 1
            if calls[0] > 30 and is_second == bool(broken):
                raise ArithmeticError("no picture")
        return upscale_tensor(self, *args)

    monkeypatch.setattr(Upscaler, "upscale_tensor", fail)
    with pytest.raises(ArithmeticError, match="no picture") as caught:
        run(clip, tmp_path / "out.mkv", "cpu,cpu")
    assert "fail" in [entry.name for entry in caught.traceback]
    assert not (tmp_path / "out.mkv").exists()
    assert not list(work_folder(tmp_path / "out.mkv").glob("*.part"))
    monkeypatch.undo()


def test_pictures_are_numbered_through(clip, tmp_path):
    run(clip, tmp_path / "one" / "%04d.png", "cpu", codec="png")
    run(clip, tmp_path / "two" / "%04d.png", "cpu,cpu,cpu", codec="png")
    numbered = [f"{n:04d}.png" for n in range(1, NUM_FRAMES + 1)]
    for name in ("one", "two"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == numbered
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in numbered)


def test_pictures_have_no_gap_in_their_numbers_where_frames_do_not_come(clip, tmp_path, monkeypatch):
    """The plan counts all that a damaged source promises; the segments behind the damage must not count on it."""
    stamps = prepare(clip.path, tmp_path / "%04d.png", UpscaleOptions(codec="png")).source.pts
    read, lost = vidsr.run.segments.read, {stamps[n] for n in (3, 11, 12, 13, 55)}
    monkeypatch.setattr(vidsr.run.segments, "read", lambda *args: (f for f in read(*args) if f.time.pts not in lost))
    for device in ("cpu", "cpu,cpu"):
        folder = tmp_path / device.replace(",", "_")
        run(clip, folder / "%04d.png", device, codec="png")
        assert sorted(path.name for path in folder.iterdir()) == [f"{n:04d}.png" for n in range(1, NUM_FRAMES - 4)]


def test_one_segment_is_for_one_device(clip, tmp_path, workers):
    events = run(clip, tmp_path / "out.mkv", "cpu,cpu,cpu", stop=9)
    assert [e.text for e in of(Notice, events) if "1 of 3 devices work" in e.text]
    assert len(set(workers)) == 1


def test_memory_is_counted_for_all(clip, tmp_path, monkeypatch):
    worker = 4 * (32 * 32 * 3 // 2 + 64 * 64 * 3 // 2) + 12 * (32 * 32 + 2 * 64 * 64)
    monkeypatch.setattr(vidsr.run.frame_worker, "free_bytes", lambda device: 2 * worker)
    run(clip, tmp_path / "two.mkv", "cpu,cpu")
    with pytest.raises(DeviceMemoryError, match="at least"):
        run(clip, tmp_path / "three.mkv", "cpu,cpu,cpu")


def test_what_shares_a_memory_begins_with_its_share_and_all_with_the_same_tiles(monkeypatch):
    monkeypatch.setattr("vidsr.inference.upscaler.free_bytes", lambda device: 2 * 1280 * 300 * 300)
    upscaler = Upscaler(UpscaleOptions(model="realesr-animevideov3", device="cpu,cpu", scale=4, engine="torch"))
    assert upscaler.engine_info.bytes_per_pixel == 1280
    alone = upscaler.tile_px_for((300, 300), (1200, 1200))
    members = upscaler.team(at_most=2)
    assert alone == 0
    assert [member.tile_px_for((300, 300), (1200, 1200)) for member in members] == [int(45000**0.5) - 128] * 2
    assert upscaler.team(at_most=1) == [upscaler]
    assert upscaler.tile_px_for((300, 300), (1200, 1200)) == 0


def test_a_team_is_made_once_and_only_as_large_as_needed():
    upscaler = Upscaler(UpscaleOptions(model="nearest", device="cpu,cpu,cpu"))
    two = upscaler.team(at_most=2)
    assert two[0] is upscaler and len(two) == 2
    three = upscaler.team(at_most=9)
    assert three[:2] == two and len(three) == 3
    assert all(member.devices == (torch.device("cpu"),) for member in three[1:])


def test_workers_share_the_threads():
    torch.set_num_threads(5)
    inside = []

    def note(take_share):
        take_share()
        inside.append(torch.get_num_threads())

    with shared_threads(2) as take_share:
        other = threading.Thread(target=note, args=[take_share])
        other.start()
        other.join()
        note(take_share)
    assert inside == [2, 2] and torch.get_num_threads() == 5


def test_workers_share_the_threads_that_an_engine_was_measured_with():
    with shared_threads(2) as take_share:
        take_share()
        assert [threads_of_engine(num_threads) for num_threads in (6, 7, 1)] == [3, 3, 1]
    assert threads_of_engine(6) == 6


@pytest.mark.skipif(winograd.why_absent() is not None, reason=str(winograd.why_absent()))
def test_engines_with_threads_of_their_own_share_them(make_clip, tmp_path, monkeypatch):
    library, engines = winograd._library(), {}
    compute = library.vidsr_network_run

    def noted(handle, *arguments):
        engines.setdefault(handle.value, set()).add(arguments[-1])
        return compute(handle, *arguments)

    monkeypatch.setattr(library, "vidsr_network_run", noted)
    # As on a machine of four processors.
    monkeypatch.setattr("vidsr.inference.upscaler.settle", lambda device, num_threads: None)
    torch.set_num_threads(4)
    clip = make_clip("in.mkv", size=(16, 16), frames=22)
    how = {"model": "realesr-animevideov3", "engine": "winograd"}
    run(clip, tmp_path / "two.mkv", "cpu,cpu", **how)
    assert list(engines.values()) == [{2}, {2}]
    engines.clear()
    run(clip, tmp_path / "one.mkv", "cpu", **how)
    assert list(engines.values()) == [{4}]
    engines.clear()
    run(clip, tmp_path / "three.mkv", "cpu", **how, threads=3)
    assert list(engines.values()) == [{3}]
    engines.clear()
    run(clip, tmp_path / "shared.mkv", "cpu,cpu", **how, threads=6)
    assert list(engines.values()) == [{3}, {3}]


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("names", "devices"),
    [
        ("auto", ["cuda:0"]),
        ("cuda", ["cuda:0"]),
        ("cuda:1", ["cuda:1"]),
        ("cuda:1,cuda:0", ["cuda:1", "cuda:0"]),
        ("cuda:0, cuda:1", ["cuda:0", "cuda:1"]),
        ("cuda:all", ["cuda:0", "cuda:1"]),
        ("cpu,cpu", ["cpu", "cpu"]),
    ],
)
def test_devices_by_their_names(two_gpus, names, devices):
    assert [str(device) for device in resolve_devices(names)] == devices


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("cuda:0,cuda:2", "there are 2 GPUs, cuda:0 to cuda:1"),
        ("cuda:0,cuda:0", "cuda:0 is there twice"),
        ("cuda,cuda:0", "cuda:0 is there twice"),
        ("cuda:0,cpu", "fp16 and the CPU in fp32"),
        ("cuda:0,tpu", "device is 'tpu'"),
        ("cuda:0,", "device is ''"),
        ("auto,cuda:1", "stand alone"),
        ("cuda:all,cuda:1", "stand alone"),
    ],
)
def test_devices_that_cannot_be_had_together(two_gpus, names, said):
    with pytest.raises(DeviceError, match=said):
        resolve_devices(names)


def test_all_gpus_of_a_machine_without_any():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="cuda was asked for, but"):
        resolve_devices("cuda:all")


def test_how_many_devices_there_are_is_no_other_run():
    digests = {UpscaleOptions(device=name).digest() for name in ("cpu", "cpu,cpu")}
    assert len(digests) == 1
    digests |= {UpscaleOptions(device=name).digest() for name in ("cuda", "cuda:1", "cuda:0,cuda:1", "cuda:all")}
    assert len(digests) == 2
