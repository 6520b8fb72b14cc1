"""Sources that say less than others: no order of presentation, no times, nowhere to seek; and names that collide."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import pytest
from typer.testing import CliRunner

import vidsr
from vidsr.cli.main import app
from vidsr.judge.streams import lost_tags
from vidsr.judge.verify import verify
from vidsr.media.read.probe import probe as probe_video
from vidsr.media.read.source import probe, recognise_fields
from vidsr.media.survey.survey import survey

OPTIONS = vidsr.UpscaleOptions(model="nearest", scale=Fraction(1), codec="ffv1", device="cpu")


@pytest.fixture
def ffmpeg(tmp_path, ffmpeg_program):
    def run(name, *arguments, pattern="testsrc2=s=160x120:r=25:d=1", audio=()):
        command = [ffmpeg_program, "-v", "error", "-f", "lavfi", "-i", pattern, *audio, *arguments]
        subprocess.run([*command, str(tmp_path / name)], check=True)
        return tmp_path / name

    return run


def test_h264_in_avi_is_in_the_order_that_it_is_shown_in(ffmpeg, look, tmp_path):
    source = ffmpeg("in.avi", "-c:v", "libx264", "-bf", "3", "-x264-params", "b-adapt=0")
    target, events = tmp_path / "out.mkv", []
    vidsr.upscale_video(source, target, OPTIONS, on_event=events.append)
    assert not [event for event in events if isinstance(event, vidsr.events.Notice)]
    assert [float(time) for time in look.video(target).times] == pytest.approx([n / 25 for n in range(1, 26)], abs=1e-3)
    assert verify(source, target).passes()
    part = vidsr.UpscaleOptions(**{**vars(OPTIONS), "start": 10, "stop": 14})
    vidsr.upscale_video(source, tmp_path / "part.mkv", part)
    whole, pieces = look.planes(target), look.planes(tmp_path / "part.mkv")
    assert len(pieces) == 4
    for wanted, found in zip(whole[10:14], pieces, strict=True):
        assert (wanted[0] == found[0]).all()


@pytest.mark.parametrize(
    ("name", "codec"), [("in.h264", "libx264"), ("in.mjpeg", "mjpeg"), ("in.m2v", "mpeg2video")], ids=str
)
def test_parts_of_bare_streams(ffmpeg, look, tmp_path, name, codec):
    source = ffmpeg(name, "-c:v", codec)
    part = vidsr.UpscaleOptions(**{**vars(OPTIONS), "start": Fraction("0.39"), "stop": Fraction("0.6")})
    vidsr.upscale_video(source, tmp_path / "out.mkv", part)  # its check at the end raises
    assert look.video(tmp_path / "out.mkv").count == 5


def test_bare_streams_are_cut_by_the_rate_of_their_header(ffmpeg, look, tmp_path):
    source = ffmpeg("in.h264", "-c:v", "libx264", pattern="testsrc2=s=160x120:r=30:d=1")  # FFmpeg's average is 25
    part = vidsr.UpscaleOptions(**{**vars(OPTIONS), "start": Fraction("0.21"), "stop": Fraction("0.57")})
    vidsr.upscale_video(source, tmp_path / "out.mkv", part)
    assert look.video(tmp_path / "out.mkv").count == 11


def test_sound_of_a_transport_stream_in_mp4_is_all_kept(ffmpeg, tmp_path):
    sine = ("-f", "lavfi", "-i", "sine=r=48000:d=1")
    source = ffmpeg("in.ts", "-c:v", "libx264", "-c:a", "mp2", audio=sine)
    options = vidsr.UpscaleOptions(**{**vars(OPTIONS), "codec": "libx264"})
    vidsr.upscale_video(source, tmp_path / "out.mp4", options)
    verdict = verify(source, tmp_path / "out.mp4")
    assert [check for check in verdict.checks if check.outcome != "ok"] == []


def test_a_title_that_mp4_calls_a_name_is_kept():
    assert lost_tags({"title": "A"}, {"name": "A"}) == []
    assert lost_tags({"title": "A"}, {"name": "B"}) == ["title"]


def test_dithered_animations_have_no_fields(ffmpeg):
    source = ffmpeg("in.gif", pattern="testsrc2=s=160x120:r=10:d=1")
    assert recognise_fields(probe(source)).kind == "progressive"


def test_matroska_has_its_time_code_in_capitals(ffmpeg):
    source = ffmpeg("in.mkv", "-c:v", "ffv1", "-metadata", "TIMECODE=01:02:03:04")
    assert survey(source).timecode == "01:02:03:04"


@pytest.mark.parametrize("pix_fmt", ["yuva420p", "yuva444p10le", "yuva422p10le"])
def test_vp9_keeps_alpha_of_every_chroma(ffmpeg, tmp_path, pix_fmt):
    source = ffmpeg("in.mkv", "-vf", f"format={pix_fmt}", "-c:v", "ffv1", pattern="testsrc2=s=64x48:r=25:d=0.1")
    options = vidsr.UpscaleOptions(**{**vars(OPTIONS), "codec": "libvpx-vp9"})
    vidsr.upscale_video(source, tmp_path / "out.webm", options)
    assert probe_video(tmp_path / "out.webm").video.picture.layout.name.startswith(pix_fmt[:8])


def test_two_sources_never_share_a_target(ffmpeg, tmp_path):
    first, second = ffmpeg("clip.avi", "-c:v", "mpeg4"), ffmpeg("clip.flv", "-c:v", "flv1")
    folder = tmp_path / "out"
    command = ["upscale", str(first), str(second), "-o", str(folder), "--model", "nearest", "--overwrite"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert f"is the target of {first} too" in result.output.replace("\n", " ")
    assert "1 of 2 files done" in result.output
