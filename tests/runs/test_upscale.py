"""From file to file: every frame at its time, everything else unchanged, and nothing half-done left behind."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vidsr.errors import SourceError, SourceMissingError, TargetError, TargetExistsError, UsageError
from vidsr.events import Checked, Finished, Notice, Progress, Started
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.plan import work_folder
from vidsr.run.targets.video import default_target
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")


def options(**given):
    values = {"model": "nearest", "preset": "ultrafast", "device": "cpu"} | given
    if values.get("codec", "libx264") not in ("libx264", "libx265"):
        del values["preset"]
    return UpscaleOptions(**values)


def upscale(source, target=None, **given):
    """(result, events)"""
    events = []
    return upscale_video(source, target, options(**given), on_event=events.append), events


def notices(events):
    return [event.text for event in events if isinstance(event, Notice)]


def assert_clean(folder, *names):
    """Only these files are there, and no thread of ours lives on."""
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(names)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("vidsr")]


VARIABLE = {"pts": [0, 1, 2, 5, 9, 10, 11, 30, 31, 40, 41, 43], "time_base": Fraction(1, 30)}


@pytest.mark.parametrize("model", ["lanczos", "nearest"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("how", [{}, VARIABLE, {"rate": Fraction(30000, 1001)}], ids=["even", "variable", "ntsc"])
def test_frames_times_size_and_sound(make_clip, look, tmp_path, model, suffix, how):
    clip = make_clip("in.mp4", audio="aac", **how)
    target = tmp_path / f"out{suffix}"
    result, events = upscale(clip.path, target, model=model)
    assert (result.target, result.num_frames) == (target, 12)
    seen, given = look.video(target), look.video(clip.path)
    assert seen.sizes == {(128, 96)}
    shift = seen.times[0]  # Matroska moves all streams so that sound which starts early is not before zero
    assert shift == 0 or (suffix == ".mkv" and shift < Fraction(3, 100))
    tolerance = Fraction(1, 1000) if suffix == ".mkv" else 0
    assert all(abs(a - shift - b) <= tolerance for a, b in zip(seen.times, clip.times, strict=True))
    assert seen.means == pytest.approx(given.means, abs=2)
    (before,), (after,) = look.packets(clip.path, "audio"), look.packets(target, "audio")
    assert [digest for digest, _ in before] == [digest for digest, _ in after]
    assert abs((before[0][1] - given.times[0]) - (after[0][1] - shift)) <= Fraction(1, 1000)
    assert not notices(events)
    assert_clean(tmp_path, "in.mp4", target.name)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx265", ".mp4"), ("libsvtav1", ".mp4"), ("libvpx-vp9", ".webm"), ("ffv1", ".mkv"), ("prores_ks", ".mov")],
)
def test_every_codec(make_clip, look, tmp_path, codec, suffix):
    clip = make_clip("in.mkv", audio="libopus", **VARIABLE)
    result, _ = upscale(clip.path, tmp_path / f"out{suffix}", codec=codec)
    seen = look.video(result.target)
    assert seen.count == 12 and seen.sizes == {(128, 96)}
    shift = seen.times[0]
    assert all(abs(a - shift - b) <= Fraction(1, 1000) for a, b in zip(seen.times, clip.times, strict=True))


def test_one_frame_in_one_frame_out(make_clip, look, tmp_path):
    for codec in ("libx264", "libx265"):
        result, _ = upscale(make_clip("in.mp4", frames=1).path, tmp_path / f"{codec}.mp4", codec=codec)
        assert result.num_frames == look.video(result.target).count == 1


def test_the_events_tell_the_run(make_clip, tmp_path):
    clip = make_clip("in.mp4")
    result, events = upscale(clip.path, tmp_path / "out.mp4")
    started, *progress, finished, checked = [event for event in events if not isinstance(event, Notice)]
    assert isinstance(started, Started) and isinstance(finished, Finished)
    assert (started.source, started.target) == (clip.path, tmp_path / "out.mp4")
    assert (started.source_size, started.target_size) == ((64, 48), (128, 96))
    assert (started.num_frames_expected, started.model) == (12, "nearest")
    assert started.codec == "libx264 yuv420p, preset ultrafast"
    assert all(isinstance(event, Progress) for event in progress)
    done = [event.num_frames_done for event in progress]
    assert done == sorted(set(done)) and done[-1] == 12
    assert {event.num_frames_expected for event in progress} == {12}
    seconds = [event.seconds_elapsed for event in progress]
    assert seconds == sorted(seconds)
    assert (finished.target, finished.num_frames) == (result.target, 12)
    assert finished.seconds_elapsed == result.seconds_elapsed > 0
    assert isinstance(checked, Checked) and checked.passed and checked.text.startswith("12 frames, times, ")


def test_events_never_come_from_two_threads_at_once(make_clip, tmp_path):
    inside, overlaps = threading.Lock(), []

    def on_event(event):
        if not inside.acquire(blocking=False):
            overlaps.append(event)
            return
        inside.release()

    upscale_video(make_clip("in.mp4").path, tmp_path / "out.mp4", options(), on_event=on_event)
    assert not overlaps


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("a.mp4", {}, "a_2x.mp4"),
        ("a.MP4", {}, "a_2x.mp4"),
        ("a.m4v", {"scale": Fraction(3, 2)}, "a_1.5x.m4v"),
        ("a.mov", {"scale": Fraction(4, 3)}, "a_1.33x.mov"),
        ("a.b.mkv", {"height": 1080}, "a.b_1080p.mkv"),
        ("a.avi", {"size": (1920, 1080)}, "a_1920x1080.mkv"),
        ("a", {}, "a_2x.mkv"),
        ("a.webm", {}, "a_2x.mkv"),
    ],
)
def test_default_target_names(tmp_path, name, given, expected):
    assert default_target(tmp_path / name, options(**given)) == tmp_path / expected


def test_the_default_target_is_beside_the_source(make_clip, tmp_path):
    clip = make_clip("in.mp4")
    assert upscale(clip.path)[0].target == tmp_path / "in_2x.mp4"
    assert_clean(tmp_path, "in.mp4", "in_2x.mp4")


def test_a_target_that_is_there_is_not_touched_unless_asked(make_clip, look, tmp_path):
    clip, target = make_clip("in.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(TargetExistsError, match=r"out\.mp4: is already there"):
        upscale(clip.path, target)
    assert target.read_bytes() == b"precious"
    upscale_video(clip.path, target, options(), overwrite=True)
    assert look.video(target).count == 12
    assert_clean(tmp_path, "in.mp4", "out.mp4")


def test_a_target_that_is_there_stays_until_the_new_one_is_complete(make_clip, tmp_path):
    clip, target = make_clip("in.mp4"), tmp_path / "out.mp4"
    target.write_bytes(b"precious")

    def stop(event):
        if isinstance(event, Progress):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        upscale_video(clip.path, target, options(), on_event=stop, overwrite=True)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["in.mp4", "link.mp4", "hard.mp4"])
def test_the_source_is_never_the_target(make_clip, tmp_path, name):
    clip = make_clip("in.mp4")
    before = clip.path.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip.path)
    os.link(clip.path, tmp_path / "hard.mp4")
    with pytest.raises(UsageError, match="is the source itself"):
        upscale_video(clip.path, tmp_path / name, options(), overwrite=True)
    assert clip.path.read_bytes() == before


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        ("out.avi", UsageError, r"the suffix says the container; use one of \.mp4"),
        ("out", UsageError, "the suffix says the container"),
        ("gone/out.mp4", TargetError, "there is no folder .*gone; make it first"),
        ("out.webm", UsageError, r"\.webm does not hold libx264; use \.mp4"),
        ("x" * 300 + ".mp4", TargetError, "the name is longer than 255 bytes"),
    ],
)
def test_targets_that_cannot_be_are_refused_before_the_work(make_clip, tmp_path, target, error, text):
    clip = make_clip("in.mp4")
    events = []
    with pytest.raises(error, match=text):
        upscale_video(clip.path, tmp_path / target, options(), on_event=events.append)
    assert not events
    assert_clean(tmp_path, "in.mp4")


CUTS = [
    ({"start": 5}, 5, 24),
    ({"stop": 7}, 0, 7),
    ({"start": 5, "stop": 7}, 5, 7),
    ({"start": 23}, 23, 24),
    ({"start": Fraction(1, 5)}, 5, 24),
    ({"start": Fraction(21, 100), "stop": Fraction(1, 2)}, 6, 13),
    ({"start": Fraction(1, 5), "stop": Fraction(6, 25)}, 5, 6),
    ({"start": 3, "stop": Fraction(12, 25)}, 3, 12),
    ({"stop": 1000}, 0, 24),
    ({"stop": Fraction(1000)}, 0, 24),
]


@pytest.mark.parametrize("offset", [0, 10 * 12800], ids=["from0", "from10s"])
@pytest.mark.parametrize(("cut", "first", "last"), CUTS, ids=[str(n) for n in range(len(CUTS))])
def test_a_part_is_exact_to_the_frame(make_clip, look, tmp_path, cut, first, last, offset):
    stamps = [offset + n * 512 for n in range(24)]
    base = Fraction(1, 12800)
    clip = make_clip("in.mp4", pts=stamps, time_base=base, options={"g": "10", "bf": "3"})
    result, events = upscale(clip.path, tmp_path / "out.mp4", **cut)
    assert result.num_frames == events[0].num_frames_expected == last - first
    seen = look.video(result.target)
    start = stamps[first] if isinstance(cut.get("start"), int) else None
    if start is None and "start" in cut:
        start = offset + cut["start"] / base
    start = 0 if start is None else start  # without a start the source's own times stay
    assert seen.times == [(pts - start) * base for pts in stamps[first:last]]
    assert seen.means == pytest.approx(look.video(clip.path).means[first:last], abs=2)


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"])
def test_the_sound_is_cut_along(make_clip, look, tmp_path, audio):
    clip = make_clip("in.mov", frames=50, audio=audio)
    upscale(clip.path, tmp_path / "out.mov", start=10, stop=30)
    (before,), (after,) = look.packets(clip.path, "audio"), look.packets(tmp_path / "out.mov", "audio")
    whole = [digest for digest, _ in before]
    first = whole.index(after[0][0])
    assert whole[first : first + len(after)] == [digest for digest, _ in after]
    frame = before[1][1] - before[0][1]
    cut = Fraction(10, 25)
    assert before[first][1] <= cut < before[first][1] + frame
    assert abs(after[0][1] - (before[first][1] - cut)) <= Fraction(1, 48000)
    assert abs(before[first + len(after) - 1][1] - Fraction(30, 25)) <= frame
    assert look.video(tmp_path / "out.mov").times[0] == 0


@pytest.mark.parametrize("cut", [{"start": 100}, {"start": Fraction(100)}])
def test_a_part_without_frames_is_refused(make_clip, tmp_path, cut):
    clip = make_clip("in.mp4")
    with pytest.raises(UsageError, match="no frame lies between start and stop; it has 12 frames"):
        upscale(clip.path, tmp_path / "out.mp4", **cut)
    assert_clean(tmp_path, "in.mp4")


@pytest.mark.parametrize(
    ("size", "given", "expected"),
    [
        ((64, 48), {"scale": Fraction(3, 2)}, (96, 72)),
        ((64, 48), {"size": (100, 80)}, (100, 80)),
        ((64, 48), {"height": 72}, (96, 72)),
        ((64, 48), {"scale": Fraction(1)}, (64, 48)),
        ((161, 121), {"scale": Fraction(1)}, (162, 122)),
        ((161, 121), {"scale": Fraction(3, 2)}, (242, 182)),
        ((161, 121), {"scale": Fraction(2)}, (322, 242)),
        ((161, 121), {"scale": Fraction(1), "codec": "ffv1"}, (161, 121)),
        ((161, 121), {"scale": Fraction(3, 2), "codec": "ffv1"}, (242, 182)),
        ((161, 121), {"size": (323, 243), "codec": "ffv1"}, (323, 243)),
        ((161, 121), {"scale": Fraction(1), "pix_fmt": "yuv444p"}, (161, 121)),
    ],
)
def test_sizes(make_clip, look, tmp_path, size, given, expected):
    clip = make_clip("in.mkv", codec="ffv1", size=size, frames=2)
    result, _ = upscale(clip.path, tmp_path / "out.mkv", **given)
    seen = look.video(result.target)
    assert seen.sizes == {expected}
    assert seen.means == pytest.approx(look.video(clip.path).means, abs=2)


def test_the_shape_of_things_stays_when_the_sides_grow_differently(make_clip, look, tmp_path):
    clip = make_clip("in.mp4", size=(64, 48), sar=Fraction(4, 3))
    upscale(clip.path, tmp_path / "out.mp4", size=(192, 96))
    assert look.video(tmp_path / "out.mp4").sample_aspect_ratio == Fraction(4, 3) * Fraction(2, 3)
    upscale(clip.path, tmp_path / "same.mp4")
    assert look.video(tmp_path / "same.mp4").sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_turned_picture_stays_turned(make_clip, look, tmp_path, rotation):
    clip = make_clip("in.mov", rotation=rotation)
    upscale(clip.path, tmp_path / "out.mov")
    seen = look.video(tmp_path / "out.mov")
    assert seen.rotation == look.video(clip.path).rotation != 0
    assert seen.sizes == {(128, 96)}


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "expected"),
    [
        ("yuv420p10le", "libx264", "yuv420p10le"),
        ("yuv422p10le", "libx265", "yuv422p10le"),
        ("yuv422p10le", "prores_ks", "yuv422p10le"),
        ("yuv444p12le", "ffv1", "yuv444p12le"),
        ("yuv444p", "libx264", "yuv444p"),
        ("gray", "libx264", "yuv420p"),
        ("gray", "ffv1", "gray"),
        ("gray10le", "ffv1", "gray10le"),
        ("gbrp10le", "ffv1", "gbrp10le"),
        ("gbrp10le", "libx264", "yuv444p10le"),
        ("yuva420p", "ffv1", "yuva420p"),
        ("yuva444p10le", "ffv1", "yuva444p10le"),
    ],
)
def test_depth_chroma_gray_and_rgb_are_kept(make_clip, look, tmp_path, pix_fmt, codec, expected):
    clip = make_clip("in.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=3)
    target = tmp_path / ("out.mov" if codec == "prores_ks" else "out.mkv")
    _, events = upscale(clip.path, target, codec=codec)
    seen = look.video(target)
    assert seen.pix_fmt.replace("yuvj", "yuv") == expected or codec == "prores_ks"
    assert look.rgb_mean(target) == pytest.approx(look.rgb_mean(clip.path), abs=1.5)
    if codec == "ffv1":
        for before, after in zip(look.planes(clip.path), look.planes(target), strict=True):
            assert all(np.abs(a.mean() - b.mean()) <= b.max() / 200 for a, b in zip(after, before, strict=True))
        assert not notices(events)


def test_alpha_is_resized_along(make_clip, look, tmp_path):
    clip = make_clip("in.mkv", codec="ffv1", pix_fmt="yuva420p", frames=3, noise=True)
    upscale(clip.path, tmp_path / "same.mkv", codec="ffv1", scale=Fraction(1))
    for before, after in zip(look.planes(clip.path), look.planes(tmp_path / "same.mkv"), strict=True):
        assert np.array_equal(before[3], after[3])
    upscale(clip.path, tmp_path / "out.mkv", codec="ffv1")
    assert [planes[3].shape for planes in look.planes(tmp_path / "out.mkv")] == [(96, 128)] * 3


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "lost"),
    [
        ("yuva420p", "libx264", "the alpha channel"),
        ("yuv420p12le", "libx264", "bit depth"),
        ("yuv444p", "libsvtav1", "chroma resolution"),
        ("yuva444p12le", "libx264", "bit depth and the alpha channel"),
    ],
)
def test_what_a_pixel_format_loses_is_told(make_clip, tmp_path, pix_fmt, codec, lost):
    clip = make_clip("in.mkv", codec="ffv1", pix_fmt=pix_fmt, frames=2)
    _, events = upscale(clip.path, tmp_path / "out.mkv", codec=codec)
    assert len(notices(events)) == 1 and f"loses {lost} of the source's {pix_fmt}" in notices(events)[0]


@pytest.mark.parametrize("tags", [(1, 2, 1, 1), (5, 2, 5, 6), (1, 1, 1, 1), (9, 1, 9, 16), None])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colour_means_the_same_afterwards(make_clip, look, tmp_path, tags, suffix):
    clip = make_clip("in.mp4", tags=tags, frames=3)
    upscale(clip.path, tmp_path / f"out{suffix}", crf=4)
    seen = look.video(tmp_path / f"out{suffix}")
    assert seen.tags == (tags or (6, 1, 1, 1))
    assert look.rgb_mean(tmp_path / f"out{suffix}") == pytest.approx(look.rgb_mean(clip.path), abs=1)


def stop_at(kind, error):
    def on_event(event):
        if isinstance(event, kind):
            raise error

    return on_event


@pytest.mark.parametrize("kind", [Started, Progress, Notice])
@pytest.mark.parametrize("error", [RuntimeError("from the callback"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_error_of_the_callback_comes_out_and_leaves_nothing(make_clip, tmp_path, kind, error):
    # The attachment does not fit into MP4, which is a notice of the very last step.
    clip = make_clip("in.mkv", frames=40, attachment=b"x")
    with pytest.raises(type(error)) as caught:
        upscale_video(clip.path, tmp_path / "out.mp4", options(), on_event=stop_at(kind, error))
    assert caught.value is error
    assert_clean(tmp_path, "in.mkv")


def test_a_source_that_goes_away_during_the_run(make_clip, tmp_path):
    clip = make_clip("in.mp4", frames=40, audio="aac")

    def on_event(event):
        if isinstance(event, Progress):
            clip.path.unlink(missing_ok=True)

    with pytest.raises(SourceMissingError, match=r"in\.mp4: no such file"):
        upscale_video(clip.path, tmp_path / "out.mp4", options(), on_event=on_event)
    assert_clean(tmp_path, work_folder(tmp_path / "out.mp4").name)  # all frames are done, only the sound is missing


def test_a_folder_that_goes_away_during_the_run(make_clip, tmp_path):
    clip = make_clip("in.mp4", frames=40)
    folder = tmp_path / "out"
    folder.mkdir()

    def on_event(event):
        if isinstance(event, Progress):
            shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(TargetError, match="out"):
        upscale_video(clip.path, folder / "out.mp4", options(), on_event=on_event)
    assert_clean(tmp_path, "in.mp4")


@pytest.mark.parametrize("data", [b"", b"text", bytes(5000)])
def test_what_is_no_video_leaves_nothing(tmp_path, data):
    (tmp_path / "in.mp4").write_bytes(data)
    with pytest.raises(SourceError, match=r"in\.mp4: "):
        upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert_clean(tmp_path, "in.mp4")


NAMES = ["a b&c?d#e%f'g\"h", "%04d", "ümlaut 影片 🎬", "-i", "file:a", "pipe:1", "[x]{y}*", "é" * 120, "x" * 248]


@pytest.mark.parametrize("name", NAMES, ids=[str(n) for n in range(len(NAMES))])
def test_any_name(make_clip, look, tmp_path, name):
    clip = make_clip("in.mp4", audio="aac")
    source = clip.path.rename(tmp_path / f"{name}.mp4")
    result, _ = upscale(source)
    assert result.target == tmp_path / f"{name}_2x.mp4"
    assert_clean(tmp_path, source.name, result.target.name)
    assert look.video(result.target.rename(tmp_path / "out.mp4")).count == 12


def test_a_name_that_is_no_text(make_clip, tmp_path):
    source = make_clip("in.mp4").path.rename(tmp_path / os.fsdecode(b"\xff\xfe.mp4"))
    result, _ = upscale(source)
    assert os.fsencode(result.target.name) == b"\xff\xfe_2x.mp4"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_stamps_before_zero_are_moved_together_with_the_sound(make_clip, look, tmp_path, suffix):
    # A broadcast whose clock wraps half a second after the beginning; readers give the part before it negative times.
    start = 2**33 - 45000
    stamps = [start + 3600 * n for n in range(25)]
    clip = make_clip("in.ts", pts=stamps, time_base=Fraction(1, 90000), audio="aac", audio_start=Fraction(start, 90000))
    given = look.video(clip.path)
    assert given.times[0] < 0, "the file is not the trap it was meant to be"
    upscale(clip.path, tmp_path / f"out{suffix}")
    seen = look.video(tmp_path / f"out{suffix}")
    (before,), (after,) = look.packets(clip.path, "audio"), look.packets(tmp_path / f"out{suffix}", "audio")
    assert seen.count == 25 and seen.means == pytest.approx(given.means, abs=2)
    assert [digest for digest, _ in after] == [digest for digest, _ in before]
    tolerance = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 48000)
    for (_, early), (_, late) in zip(before, after, strict=True):
        assert abs((early - given.times[0]) - (late - seen.times[0])) <= tolerance


def test_tags_say_who_made_it(make_clip, look, tmp_path):
    clip = make_clip("in.mp4", metadata={"title": "A clip", "comment": "by hand"})
    upscale(clip.path, tmp_path / "out.mp4")
    upscale(clip.path, tmp_path / "out.mkv")
    tags = look.facts(tmp_path / "out.mp4")["tags"]
    assert (tags["title"], tags["comment"]) == ("A clip", "by hand")
    assert "vidsr" in tags["description"] and "nearest" in tags["description"]
    assert look.facts(tmp_path / "out.mkv")["tags"]["VIDSR"].startswith("vidsr ")


def test_two_runs_at_once_do_not_disturb_each_other(make_clip, look, tmp_path):
    clips = [make_clip(f"in{n}.mp4", frames=30) for n in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(upscale, [clip.path for clip in clips]))
    assert [result.num_frames for result, _ in results] == [30, 30]
    assert [look.video(tmp_path / f"in{n}_2x.mp4").count for n in range(2)] == [30, 30]


def test_a_real_network_from_file_to_file(make_clip, look, tmp_path):
    clip = make_clip("in.mp4", size=(48, 32), frames=6, audio="aac", tags=(1, 1, 1, 1))
    result, events = upscale(clip.path, tmp_path / "out.mp4", model="realesr-animevideov3")
    assert events[0].model == "realesr-animevideov3"
    seen = look.video(result.target)
    assert seen.sizes == {(96, 64)} and seen.times == clip.times
    assert look.rgb_mean(result.target) == pytest.approx(look.rgb_mean(clip.path), abs=4)
    assert [d for d, _ in look.packets(result.target, "audio")[0]] == [
        d for d, _ in look.packets(clip.path, "audio")[0]
    ]


@pytest.mark.slow
def test_memory_and_open_files_do_not_grow_with_the_number_of_frames(make_clip, tmp_path):
    resource = pytest.importorskip("resource")
    clip = make_clip("in.mp4", frames=6000, size=(160, 120), options={"preset": "ultrafast"})
    peaks, open_files, threads = [], [], []

    def on_event(event):
        if isinstance(event, Progress) and event.num_frames_done in (1500, 5900):
            gc.collect()
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            open_files.append(len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0)
            threads.append(threading.active_count())

    upscale_video(clip.path, tmp_path / "out.mp4", options(), on_event=on_event)
    assert peaks[1] - peaks[0] < 16 * 1024  # KiB; 4400 frames of 320x240 would be 480 MiB
    assert open_files[0] == open_files[1] and threads[0] == threads[1]  # 24 segments
