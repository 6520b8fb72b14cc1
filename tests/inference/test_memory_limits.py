"""Running out of memory: what fitted is remembered and said, and no frame is dropped, repeated or half-pasted."""

from __future__ import annotations

import json
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

import vidsr.inference.upscaler
from vidsr.engines.base import EngineInfo
from vidsr.errors import DeviceMemoryError
from vidsr.events import Notice
from vidsr.inference.memory_limits import Limit, limits_path, recall, remember
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
FREE = 1 << 30


class SmallEngine:
    """Doubles pictures exactly, and has memory for so many pixels at once; what it raises can be chosen."""

    def __init__(self, num_pixels_that_fit, error=None):
        self.num_pixels_that_fit = num_pixels_that_fit
        self.error = error or DeviceMemoryError("does not fit")
        self.tried = []
        self.info = EngineInfo(
            engine="small",
            device=CPU,
            precision="fp32",
            scale=2,
            reach_px=3,
            align_px=1,
            bytes_per_pixel=0,
            flops_per_pixel=None,
        )

    def as_one_launch(self, work, recordable):
        return work

    def run(self, x):
        num_frames, _, height, width = x.shape
        self.tried.append((num_frames, height, width))
        if num_frames * height * width > self.num_pixels_that_fit:
            raise self.error
        return functional.interpolate(functional.max_pool2d(x, 7, 1, 3), scale_factor=2.0, mode="nearest")


@pytest.fixture
def free(monkeypatch):
    """The free memory of the device, to be set."""
    box = [FREE]
    monkeypatch.setattr(vidsr.inference.upscaler, "free_bytes", lambda device: box[0])
    return box


def make_upscaler(num_pixels_that_fit, error=None, **options):
    """With the texts that it tells, and its engine."""
    texts = []
    options = UpscaleOptions(model="lanczos", scale=Fraction(2), device="cpu", **options)
    upscaler = Upscaler(options, lambda event: texts.append(event.text))
    upscaler._engine = SmallEngine(num_pixels_that_fit, error)
    return upscaler, upscaler._engine, texts


