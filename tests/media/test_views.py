"""Stereo and 360 degree video: read from real and made files, kept where a container can, told where not."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from vidsr.events import Notice
from vidsr.media.containers import CONTAINERS_BY_SUFFIX
from vidsr.media.read.probe import probe
from vidsr.media.views import Sphere, StereoLayout, sphere_loss, stereo_loss, unread_views
from vidsr.media.write.matroska import VideoFields, placeholder, write_fields
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

MODES = {
    "left_right": (("side by side", False), (1, 0)),
    "right_left": (("side by side", True), (1, 1)),
    "top_bottom": (("top and bottom", False), (2, 0)),
    "bottom_top": (("top and bottom", True), (2, 1)),
}
PLAIN = Sphere(yaw_degrees=Fraction(0), pitch_degrees=Fraction(0), roll_degrees=Fraction(0), bounds=(0, 0, 0, 0))
TURNED = replace(PLAIN, yaw_degrees=Fraction(90), pitch_degrees=Fraction(-45, 2), roll_degrees=Fraction(5))
CUT = replace(PLAIN, bounds=(2**30, 0, 2**30, 2**29))
TURNED_AND_CUT = replace(TURNED, bounds=(0, 2**31, 0, 0))


def upscale(source, target, **given):
    """The losses."""
    found = []
    values = {"model": "nearest", "scale": Fraction(1), "device": "cpu"} | given
    if values.get("codec", "libx264") == "libx264":
        values["preset"] = "ultrafast"
    upscale_video(
        source,
        target,
        UpscaleOptions(**values),
        on_event=lambda e: found.append(e.text) if isinstance(e, Notice) else 0,
    )
    return found


def numbers(path, name):
    """The integers of a side data as plain PyAV calls read it from the first frame."""
    with av.open(str(path)) as container:
        data = next(container.decode(video=0)).side_data.get(name)
        return None if data is None else struct.unpack(f"={len(bytes(data)) // 4}i", bytes(data))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mkv"), ("ffv1", ".mkv"), ("libvpx-vp9", ".webm")], ids=str)
def test_halves_stay_halves_in_matroska(make_clip, look, tmp_path, codec, suffix, mode):
    clip = make_clip("in.mkv", size=(64, 48), video_metadata={"stereo_mode": mode}, frames=3, sar=Fraction(4, 3))
    (kind, right_first), wanted = MODES[mode]
    assert probe(clip.path).stereo == StereoLayout(kind=kind, right_first=right_first)
    assert upscale(clip.path, tmp_path / f"out{suffix}", codec=codec) == []
    assert numbers(tmp_path / f"out{suffix}", "STEREO3D")[:2] == wanted
    assert look.video(tmp_path / f"out{suffix}").sample_aspect_ratio == look.video(clip.path).sample_aspect_ratio


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_halves_are_told_as_lost_elsewhere(make_clip, tmp_path, suffix):
    clip = make_clip("in.mkv", video_metadata={"stereo_mode": "left_right"}, frames=3)
    (line,) = upscale(clip.path, tmp_path / f"out{suffix}")
    assert "stereo 3D layout (side by side)" in line and suffix[1:] in line
    assert numbers(tmp_path / f"out{suffix}", "STEREO3D") is None
    assert stereo_loss(CONTAINERS_BY_SUFFIX[suffix], None) is None


@pytest.mark.parametrize("mode", ["checkerboard_lr", "row_interleaved_rl", "col_interleaved_lr"])
def test_interleaved_eyes_are_told_as_lost(make_clip, tmp_path, mode):
    clip = make_clip("in.mkv", video_metadata={"stereo_mode": mode}, frames=3)
    assert probe(clip.path).stereo is None
    (line,) = upscale(clip.path, tmp_path / "out.mkv")
    assert "only side by side and top and bottom stay" in line
    assert numbers(tmp_path / "out.mkv", "STEREO3D") is None


def test_mono_is_nothing_to_lose(make_clip, tmp_path):
    clip = make_clip("in.mkv", video_metadata={"stereo_mode": "mono"}, frames=3)
    assert probe(clip.path).stereo is None and probe(clip.path).unkept == ()
    assert upscale(clip.path, tmp_path / "out.mkv") == []


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_the_real_stereo_file(shared_media, look, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    source = shared_media / "20_stereo3d_left_right.webm"
    assert upscale(source, target, codec="libvpx-vp9", preset="8", stop=6) == []
    assert numbers(target, "STEREO3D") == numbers(source, "STEREO3D")
    assert look.video(target).sample_aspect_ratio == look.video(source).sample_aspect_ratio


def sphere_clip(make_clip, sphere):
    clip = make_clip("in.mkv", frames=3, video_metadata={"title": placeholder("")})
    with clip.path.open("rb+") as file:
        write_fields(file, "", VideoFields(sample_aspect_ratio=Fraction(1), sphere=sphere))
    assert probe(clip.path).sphere == sphere
    return clip


KEPT = [
    *(("libx264", ".mkv", sphere) for sphere in (PLAIN, TURNED, CUT, TURNED_AND_CUT)),
    *(("libx264", ".mp4", sphere) for sphere in (PLAIN, CUT, TURNED_AND_CUT)),
    ("prores_ks", ".mov", PLAIN),
    ("libvpx-vp9", ".webm", TURNED),
    ("libsvtav1", ".mp4", CUT),
]


@pytest.mark.parametrize(("codec", "suffix", "sphere"), KEPT)
def test_a_sphere_stays_one(make_clip, tmp_path, ffmpeg_program, codec, suffix, sphere):
    clip, target = sphere_clip(make_clip, sphere), tmp_path / f"out{suffix}"
    assert upscale(clip.path, target, codec=codec, scale=Fraction(2)) == []
    assert numbers(target, "SPHERICAL")[:8] == numbers(clip.path, "SPHERICAL")[:8]
    command = [ffmpeg_program, "-hide_banner", "-nostdin", "-i", str(target), "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert ("Spherical Mapping: tiled equirectangular" if any(sphere.bounds) else "Spherical Mapping: equi") in said


@pytest.mark.parametrize(("suffix", "sphere"), [(".mp4", TURNED), (".mov", TURNED), (".mov", CUT)])
def test_a_sphere_that_a_container_would_turn_is_told_as_lost(make_clip, tmp_path, suffix, sphere):
    clip, target = sphere_clip(make_clip, sphere), tmp_path / f"out{suffix}"
    (line,) = upscale(clip.path, target)
    assert "spherical projection" in line and "use .mkv" in line
    assert numbers(target, "SPHERICAL") is None
    assert sphere_loss(CONTAINERS_BY_SUFFIX[suffix], None) is None


def test_other_projections_are_named():
    cube_map = struct.pack("=4i5I", 1, 0, 0, 0, 0, 0, 0, 0, 0)

    class Data(bytes):
        type = SimpleNamespace(name="SPHERICAL")

    (line,) = unread_views(SimpleNamespace(side_data=[Data(cube_map)]))
    assert "only an equirectangular one" in line
    assert unread_views(SimpleNamespace(side_data=[])) == []


def test_a_picture_that_is_turned_has_its_halves_elsewhere(make_clip, tmp_path):
    clip = make_clip("in.mp4", frames=3, rotation=90)
    path = tmp_path / "stereo.mkv"
    with av.open(str(clip.path)) as given, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        stream.metadata["stereo_mode"] = "left_right"
        stream.set_display_rotation(90)
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert upscale(path, tmp_path / "kept.mkv") == []
    assert numbers(tmp_path / "kept.mkv", "STEREO3D")[:2] == (1, 0)
    (line,) = upscale(path, tmp_path / "turned.mkv", rotation="apply")
    assert "as the picture is turned" in line
    assert numbers(tmp_path / "turned.mkv", "STEREO3D") is None
