"""Targets in places that go away, cannot be written to, or have names at the limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from fractions import Fraction

import pytest

from vidsr.errors import RunStoppedError, TargetError
from vidsr.events import Notice, Progress
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run, upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = UpscaleOptions(model="nearest", scale=Fraction(1), codec="ffv1", device="cpu")


@pytest.fixture
def clip(make_clip):
    return make_clip("in.mkv", size=(32, 32), frames=620, codec="ffv1", options={"g": "40"})


def upscale(clip, target, at_half=lambda: None):
    done = []

    def on_event(event):
        if isinstance(event, Progress) and event.num_frames_done >= 300 and not done:
            done.append(event)
            at_half()

    return upscale_video(clip.path, target, OPTIONS, on_event=on_event)


def test_a_folder_that_vanishes_ends_the_run_with_its_name(clip, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    with pytest.raises(TargetError, match=r"gone"):
        upscale(clip, folder / "out.mkv", lambda: shutil.rmtree(folder))
    folder.mkdir()
    assert upscale(clip, folder / "out.mkv").num_frames == 620


def test_a_work_folder_that_vanishes_ends_the_run(clip, tmp_path):
    target = tmp_path / "out.mkv"
    with pytest.raises(TargetError):
        upscale(clip, target, lambda: [shutil.rmtree(path) for path in tmp_path.glob(".vidsr-*")])
    assert not target.exists()
    assert upscale(clip, target).num_frames == 620


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, and a function that mounts it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder], capture_output=True)

    if not shutil.which("mount") or mount("size=60m").returncode:
        pytest.skip("no right to mount a file system")
    yield folder, lambda option: mount("remount", option)
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_becomes_read_only_ends_the_run_which_goes_on_later(clip, tmp_path, disk):
    folder, remount = disk
    target = folder / "out.mkv"
    # A file system with files open for writing refuses to become read-only: stop between two segments.
    prepared = prepare(clip.path, target, OPTIONS)
    run = Run(prepared, lambda event: run.request_stop() if isinstance(event, Progress) else None)
    with pytest.raises(RunStoppedError):
        run.execute()
    remount("ro")
    with pytest.raises(TargetError, match=r"Read-only file system"):
        upscale(clip, target)
    remount("rw")
    assert upscale(clip, target).num_frames == 620


def test_the_target_may_lie_on_another_file_system_than_the_source(clip, disk):
    folder, _ = disk
    assert folder.stat().st_dev != clip.path.stat().st_dev
    assert upscale(clip, folder / "out.mkv").num_frames == 620
    assert [path.name for path in folder.iterdir()] == ["out.mkv"]


@pytest.mark.parametrize("stem", ["x" * 251, "ü" * 125 + "x"], ids=["ascii", "two bytes each"])
def test_names_of_255_bytes(clip, tmp_path, stem):
    target = tmp_path / f"{stem}.mkv"
    assert len(os.fsencode(target.name)) == 255
    told = []

    def on_event(event):
        if isinstance(event, Progress):
            run.request_stop()
        if isinstance(event, Notice):
            told.append(event.text)

    run = Run(prepare(clip.path, target, OPTIONS), on_event, keep_partial=True)
    with pytest.raises(RunStoppedError):
        run.execute()
    (partial,) = tmp_path.glob("*.partial.mkv")
    assert len(os.fsencode(partial.name)) <= 255
    assert any(partial.name in text for text in told)
    assert upscale(clip, target).num_frames == 620