def make_picture(height, width, num_frames=1):
    return torch.rand(num_frames, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_the_next_run_begins_with_what_fitted(free, limits_file):
    x = make_picture(150, 200, 2)
    expected = make_upscaler(10**9)[0].upscale_tensor(x)
    upscaler, engine, texts = make_upscaler(60 * 60)
    assert torch.equal(upscaler.upscale_tensor(x), expected)
    assert torch.equal(upscaler.upscale_tensor(x), expected)
    assert engine.tried[0] == (2, 150, 200)
    assert texts == ["out of memory with 2 whole frames at once: goes on with tiles of 50 pixels"]  # once
    assert limits_file.is_file()

    upscaler, engine, texts = make_upscaler(60 * 60)
    assert torch.equal(upscaler.upscale_tensor(x), expected)
    assert torch.equal(upscaler.upscale_tensor(x[:1]), expected[:1])
    assert set(engine.tried) == {(1, 56, 56)}
    assert texts == ["begins with tiles of 50 pixels: more did not fit into memory last time"]


def test_fewer_frames_are_remembered_too(free):
    x = make_picture(60, 80, 7)
    upscaler, _, texts = make_upscaler(3 * 60 * 80)
    upscaler.upscale_tensor(x)
    assert texts == ["out of memory with 7 whole frames at once: goes on with 3 whole frames at once"]
    upscaler, engine, texts = make_upscaler(3 * 60 * 80)
    upscaler.upscale_tensor(x)
    assert engine.tried == [(3, 60, 80), (3, 60, 80), (1, 60, 80)]
    assert texts == ["begins with 3 whole frames at once: more did not fit into memory last time"]


@pytest.mark.parametrize("change", ["size", "engine", "precision", "device", "network"])
def test_a_limit_is_for_one_device_network_and_size(free, change, monkeypatch):
    make_upscaler(60 * 60)[0].upscale_tensor(make_picture(150, 200))
    upscaler, engine, texts = make_upscaler(10**9)
    if change == "device":
        monkeypatch.setattr(vidsr.inference.upscaler, "device_name", lambda device: "another one")
    elif change == "network":
        upscaler._network_name = "another.pth of 9 bytes"
    elif change != "size":
        engine.info = vidsr.inference.upscaler.replace(engine.info, **{change: "another"})
    width = 210 if change == "size" else 200
    upscaler.upscale_tensor(make_picture(150, width))
    assert (engine.tried, texts) == ([(1, 150, width)], [])


@pytest.mark.parametrize(("now", "held"), [(FREE // 2, True), (FREE * 5 // 4, True), (FREE * 4 // 3, False)])
def test_where_a_neighbour_has_left_more_is_tried_again(free, now, held):
    make_upscaler(60 * 60)[0].upscale_tensor(make_picture(150, 200))
    free[0] = now
    upscaler, engine, texts = make_upscaler(10**9)
    upscaler.upscale_tensor(make_picture(150, 200))
    assert (engine.tried[0] != (1, 150, 200), bool(texts)) == (held, held)


def test_given_tiles_count_more_than_free_memory_and_remembered_limits(free):
    x = make_picture(150, 200)
    make_upscaler(60 * 60)[0].upscale_tensor(x)
    upscaler, engine, texts = make_upscaler(10**9)
    upscaler.begin_with_tiles(0)
    upscaler.upscale_tensor(x)
    assert (engine.tried, texts, upscaler.tile_px) == ([(1, 150, 200)], [], 0)
    upscaler.begin_with_tiles(100)
    upscaler.upscale_tensor(x)
    assert (max(engine.tried[1:]), texts, upscaler.tile_px) == ((1, 81, 106), [], 100)
    upscaler, engine, texts = make_upscaler(60 * 60)
    upscaler.begin_with_tiles(0)
    upscaler.upscale_tensor(x)
    assert (texts, upscaler.tile_px) == (["out of memory with whole frames: goes on with tiles of 50 pixels"], 50)


def test_smaller_tiles_than_remembered_may_be_asked_for(free):
    make_upscaler(60 * 60)[0].upscale_tensor(make_picture(150, 200))
    for tile, shape in ((40, (1, 38 + 6, 40 + 6)), (100, (1, 56, 56))):
        upscaler, engine, texts = make_upscaler(10**9, tile=tile)
        upscaler.upscale_tensor(make_picture(150, 200))
        assert (set(engine.tried), len(texts)) == ({shape}, tile == 100)


def test_a_remembered_limit_can_still_be_too_much(free):
    x = make_picture(150, 200)
    whole = make_upscaler(10**9)[0].upscale_tensor(x)
    make_upscaler(110 * 110)[0].upscale_tensor(x)
    for expected in (
        [
            "begins with tiles of 100 pixels: more did not fit into memory last time",
            "out of memory with tiles of 100 pixels: goes on with tiles of 50 pixels",
        ],
        ["begins with tiles of 50 pixels: more did not fit into memory last time"],
    ):
        upscaler, _, texts = make_upscaler(60 * 60)
        assert torch.equal(upscaler.upscale_tensor(x), whole)
        assert texts == expected


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_every_kind_of_exhaustion_leads_to_less(free, error):
    x = make_picture(60, 80, 3)
    upscaler, engine, texts = make_upscaler(60 * 80, error)
    assert torch.equal(upscaler.upscale_tensor(x), make_upscaler(10**9)[0].upscale_tensor(x))
    assert engine.tried[0] == (3, 60, 80) and len(texts) == 1


def test_another_failure_is_none_of_memory(free):
    upscaler, _, texts = make_upscaler(1, RuntimeError("illegal instruction"))
    with pytest.raises(RuntimeError, match="illegal instruction"):
        upscaler.upscale_tensor(make_picture(60, 80))
    assert texts == []


LIMIT = Limit(num_frames=2, tile_px=0, free_bytes=7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"name": 3}',
        b'{"name": {"num_frames": 1}}',
        b'{"name": {"num_frames": 0, "tile_px": 0, "free_bytes": 7}}',
        b'{"name": {"num_frames": true, "tile_px": 0, "free_bytes": 7}}',
        b'{"name": {"num_frames": 1, "tile_px": -64, "free_bytes": 7}}',
        b'{"name": {"num_frames": 1, "tile_px": "64", "free_bytes": 7}}',
        b'{"name": {"num_frames": 1, "tile_px": 64, "free_bytes": 7, "more": 1}}',
    ],
)
def test_a_damaged_file_counts_as_empty_and_is_replaced(limits_file, content):
    limits_file.parent.mkdir()
    limits_file.write_bytes(content)
    assert recall("name") is None
    remember("name", LIMIT)
    assert recall("name") == LIMIT
    assert [path.name for path in limits_file.parent.iterdir()] == ["limits.json"]


@pytest.mark.parametrize("obstacle", ["a file for a folder", "a folder for a file"])
def test_a_place_that_cannot_be_written_to_fails_no_run(free, limits_file, obstacle):
    if obstacle == "a file for a folder":
        limits_file.parent.write_bytes(b"")
    else:
        (limits_file / "x").mkdir(parents=True)
    x = make_picture(60, 80, 2)
    for _ in range(2):
        upscaler, engine, texts = make_upscaler(60 * 80)
        assert torch.equal(upscaler.upscale_tensor(x), make_upscaler(10**9)[0].upscale_tensor(x))
        assert engine.tried[0] == (2, 60, 80) and len(texts) == 1
    assert not list(limits_file.parent.parent.glob("*/*.part"))


def test_the_file_does_not_grow_for_ever(limits_file):
    for number in range(205):
        remember(f"size {number}", LIMIT)
    remember("size 5", LIMIT)
    names = list(json.loads(limits_file.read_text()))
    assert (len(names), names[0], names[-1]) == (200, "size 6", "size 5")


def test_writers_at_the_same_time_leave_a_whole_file(limits_file):
    def write(name):
        for number in range(15):
            remember(f"{name} {number}", LIMIT)
            assert recall("anything") is None

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = json.loads(limits_file.read_text())
    assert entries and all(Limit(**entry) == LIMIT for entry in entries.values())
    assert [path.name for path in limits_file.parent.iterdir()] == ["limits.json"]


def test_the_file_lies_beside_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSR_CACHE", str(tmp_path))
    assert limits_path() == tmp_path / "limits.json"


@pytest.mark.parametrize("num_pixels_that_fit", [64 * 48 * 2, 64 * 48, 50 * 50])
def test_a_run_short_of_memory_makes_the_same_frames(free, make_clip, tmp_path, look, num_pixels_that_fit):
    clip = make_clip(frames=9)
    options = UpscaleOptions(model="lanczos", device="cpu", batch=4, codec="ffv1")
    pictures, texts = [], []
    for number, num_pixels in enumerate((10**9, num_pixels_that_fit, num_pixels_that_fit)):
        events = []
        upscaler = Upscaler(options, events.append)
        upscaler._engine = SmallEngine(num_pixels)
        prepared = prepare(clip.path, tmp_path / f"{number}.mkv", options, overwrite=False)
        Run(prepared, events.append, upscaler=upscaler).execute()
        pictures.append(look.packets(prepared.target, "video"))
        texts.append([e.text for e in events if isinstance(e, Notice) and "memory" in e.text])
    assert len(pictures[0][0]) == 9
    assert pictures[0] == pictures[1] == pictures[2]  # FFV1 has one form for each picture
    assert [len(lines) for lines in texts] == [0, 1, 1]


@pytest.mark.parametrize("num_frames_that_fit", [1, 2, 3])
def test_colour_and_size_too_go_on_with_fewer_frames(free, make_clip, tmp_path, look, num_frames_that_fit, monkeypatch):
    clip = make_clip(frames=9, noise=True)
    options = UpscaleOptions(model="lanczos", device="cpu", batch=4, codec="ffv1")
    original = vidsr.run.frame_worker.rgb_to_planes
    most = [9]

    def rgb_to_planes(rgb, *args, **kwargs):
        if len(rgb) > most[0]:
            raise MemoryError
        return original(rgb, *args, **kwargs)

    monkeypatch.setattr(vidsr.run.frame_worker, "rgb_to_planes", rgb_to_planes)
    results, events = [], []
    for most[0] in (9, num_frames_that_fit):
        prepared = prepare(clip.path, tmp_path / f"{most[0]}.mkv", options, overwrite=False)
        result = Run(prepared, events.append).execute()
        results.append((look.packets(prepared.target, "video"), np.round(result.color_drift, 4).tolist()))
    assert results[0] == results[1]
    texts = [e.text for e in events if isinstance(e, Notice) and "memory" in e.text]
    assert texts[0] == "out of memory with colour and size of 4 frames at once: goes on with 2"
    assert len(texts) == (2 if num_frames_that_fit == 1 else 1)


def test_frames_that_cannot_fit_are_refused_by_an_estimate(make_clip, tmp_path, monkeypatch):
    clip = make_clip(frames=3)
    options = UpscaleOptions(model="nearest", device="cpu", batch=2)
    prepared = prepare(clip.path, tmp_path / "out.mkv", options, overwrite=False)
    # 4 batches of 2 frames in 4:2:0 on both sides, and RGB in floating point of one frame in and two out.
    needed = 8 * (64 * 48 * 3 // 2) * 5 + 12 * (64 * 48) * 9
    monkeypatch.setattr(vidsr.run.frame_worker, "free_bytes", lambda device: needed - 1)
    with pytest.raises(DeviceMemoryError, match=r"frames of 64x48 made 128x96 need at least 0\.0 GiB .*smaller scale"):
        Run(prepared).execute()
    assert not prepared.target.exists()
    monkeypatch.setattr(vidsr.run.frame_worker, "free_bytes", lambda device: needed)
    assert Run(prepared).execute().num_frames == 3


def test_one_frame_that_does_not_fit_fails_the_run(free, make_clip, tmp_path, monkeypatch):
    clip = make_clip(frames=5)
    options = UpscaleOptions(model="lanczos", device="cpu", batch=2)
    prepared = prepare(clip.path, tmp_path / "out.mkv", options, overwrite=False)

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(vidsr.run.frame_worker, "rgb_to_planes", fail)
    with pytest.raises(DeviceMemoryError, match="ran out of memory on 1 frames"):
        Run(prepared).execute()
    assert not prepared.target.exists()
