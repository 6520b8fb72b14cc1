"""Interlaced and telecined files from end to end: what is announced, what comes out, and when."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vidsr.cli.main import app
from vidsr.errors import UsageError
from vidsr.events import Notice, Progress
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

NTSC = Fraction(30000, 1001)
FILM = {"material": "film", "rate": NTSC, "frames": 25}


def upscale(source, target, **given):
    """What was noted, and the last progress."""
    events = []
    options = UpscaleOptions(**{"model": "nearest", "scale": Fraction(1), "codec": "ffv1", "device": "cpu"} | given)
    upscale_video(source, target, options, on_event=events.append)
    progress = [event for event in events if isinstance(event, Progress)][-1]
    assert progress.num_frames_done == progress.num_frames_expected
    return [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize(
    ("how", "given", "num_frames", "words"),
    [
        ({}, {}, 12, "interlaced, top field first (by its content): deinterlaced, one frame from each"),
        ({}, {"deinterlace": "bwdif"}, 12, "interlaced, top field first (by its content): deinterlaced"),
        ({}, {"deinterlace": "bwdif:double"}, 24, "one frame from each field"),
        ({}, {"deinterlace": "off"}, 12, "and is upscaled as if it were not; --deinterlace bwdif would mend it"),
        ({"flag": None}, {}, 12, "flagged as progressive, but its content is interlaced"),
        ({"material": "frames"}, {}, 12, "flagged as interlaced, but its content is progressive"),
        (
            {"material": "frames", "flag": None},
            {"deinterlace": "bwdif"},
            12,
            "was not found to be interlaced; bwdif is",
        ),
        (FILM, {}, 25, "telecined, top field first (by its content): its fields are put together again; --detelecine"),
        (FILM, {"detelecine": True}, 20, "the frame in five that was added is dropped"),
        ({}, {"detelecine": True}, 10, "no telecine was found in the source, but one frame in five is dropped"),
    ],
)
def test_what_is_done_is_announced_and_done(make_fields, look, tmp_path, how, given, num_frames, words):
    clip = make_fields(**how)
    notes = upscale(clip.path, tmp_path / "out.mkv", **given)
    assert [text for text in notes if words in text], notes
    assert look.video(tmp_path / "out.mkv").count == num_frames


def test_progressive_video_is_not_touched_and_nothing_is_said(make_fields, look, tmp_path):
    clip = make_fields(material="frames", flag=None)
    assert upscale(clip.path, tmp_path / "out.mkv") == []
    for seen, given in zip(look.planes(tmp_path / "out.mkv"), look.planes(clip.path), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(seen, given, strict=True))


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mp4"), ("ffv1", ".mkv"), ("prores_ks", ".mov")]
)
def test_the_result_is_no_longer_flagged_as_interlaced(make_fields, tmp_path, codec, suffix):
    target = tmp_path / f"out{suffix}"
    upscale(make_fields().path, target, codec=codec)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.field_order in (0, 1)
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", [25, NTSC], ids=str)
def test_double_rate_reaches_the_file(make_fields, look, tmp_path, suffix, rate):
    clip = make_fields("in.nut", rate=rate)
    target = tmp_path / f"out{suffix}"
    codec = "libx264" if suffix == ".mp4" else "ffv1"
    upscale(clip.path, target, codec=codec, deinterlace="bwdif:double")
    tolerance = Fraction(1, 2000) if suffix == ".mkv" else 0
    for number, time in enumerate(look.video(target).times):
        assert abs(time - number / (2 * Fraction(rate))) <= tolerance
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == pytest.approx(2 * rate, rel=1e-3)


@pytest.mark.parametrize(
    ("start", "stop", "fields"),
    [
        (3, 5, range(6, 10)),  # the source's frames 3 and 4
        (3, 12, range(6, 24)),
        (Fraction(13, 50), Fraction(16, 50), range(13, 16)),  # from a second field on, to a second field
        (None, Fraction(1, 50), range(1)),
        (Fraction(23, 50), None, range(23, 24)),
    ],
)
def test_a_part_at_double_rate(make_fields, look, tmp_path, start, stop, fields):
    clip = make_fields()
    whole, part = tmp_path / "whole.mkv", tmp_path / "part.mkv"
    upscale(clip.path, whole, deinterlace="bwdif:double")
    upscale(clip.path, part, deinterlace="bwdif:double", start=start, stop=stop)
    assert look.video(part).times == [Fraction(n, 50) for n in range(len(fields))]
    pictures = look.planes(whole)
    for seen, number in zip(look.planes(part), fields, strict=True):
        assert np.array_equal(seen[0], pictures[number][0])


def test_a_part_of_film(make_fields, look, tmp_path):
    clip = make_fields("in.nut", **FILM)
    upscale(clip.path, tmp_path / "out.mp4", codec="libx264", detelecine=True, start=7, stop=22)
    assert look.video(tmp_path / "out.mp4").times == [n * Fraction(1001, 24000) for n in range(12)]


def test_soft_telecine_is_film_already(make_fields, look, tmp_path):
    # Whole frames, of which every other one asks the player to show one field again: 3 and 2 fields long in turn.
    options = {"flags": "+ildct", "bf": "0", "g": "12", "qscale": "2"}
    how = {"material": "frames", "flag": None, "frames": 24, "rate": NTSC, "options": options}
    clip = make_fields("soft.m2v", codec="mpeg2video", **how)
    data = bytearray(clip.path.read_bytes())
    headers = [m.end() for m in re.finditer(b"\x00\x00\x01\xb5", data) if data[m.end()] >> 4 == 8]
    for number, at in enumerate(headers):  # picture coding extensions: top_field_first, repeat_first_field, progressive
        top_first, repeats = ((1, 1), (0, 0), (0, 1), (1, 0))[number % 4]
        data[at + 3] = data[at + 3] & 0x7D | top_first << 7 | repeats << 1
        data[at + 4] |= 0x80
    clip.path.write_bytes(data)
    assert upscale(clip.path, tmp_path / "out.mp4", codec="libx264", preset="ultrafast") == []
    times = look.video(tmp_path / "out.mp4").times
    steps = [b - a for a, b in pairwise(times)]
    assert steps == [b - a for a, b in pairwise(look.video(clip.path).times)]
    assert steps[:22] == [Fraction(3003, 60000), Fraction(2002, 60000)] * 11


def test_losses_are_told_from_notes(make_fields, tmp_path):
    clip = make_fields()
    for given, is_loss in [({}, False), ({"deinterlace": "off"}, True), ({"detelecine": True}, True)]:
        prepared = prepare(clip.path, tmp_path / "out.mkv", UpscaleOptions(codec="ffv1", **given))
        assert bool(prepared.losses()) is is_loss
        assert bool(prepared.notes()) is (given != {"deinterlace": "off"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"deinterlace": "yadif"}, r"deinterlace is 'yadif'; it must be one of auto, off, bwdif, bwdif:double"),
        ({"deinterlace": "bwdif:double", "detelecine": True}, r"detelecine and deinterlace=bwdif:double were given"),
        ({"deinterlace": "off", "detelecine": True}, r"detelecine and deinterlace=off were given"),
        ({"detelecine": "maybe"}, r"detelecine is 'maybe'"),
    ],
)
def test_options_that_contradict_each_other(given, words):
    with pytest.raises(UsageError, match=words):
        UpscaleOptions(**given)
    with pytest.raises(UsageError, match=r"detelecine|deinterlace"):
        UpscaleOptions.from_mapping(given)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line(make_fields, look, tmp_path):
    clip = make_fields(**FILM)
    common = ("upscale", clip.path, "-o", tmp_path / "out.mkv", "--codec", "ffv1", "-m", "nearest", "-s", "1")
    told = run(*common, "--deinterlace", "bwdif:double", "--dry-run")
    assert told.exit_code == 0, told.output
    assert "note: the source is telecined" in told.stdout and "50 frames at" in told.stdout
    told = run(*common, "--dry-run", "--json")
    assert "telecined" in json.loads(told.stdout)["notes"][0]
    done = run(*common, "--detelecine")
    assert done.exit_code == 0, done.output
    assert "Progress: 100%" in done.stdout and look.video(tmp_path / "out.mkv").count == 20
    assert run(*common, "--detelecine", "--deinterlace", "off").exit_code == 2


def test_probe_tells_of_fields_and_preview_shows_what_is_made_of_them(make_fields, tmp_path):
    clip = make_fields(order="bff", codec="libx264", name="clip.mp4", options={"crf": "5", "flags": "+ildct"})
    told = run("probe", clip.path)
    assert "interlaced, bottom field first (by its content)" in told.stdout
    assert "but its content is bottom field first" in told.stdout
    facts = json.loads(run("probe", clip.path, "--json").stdout)
    wanted = {"kind": "interlaced", "field_order": "bff", "flagged": "interlaced", "flagged_order": "tff"}
    assert wanted.items() <= facts["scan"].items() and "bottom field first" in facts["scan"]["warning"]
    shown = run("preview", clip.path, "-m", "lanczos", "-n", "1", "-o", tmp_path / "sheet.png")
    assert shown.exit_code == 0, shown.output
    as_they_are = run(
        "preview", clip.path, "-m", "lanczos", "-n", "1", "--deinterlace", "off", "-o", tmp_path / "b.png"
    )
    assert as_they_are.exit_code == 0, as_they_are.output
    assert combing(tmp_path / "sheet.png") < 0.5 * combing(tmp_path / "b.png")


def combing(path):
    """How much neighbouring lines differ where those of one field do not."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="gray").astype(float)
    between, within = np.abs(picture[2:] - picture[1:-1]), np.abs(picture[2:] - picture[:-2])
    return np.clip(between - within, 0, None).mean()


