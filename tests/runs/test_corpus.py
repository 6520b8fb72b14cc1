"""Real files, most of them odd: what an independent reader saw of each is what comes out, or a clean refusal."""

from __future__ import annotations

import json
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from vidsr.errors import SourceError
from vidsr.events import Notice
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
INDEX = json.loads((MEDIA / "INDEX.json").read_text("utf-8")) if (MEDIA / "INDEX.json").is_file() else []
FILES = [entry for entry in INDEX if "%" not in entry["file"]]  # the others are folders of pictures
VIDEOS = [entry for entry in FILES if (entry.get("video0") or {}).get("frames_decoded")]
NO_VIDEOS = [entry for entry in FILES if entry not in VIDEOS]
DAMAGED = [entry for entry in VIDEOS if entry["video0"]["decode_error"]]
NO_STAMPS = ("18_resolution_change.h264",)  # raw H.264: evenly spaced times are made up
FEW = 12  # frames that the quick run takes of each

pytestmark = [
    pytest.mark.skipif(not FILES, reason="no folder shared/media beside the checkout"),
    pytest.mark.usefixtures("one_thread"),
]


def names(entries):
    return [entry["file"] for entry in entries]


def upscale(entry, target, **given):
    """(result, notices)"""
    found = []
    values = {"model": "nearest", "scale": Fraction(1), "preset": "ultrafast", "crf": 30, "device": "cpu"} | given

    def on_event(event):
        if isinstance(event, Notice):
            found.append(event.text)

    result = upscale_video(MEDIA / entry["file"], target, UpscaleOptions(**values), on_event=on_event)
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]
    return result, found


def stated_size(entry):
    return tuple(int(side) for side in next(iter(entry["video0"]["frame_sizes"])).split("@")[0].split("x"))


def stated_aspect(entry):
    ratio = next(iter(entry["video0"]["frame_sizes"])).split("sar")[1]
    return Fraction(*map(int, ratio.split(":"))) if ":" in ratio else Fraction(1)


def check_pictures(entry, look, target, limit, scale):
    """Frame count, times, size, shape and rotation of the target are those that the index has for the source."""
    stated = entry["video0"]
    count = stated["frames_decoded"] if limit is None else min(limit, stated["frames_decoded"])
    seen = look.video(target)
    assert seen.count == count
    width, height = (side * scale for side in stated_size(entry))
    if seen.pix_fmt.removeprefix("yuvj").removeprefix("yuv").startswith("420"):
        width, height = width + width % 2, height + height % 2
    assert seen.sizes == {(width, height)}
    assert seen.sample_aspect_ratio == stated_aspect(entry)
    shift = Fraction(0)
    if entry["file"] in NO_STAMPS:
        wanted = [Fraction(n, 30) for n in range(count)]
    else:
        wanted = [Fraction(time) for time in stated["pts_time"][:count]]
        if target.suffix == ".mkv":  # moves everything, if sound starts before zero: offsets are checked with the sound
            shift = seen.times[0] - wanted[0]
            assert -Fraction(1, 1000) <= shift < Fraction(3, 50)
    # The index has microseconds; Matroska has milliseconds, for what was shifted and for what was not.
    tolerance = Fraction(1, 10**6) if target.suffix == ".mp4" else Fraction(1, 1000) + Fraction(1, 10**6)
    wrong = [
        (n, float(a - shift), float(b))
        for n, (a, b) in enumerate(zip(seen.times, wanted, strict=True))
        if abs(a - shift - b) > tolerance
    ]
    assert not wrong, wrong[:5]
    sides = [side for stream in entry["streams"] for side in stream.get("side_data_list", [])]
    rotations = [side["rotation"] for side in sides if "rotation" in side]
    assert abs(seen.rotation) == abs(rotations[0] if rotations else 0)
    return seen


