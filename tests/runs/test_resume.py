"""Interrupted runs go on where they stopped, to the same file; what does not belong to them is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from typer.testing import CliRunner

from vidsr.cli.main import app
from vidsr.errors import DiskFullError, ResumeError, RunStoppedError, TargetBusyError
from vidsr.events import Notice, Progress
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.lock import only_one
from vidsr.pipeline.plan import work_folder
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run, upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_FRAMES = 620
HOW = {"model": "nearest", "scale": Fraction(1), "codec": "ffv1", "device": "cpu"}


class PowerCutError(Exception):
    pass


@pytest.fixture
def clip(make_clip):
    return make_clip(
        "in.mkv", size=(32, 32), frames=NUM_FRAMES, codec="ffv1", audio="flac", options={"g": "40"}, noise=True
    )


def run(clip, target, until=None, **given):
    """(notices, progress events); stopped as by a power cut when so many frames are done."""
    events = []

    def on_event(event):
        events.append(event)
        if until is not None and isinstance(event, Progress) and event.num_frames_done >= until:
            raise PowerCutError

    kept = {key: given.pop(key) for key in ("restart",) if key in given}
    options = UpscaleOptions(**(HOW | given))
    if until is None:
        upscale_video(clip.path, target, options, on_event=on_event, **kept)
    else:
        with pytest.raises(PowerCutError):
            upscale_video(clip.path, target, options, on_event=on_event, **kept)
    notices = [event.text for event in events if isinstance(event, Notice)]
    return notices, [event for event in events if isinstance(event, Progress)]


def assert_same_pictures(look, path, clip):
    assert look.video(path).times == clip.times
    for planes, wanted in zip(look.planes(path), clip.pictures, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libx264", ".mp4"),
        ("libx265", ".mp4"),
        ("libsvtav1", ".mkv"),
        ("libvpx-vp9", ".webm"),
        ("prores_ks", ".mov"),
        ("ffv1", ".mkv"),
    ],
)
def test_segments_join_without_a_trace(make_clip, look, tmp_path, ffmpeg_program, codec, suffix):
    clip = make_clip("in.mkv", size=(64, 64), frames=270, codec="ffv1")
    target = tmp_path / f"out{suffix}"
    fast = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12", "libvpx-vp9": "8"}.get(codec)
    upscale_video(clip.path, target, UpscaleOptions(**(HOW | {"codec": codec, "preset": fast})))
    assert len(prepare(clip.path, tmp_path / "x.mkv", UpscaleOptions(**HOW)).plan.segments) == 2
    seen = look.video(target)
    assert seen.count == 270
    tolerance = Fraction(1, 1000) if suffix in (".mkv", ".webm") else 0
    assert all(abs(a - b) <= tolerance for a, b in zip(seen.times, clip.times, strict=True))
    depth = 4 if "10" in seen.pix_fmt else 1
    means = [planes[0].mean() for planes in clip.pictures]
    # SVT-AV1's fastest preset smears the flicker of this clip, at a border no more than elsewhere.
    assert np.abs(np.array(seen.means) / depth - means).max() < (20 if codec == "libsvtav1" else 4)
    assert not list(tmp_path.glob(".vidsr-*"))
    command = [ffmpeg_program, "-v", "warning", "-i", str(target), "-f", "null", "-"]
    decoded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not decoded.stderr


@pytest.mark.parametrize("until", [110, 300, 600])
def test_a_run_goes_on_where_it_stopped(clip, look, tmp_path, until):
    target = tmp_path / "out.mkv"
    run(clip, target, until=until)
    assert not target.exists()
    notices, progress = run(clip, target)
    done = progress[0].num_frames_before
    assert done == {110: 0, 300: 240, 600: 480}[until]
    assert any("goes on where an earlier run stopped" in text for text in notices) == bool(done)
    assert progress[0].num_frames_done == done + 1 and progress[-1].num_frames_done == NUM_FRAMES
    assert_same_pictures(look, target, clip)
    assert look.packets(clip.path, "audio")[0] == look.packets(target, "audio")[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_a_crash_while_joining_repeats_only_the_join(clip, look, tmp_path, monkeypatch):
    target = tmp_path / "out.mkv"

    def crash(*_):
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr("vidsr.run.upscale.join", crash)
        with pytest.raises(PowerCutError):
            upscale_video(clip.path, target, UpscaleOptions(**HOW))
    _, progress = run(clip, target)
    assert progress == []
    assert_same_pictures(look, target, clip)


@pytest.mark.parametrize("damage", ["bytes", "gone"])
def test_a_damaged_segment_is_made_again_alone(clip, look, tmp_path, damage):
    target = tmp_path / "out.mkv"
    run(clip, target, until=600)
    segment = work_folder(target) / "000000.segment"
    if damage == "gone":
        segment.unlink()
    else:
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
    _, progress = run(clip, target)
    assert progress[0].num_frames_before == 240
    assert_same_pictures(look, target, clip)


def test_other_options_are_refused_by_name_unless_restarted(clip, look, tmp_path):
    target = tmp_path / "out.mkv"
    run(clip, target, until=300)
    with pytest.raises(ResumeError, match=r"model was nearest, is bicubic.*--restart"):
        run(clip, target, model="bicubic")
    notices, progress = run(clip, target, model="bicubic", restart=True)
    assert progress[0].num_frames_before == 0 and not [text for text in notices if "goes on" in text]
    assert look.video(target).count == NUM_FRAMES


def test_a_changed_source_is_refused(clip, make_clip, tmp_path):
    target = tmp_path / "out.mkv"
    run(clip, target, until=300)
    other = make_clip("other.mkv", size=(32, 32), frames=NUM_FRAMES, codec="ffv1", options={"g": "40"})
    other.path.replace(clip.path)
    with pytest.raises(ResumeError, match="source was "):
        run(clip, target)


def test_a_source_that_was_moved_is_the_same(clip, look, tmp_path):
    run(clip, tmp_path / "out.mkv", until=300)
    moved = clip.path.rename(tmp_path / "moved.mkv")
    upscale_video(moved, tmp_path / "out.mkv", UpscaleOptions(**HOW))
    assert_same_pictures(look, tmp_path / "out.mkv", clip)


@pytest.mark.parametrize("given", [{"deinterlace": "bwdif"}, {"deinterlace": "bwdif:double"}])
def test_fields_at_a_border_are_those_of_the_whole(make_clip, look, tmp_path, given):
    clip = make_clip("in.mkv", size=(32, 32), frames=NUM_FRAMES, codec="ffv1", options={"g": "40"})
    run(clip, tmp_path / "whole.mkv", **given)
    run(clip, tmp_path / "out.mkv", until=700 if "double" in given["deinterlace"] else 300, **given)
    _, progress = run(clip, tmp_path / "out.mkv", **given)
    assert progress[0].num_frames_before > 0
    whole, resumed = look.planes(tmp_path / "whole.mkv"), look.planes(tmp_path / "out.mkv")
    assert len(whole) == len(resumed)
    for planes, wanted in zip(resumed, whole, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


def test_pictures_go_on_with_their_numbers(clip, tmp_path):
    target = tmp_path / "out" / "%04d.png"
    run(clip, target, until=300, codec="png")
    assert not list((tmp_path / "out").glob("*.png"))
    _, progress = run(clip, target, codec="png")
    assert progress[0].num_frames_before == 240
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{n:04d}.png" for n in range(1, NUM_FRAMES + 1)]


def test_a_stop_that_was_asked_for_comes_after_the_segment(clip, look, tmp_path):
    target = tmp_path / "out.mkv"
    wishes = []

    def on_event(event):
        if isinstance(event, Progress) and event.num_frames_done == 10:
            upscale.request_stop()
        if isinstance(event, Notice):
            wishes.append(event.text)

    upscale = Run(prepare(clip.path, target, UpscaleOptions(**HOW)), on_event, keep_partial=True)
    with pytest.raises(RunStoppedError, match=r"stopped with 1 of 3 segments done; the same command goes on"):
        upscale.execute()
    assert look.video(tmp_path / "out.partial.mkv").times == clip.times[:240]
    assert [text for text in wishes if "out.partial.mkv: the first 240 frames" in text]
    run(clip, target)
    assert_same_pictures(look, target, clip)


def test_a_join_that_fails_is_told_with_a_part_to_be_kept(clip, tmp_path, monkeypatch):
    def fail(*_):
        raise DiskFullError("the disk is full")

    monkeypatch.setattr("vidsr.run.upscale.join", fail)
    upscale = Run(prepare(clip.path, tmp_path / "out.mkv", UpscaleOptions(**HOW)), keep_partial=True)
    with pytest.raises(DiskFullError):
        upscale.execute()
    assert len(list(work_folder(tmp_path / "out.mkv").glob("*.segment"))) == 3


def test_a_second_run_on_one_target_is_refused(clip, tmp_path):
    target = tmp_path / "out.mkv"
    with (
        only_one(work_folder(target), target),
        pytest.raises(TargetBusyError, match=r"out\.mkv: is being written by process \d+ on "),
    ):
        run(clip, target)


def test_the_report_is_that_of_all_runs_together(clip, tmp_path):
    whole = upscale_video(clip.path, tmp_path / "whole.mkv", UpscaleOptions(**HOW | {"model": "bicubic"}))
    run(clip, tmp_path / "out.mkv", until=300, model="bicubic")
    result = upscale_video(clip.path, tmp_path / "out.mkv", UpscaleOptions(**HOW | {"model": "bicubic"}))
    assert result.num_frames == NUM_FRAMES
    assert result.color_drift == whole.color_drift


def test_a_run_that_goes_on_computes_in_the_tiles_of_before(clip, tmp_path, monkeypatch):
    """Less memory may be free by then, and networks of long reach make other pictures of other tiles."""
    target, begun_with = tmp_path / "out.mkv", []
    run(clip, target, until=300)
    journal = work_folder(target) / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"tile_px": 0', '"tile_px": 416'))
    monkeypatch.setattr(Upscaler, "begin_with_tiles", lambda self, tile_px: begun_with.append(tile_px))
    run(clip, target)
    assert begun_with == [416]


HANGS = """
import ctypes, vidsr.inference.upscaler
from vidsr.cli.main import main