@pytest.mark.parametrize(
    ("name", "given", "num_frames"),
    [
        ("05_dv_pal_16x9_bff.dv", {}, 5),
        ("05_dv_pal_16x9_bff.dv", {"deinterlace": "bwdif:double"}, 10),
        ("05_mpeg2_ntsc_480i_tff.ts", {"deinterlace": "bwdif:double", "stop": 6}, 12),
        ("05_telecine_hard_tff.mkv", {"stop": 20}, 20),
        ("05_telecine_hard_tff.mkv", {"detelecine": True, "stop": 20}, 16),
    ],
)
def test_real_files(shared_media, look, tmp_path, name, given, num_frames):
    notes = upscale(shared_media / name, tmp_path / "out.mkv", **given)
    assert [text for text in notes if text.startswith("the source is ")]
    pictures = [planes[0].astype(np.int32) for planes in look.planes(tmp_path / "out.mkv")]
    assert len(pictures) == num_frames
    for before, now in pairwise(pictures):  # nothing that moves is combed any more
        moved = np.abs(now - before) > 12
        moved = moved[:-2] & moved[1:-1] & moved[2:]
        near = np.abs(now[:-2] - now[1:-1])[moved].sum() + np.abs(now[1:-1] - now[2:])[moved].sum()
        assert near <= 1.8 * np.abs(now[:-2] - now[2:])[moved].sum() + 1