def check_sound(entry, look, target, seen):
    """Packets are the same bytes, at the same distance from the first frame."""
    before, after = look.packets(MEDIA / entry["file"], "audio"), look.packets(target, "audio")
    if entry["file"].endswith(".dv"):  # MP4 readers cut its uncompressed sound into other packets
        before, after = ([stream[:1] for stream in streams] for streams in (before, after))
        assert look.payload(MEDIA / entry["file"], "audio") == look.payload(target, "audio")
    else:
        assert [[digest for digest, _ in stream] for stream in after] == [
            [digest for digest, _ in stream] for stream in before
        ]
    first = look.video(MEDIA / entry["file"]).times[0]
    milliseconds = target.suffix == ".mkv" or entry["file"].endswith((".mkv", ".webm"))
    tolerance = Fraction(1, 1000) + Fraction(1, 10**6) if milliseconds else Fraction(1, 8000)
    for old, new in zip(before, after, strict=True):
        for (_, early), (_, late) in zip(old, new, strict=True):
            if early is not None and late is not None:
                assert abs((early - first) - (late - seen.times[0])) <= tolerance


SHORT = [e for e in VIDEOS if e["video0"]["frames_decoded"] * stated_size(e)[0] * stated_size(e)[1] < 4e6]
BOTH = [
    (e, suffix)
    for e in VIDEOS
    for suffix in (".mp4", ".mkv")
    if suffix == ".mp4" or (e not in SHORT and stated_size(e)[0] <= 800)
]


@pytest.mark.parametrize(("entry", "suffix"), BOTH, ids=[e["file"] + suffix for e, suffix in BOTH])
def test_the_first_frames(look, tmp_path, entry, suffix):
    target = tmp_path / f"out{suffix}"
    scale = 2 if stated_size(entry)[0] <= 400 else 1
    limit = min(FEW if stated_size(entry)[0] <= 800 else 4, entry["video0"]["frames_decoded"])
    result, _ = upscale(entry, target, scale=Fraction(scale), stop=limit)
    assert result.num_frames == limit
    check_pictures(entry, look, target, limit, scale)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("entry", SHORT, ids=names(SHORT))
def test_small_files_whole(look, tmp_path, entry, suffix):
    target = tmp_path / f"out{suffix}"
    upscale(entry, target)
    check_sound(entry, look, target, check_pictures(entry, look, target, None, 1))


LONG = [e for e in VIDEOS if e not in SHORT]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("entry", LONG, ids=names(LONG))
def test_large_files_whole(look, tmp_path, entry, suffix):
    target = tmp_path / f"out{suffix}"
    upscale(entry, target)
    check_sound(entry, look, target, check_pictures(entry, look, target, None, 1))


@pytest.mark.parametrize("entry", DAMAGED, ids=names(DAMAGED))
def test_damage_costs_what_it_must_and_is_told_once(look, tmp_path, entry):
    result, found = upscale(entry, tmp_path / "out.mkv")
    assert result.num_frames == entry["video0"]["frames_decoded"] == look.video(tmp_path / "out.mkv").count
    assert len([text for text in found if text.startswith("the source is damaged: ")]) == 1, found
    assert all("\n" not in text for text in found)


@pytest.mark.parametrize("entry", NO_VIDEOS, ids=names(NO_VIDEOS))
def test_what_has_no_video_is_refused_by_name(tmp_path, entry):
    with pytest.raises(SourceError) as caught:
        upscale(entry, tmp_path / "out.mkv")
    message = str(caught.value)
    assert message.startswith(f"{MEDIA / entry['file']}: ") and "\n" not in message
    assert not list(tmp_path.iterdir())
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("vidsr")]


RICH = [e for e in VIDEOS if e["file"].startswith("08_")]