upscale_tensor, num_calls = vidsr.inference.upscaler.Upscaler.upscale_tensor, 0

def hang(*args):
    global num_calls
    num_calls += 1
    if num_calls == 300:
        print("hangs", flush=True)
        mutex = ctypes.create_string_buffer(256)
        for _ in range(2):  # a second time never returns, whatever signal comes
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
    return upscale_tensor(*args)

vidsr.inference.upscaler.Upscaler.upscale_tensor = hang
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the hanging call is made with glibc's mutex")
@pytest.mark.parametrize(("signals", "code"), [([signal.SIGTERM], 143), ([signal.SIGINT, signal.SIGINT], 130)])
def test_an_engine_that_hangs_is_ended_by_a_signal(clip, look, tmp_path, signals, code):
    target = tmp_path / "out.mkv"
    arguments = command(clip, target)[3:]
    with subprocess.Popen(
        [sys.executable, "-c", HANGS, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line == "hangs\n":
                break
        for number in signals:
            time.sleep(0.5)  # the call comes after the line
            process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, "ended at once: the call that was running did not return" in said) == (code, True)
    assert not target.exists()
    _, progress = run(clip, target)
    assert progress[0].num_frames_before == 240
    assert_same_pictures(look, target, clip)


def test_status_tells_what_is_left(clip, tmp_path):
    target = tmp_path / "out.mkv"
    run(clip, target, until=300)
    told = CliRunner().invoke(app, ["status", str(target), "--json"])
    facts = json.loads(told.stdout)
    assert (facts["num_segments_done"], facts["num_segments"]) == (1, 3)
    assert (facts["num_frames_done"], facts["num_frames"]) == (240, NUM_FRAMES)
    assert facts["frames_per_second"] > 0 and facts["seconds_left"] > 0
    assert "1 of 3" in CliRunner().invoke(app, ["status", str(work_folder(target))]).stdout
    told = CliRunner().invoke(app, ["status", str(tmp_path / "never.mkv")])
    assert told.exit_code == 3 and "no unfinished run there" in told.stderr


def command(clip, target):
    how = ["--model", "nearest", "--scale", "1", "--codec", "ffv1", "--device", "cpu"]
    return [sys.executable, "-m", "vidsr", "upscale", str(clip.path), "-o", str(target), *how]


def start(clip, target, num_lines):
    process = subprocess.Popen(
        command(clip, target), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(num_lines):
        if not process.stdout.readline():
            pytest.fail(f"ended with {process.wait()}: {process.communicate()[1]}")
    return process


def test_ctrl_c_finishes_the_segment_and_says_how_to_go_on(clip, look, tmp_path):
    target = tmp_path / "out.mkv"
    process = start(clip, target, 4)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stops after this segment; Ctrl-C again stops now" in said
    assert f"to go on: __main__.py upscale {clip.path} -o {target}" in said
    assert len(list(work_folder(target).glob("*.segment"))) == 1
    run(clip, target)
    assert_same_pictures(look, target, clip)


def killed_and_rerun(clip, look, tmp_path, moments):
    for number, seconds in enumerate(moments):
        target = tmp_path / f"out{number}.mkv"
        for _ in range(2):  # killed twice in a row
            process = start(clip, target, 3)
            time.sleep(seconds)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if target.exists():
                break
        if not target.exists():
            run(clip, target)
        assert_same_pictures(look, target, clip)
        assert look.packets(clip.path, "audio") == look.packets(target, "audio")
        assert not list(tmp_path.glob(".vidsr-*"))


def test_killed_at_a_random_moment(clip, look, tmp_path):
    killed_and_rerun(clip, look, tmp_path, [0.3])


@pytest.mark.slow
def test_killed_at_ten_random_moments(clip, look, tmp_path):
    generator = random.Random(4)
    killed_and_rerun(clip, look, tmp_path, [generator.uniform(0, 1.5) for _ in range(10)])


def test_the_work_folder_of_another_version_of_the_plan_is_begun_anew(clip, look, tmp_path):
    target = tmp_path / "out.mkv"
    run(clip, target, until=300)
    (work_folder(target) / "plan.json").write_text("{")
    _, progress = run(clip, target)
    assert progress[0].num_frames_before == 0
    assert_same_pictures(look, target, clip)
    shutil.rmtree(work_folder(target), ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, and a function that makes it larger."""
    folder = tmp_path / "small disk & more"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder], capture_output=True)

    if not shutil.which("mount") or mount("size=3m").returncode:
        pytest.skip("no right to mount a small file system")
    yield folder, lambda: mount("remount", "size=40m")
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_with_its_code_and_goes_on_when_there_is_space(clip, look, small_disk):
    folder, enlarge = small_disk
    target = folder / "out ü?.mkv"
    big = [*command(clip, target), "--size", "96x96", "--encoder-option", "slices=4"]
    big.remove("--scale"), big.remove("1")
    ended = subprocess.run(big, capture_output=True, text=True)
    assert ended.returncode == 75, ended.stderr
    assert "the disk is full; make space there and run the same command again" in ended.stderr
    assert "more are needed" in ended.stderr
    assert not target.exists()
    enlarge()
    ended = subprocess.run(big, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert look.video(target).count == NUM_FRAMES
    assert [path.name for path in folder.iterdir()] == [target.name]
