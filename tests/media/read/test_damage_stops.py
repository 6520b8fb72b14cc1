"""`on_decode_error`: stop at the first damage with its time, or report it and keep the rest."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import numpy as np
import pytest
from picture_files import noise, write_picture

from vidsr.errors import SourceError, UsageError
from vidsr.events import Notice
from vidsr.media.read.source import probe, read_frames
from vidsr.media.read.video import Window
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

DAMAGED = (
    "12_bitflip.mp4",
    "12_corrupted_decord.mp4",
    "12_invalid_nalu.mp4",
    "12_truncated_faststart_midgop.mp4",
)
CLOCK = re.compile(r"(\d+):(\d\d):(\d\d\.\d{3})")


def read(path, *, stop, window=Window()):  # noqa: B008, a frozen value
    """(pts of the frames, notices, error)"""
    stamps, notices, error = [], [], None
    try:
        for frame in read_frames(probe(path), window, notices.append, stop_at_damage=stop):
            stamps.append(frame.time.pts)
    except SourceError as raised:
        error = raised
    return stamps, notices, error


def zero(path, *numbers):
    """Overwrite packets of the video with zeros."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    with path.open("rb+") as file:
        for number in numbers:
            file.seek(packets[number][0])
            file.write(bytes(packets[number][1]))


def seconds_in(text):
    hours, minutes, seconds = CLOCK.search(text).groups()
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)


def test_a_damaged_file_stops_at_the_first_damage(make_clip):
    clip = make_clip("clip.mp4", frames=40, noise=True, options={"g": "1"})
    zero(clip.path, 19, 30)
    stamps, notices, error = read(clip.path, stop=True)
    assert stamps == clip.pts[: len(stamps)] and len(stamps) <= 19
    assert notices == []
    assert re.search(r"clip\.mp4: damaged at 0:00:00\.760 \(.+\); .*on_decode_error=report", str(error))
    stamps, notices, error = read(clip.path, stop=False)
    assert (len(stamps), len(notices), error) == (38, 1, None)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.webm"])
def test_a_whole_file_is_read_to_its_end(make_clip, name):
    codec = {"codec": "libvpx-vp9"} if name.endswith("webm") else {"options": {"bf": "3", "g": "12"}}
    clip = make_clip(name, frames=30, **codec)
    stamps, notices, error = read(clip.path, stop=True)
    assert (len(stamps), notices, error) == (30, [], None)


def test_damage_behind_the_window_stops_nothing(make_clip):
    clip = make_clip("clip.mp4", frames=60, options={"g": "6", "bf": "0"})
    zero(clip.path, 50)
    stamps, _, error = read(clip.path, stop=True, window=Window(clip.pts[12], clip.pts[24]))
    assert (stamps, error) == (clip.pts[12:24], None)


@pytest.mark.parametrize("name", DAMAGED)
def test_real_files_stop_no_later_than_where_their_damage_is_reported(shared_media, name):
    reported, notices, error = read(shared_media / name, stop=False)
    (text,) = [notice for notice in notices if "damaged" in notice]
    assert error is None
    stamps, notices, error = read(shared_media / name, stop=True)
    assert "damaged" in str(error) and not any("damaged" in notice for notice in notices)
    assert stamps == reported[: len(stamps)] and len(stamps) <= len(reported)
    if " at " in text:
        assert seconds_in(str(error)) <= max(seconds_in(part) for part in text.split(";") if CLOCK.search(part))


def test_a_sequence_stops_at_its_first_bad_picture(tmp_path):
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", noise("rgb24"), "rgb24")
    bad = tmp_path / "2.png"
    bad.write_bytes(bad.read_bytes()[:100])
    stamps, _, error = read(tmp_path, stop=True)
    assert stamps == [0, 1] and "2.png" in str(error)
    assert read(tmp_path, stop=False)[0] == [0, 1, 3]


def test_an_animation_stops_where_it_is_damaged(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    path = tmp_path / "a.webp"
    first, *rest = [image.fromarray(np.full((40, 60, 3), 60 * n, np.uint8) ^ noise("rgb24", 60, 40)) for n in range(4)]
    first.save(path, save_all=True, append_images=rest, duration=40, lossless=True)
    data = bytearray(path.read_bytes())
    last = data.rindex(b"ANMF") + 24
    data[last + 8 + 5 : last + 300] = bytes([0x5A]) * (300 - 13)  # behind the frame's own header
    path.write_bytes(bytes(data))
    reported, notices, error = read(path, stop=False)
    assert error is None and len(notices) == 1 and "damaged" in notices[0] and len(reported) < 4
    stamps, notices, error = read(path, stop=True)
    assert stamps == reported and notices == []
    assert f"damaged at frame {len(stamps)}" in str(error)


@pytest.mark.parametrize("choice", ["report", "stop"])
def test_a_run_does_as_asked(make_clip, tmp_path, choice):
    clip = make_clip("clip.mp4", frames=20, noise=True, options={"g": "1"})
    zero(clip.path, 9)
    target, notices = tmp_path / "out" / "big.mp4", []
    target.parent.mkdir()
    options = UpscaleOptions(model="nearest", device="cpu", on_decode_error=choice)

    def on_event(event):
        if isinstance(event, Notice):
            notices.append(event.text)

    if choice == "stop":
        with pytest.raises(SourceError, match=r"damaged at 0:00:00\.360"):
            upscale_video(clip.path, target, options, on_event=on_event)
        assert not target.exists()
    else:
        assert upscale_video(clip.path, target, options, on_event=on_event).num_frames == 19
        assert any("1 frames could not be decoded, at 0:00:00.360" in text for text in notices)


def test_the_option():
    assert UpscaleOptions.from_mapping({"on_decode_error": "stop"}).on_decode_error == "stop"
    assert UpscaleOptions(on_decode_error="stop").digest() == UpscaleOptions().digest()
    with pytest.raises(UsageError, match="on_decode_error is 'ignore'; it must be report or stop"):
        UpscaleOptions(on_decode_error="ignore")