@pytest.mark.parametrize("entry", RICH, ids=names(RICH))
def test_other_streams_chapters_and_tags(look, tmp_path, entry):
    source, target = MEDIA / entry["file"], tmp_path / "out.mkv"
    _, found = upscale(entry, target)
    before, after = look.facts(source), look.facts(target)
    left_out = [text for text in found if text.startswith("left out: stream ")]
    converted = [text for text in found if " becomes " in text]
    made_anew = [stream for stream in before["streams"] if stream[0] == "data"]  # a track of the chapters
    assert len(after["streams"]) + len(left_out) + len(made_anew) == len(before["streams"])
    kept = [
        stream
        for n, stream in enumerate(before["streams"])
        if stream not in made_anew and not any(f"stream {n} " in t for t in left_out)
    ]

    def kind(stream):  # Matroska lists covers and attachments after the rest, in an order of its own
        return (stream[0] == "attachment") + 2 * bool(stream[3] & int(av.stream.Disposition.attached_pic))

    for old, new in zip(sorted(kept, key=kind), sorted(after["streams"], key=kind), strict=True):
        assert old[0] == new[0]
        assert old[0] == "video" or old[1] == new[1] or (converted and (old[1], new[1]) == ("mov_text", "srt"))
        assert old[2].get("language", "und") == new[2].get("language", "und")
        assert old[3] & 1 == new[3] & 1  # "default"
    titles = [(float(start), title) for start, _, title in before["chapters"]]
    assert [(pytest.approx(start, abs=0.03), title) for start, title in titles] == [
        (float(start), title) for start, _, title in after["chapters"]
    ]
    assert before["tags"].get("title") == after["tags"].get("title")
    if not left_out and not converted:
        assert [[d for d, _ in s] for s in look.packets(source, "subtitle")] == [
            [d for d, _ in s] for s in look.packets(target, "subtitle")
        ]
    assert attachments(source) == attachments(target)


def attachments(path):
    with av.open(str(path), metadata_errors="replace") as container:
        return [stream.data for stream in container.streams.attachments]


ORDINARY = [e for e in VIDEOS if e["file"].startswith("01_")]


@pytest.mark.parametrize(
    "entry",
    # Two frames of 720p take a busy pair of processors half a minute.
    [pytest.param(e, id=e["file"], marks=[pytest.mark.slow] * (stated_size(e)[0] > 400)) for e in ORDINARY],
)
def test_first_frames_of_ordinary_files_through_a_network(look, tmp_path, entry):
    target = tmp_path / "out.mp4"
    torch.set_num_threads(os.cpu_count() or 1)
    upscale(entry, target, model="realesr-animevideov3", scale=Fraction(2), stop=2)
    check_pictures(entry, look, target, 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ORDINARY, ids=names(ORDINARY))
def test_ordinary_files_whole_through_a_network(look, tmp_path, entry):
    target = tmp_path / "out.mp4"
    torch.set_num_threads(os.cpu_count() or 1)
    upscale(entry, target, model="realesr-animevideov3", scale=Fraction(2), device="auto")
    check_sound(entry, look, target, check_pictures(entry, look, target, None, 2))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [Fraction(3, 2), Fraction(2), Fraction(3), Fraction(4)], ids=str)
@pytest.mark.parametrize("model", ["realesr-animevideov3", "RealESRGAN_x4plus_anime_6B", "RealESRGAN_x4plus"])
def test_every_packaged_network_at_several_scales(look, tmp_path, model, scale):
    entry = next(e for e in ORDINARY if "240p" in e["file"])
    target = tmp_path / "out.mp4"
    torch.set_num_threads(os.cpu_count() or 1)
    upscale(entry, target, model=model, scale=scale, stop=2, device="auto")
    check_pictures(entry, look, target, 2, scale)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("03_hlg_dovi84_iphone_rot-90.mov", "Dolby Vision"),
        ("05_dv_pal_16x9_bff.dv", "interlaced"),
    ],
)
def test_what_is_lost_beside_the_pixels_is_said(tmp_path, name, words):
    entry = next(e for e in VIDEOS if e["file"] == name)
    _, found = upscale(entry, tmp_path / "out.mkv", model="nearest", scale=Fraction(1), stop=1)
    assert [text for text in found if words in text]
