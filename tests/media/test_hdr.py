"""Mastering display and content light level: read as they are, written by every codec into every container."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from fractions import Fraction

import av
import pytest

from vidsr.cli.probe import command
from vidsr.events import Notice
from vidsr.media.containers import CONTAINERS, CONTAINERS_BY_SUFFIX
from vidsr.media.hdr import HdrMetadata, Primaries, hdr_loss, with_hdr
from vidsr.media.read.probe import probe
from vidsr.media.write.encoders import find_encoder
from vidsr.media.write.matroska import VideoFields, placeholder, write_fields
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

P3 = Primaries(
    red=(Fraction(34000, 50000), Fraction(16000, 50000)),
    green=(Fraction(13250, 50000), Fraction(34500, 50000)),
    blue=(Fraction(7500, 50000), Fraction(3000, 50000)),
    white=(Fraction(15635, 50000), Fraction(16450, 50000)),
)
HDR = HdrMetadata(primaries=P3, luminance=(Fraction(50, 10000), Fraction(1000)), max_cll=1000, max_fall=400)
TEXT = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
PQ = (9, 1, 9, 16)
HDR_CLIP = {
    "codec": "libx265",
    "pix_fmt": "yuv420p10le",
    "tags": PQ,
    "size": (96, 80),
    "frames": 6,
    "options": {"preset": "ultrafast", "x265-params": f"log-level=error:master-display={TEXT}:max-cll=1000,400"},
}
SOFTWARE = ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"]
PAIRS = [
    (codec, suffix)
    for codec in SOFTWARE
    for suffix in (".mp4", ".mov", ".mkv", ".webm")
    if CONTAINERS_BY_SUFFIX[suffix].holds(find_encoder(codec).codec)
]


def upscale(source, target, **given):
    """(target, losses)"""
    found = []
    codec = given.get("codec", "libx264")
    presets = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12", "libvpx-vp9": "8"}
    values = {"model": "nearest", "scale": Fraction(1), "device": "cpu", "preset": presets.get(codec)} | given
    upscale_video(
        source,
        target,
        UpscaleOptions(**values),
        on_event=lambda e: found.append(e.text) if isinstance(e, Notice) else 0,
    )
    return target, found


def numbers_of(path, position=0):
    """What plain PyAV calls read of a file's first frame, or of one after a seek: 10 numbers, two flags, two lights."""
    with av.open(str(path)) as container:
        if position:
            container.seek(position)
        frame = next(container.decode(video=0))
        display, light = (frame.side_data.get(n) for n in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"))
        display = None if display is None else struct.unpack("=22i", bytes(display))
        light = None if light is None else struct.unpack("=2I", bytes(light))
    if display is None:
        return None, light
    return [Fraction(a, b) for a, b in zip(display[:20:2], display[1:20:2], strict=True)] + [*display[20:]], light


def numbers(hdr):
    colours = (hdr.primaries.red, hdr.primaries.green, hdr.primaries.blue, hdr.primaries.white)
    return [value for colour in colours for value in colour] + [*hdr.luminance, 1, 1], (hdr.max_cll, hdr.max_fall)


def assert_same(seen, hdr, codec):
    if codec == "libsvtav1":  # AV1 counts chromaticities in 1/65536, the least luminance in 1/16384
        wanted = [float(value) for value in numbers(hdr)[0]]
        assert [float(value) for value in seen[0]] == pytest.approx(wanted, abs=2**-15, rel=0)
        assert seen[1] == numbers(hdr)[1]
    else:
        assert seen == numbers(hdr)


def test_a_source_is_read(make_clip):
    clip = make_clip("in.mkv", **HDR_CLIP)
    assert probe(clip.path).hdr == HDR
    assert probe(make_clip("plain.mkv").path).hdr is None


@pytest.mark.parametrize(("codec", "suffix"), PAIRS, ids=str)
def test_it_reaches_every_codec_in_every_container(make_clip, look, tmp_path, codec, suffix):
    clip = make_clip("in.mp4", rate=Fraction(30000, 1001), **HDR_CLIP)
    target, losses = upscale(clip.path, tmp_path / f"out{suffix}", codec=codec)
    assert not [text for text in losses if "HDR10" in text]
    assert_same(numbers_of(target), HDR, codec)
    seen = look.video(target)
    assert seen.tags == PQ
    tolerance = 0 if suffix in (".mp4", ".mov") else Fraction(1, 2000)
    assert all(abs(a - b) <= tolerance for a, b in zip(seen.times, clip.times, strict=True))


IN_THE_STREAM = ["libx264", "libx265", "libsvtav1"]


@pytest.mark.parametrize("codec", IN_THE_STREAM)
def test_these_have_it_in_the_stream_itself(make_clip, tmp_path, codec):
    clip = make_clip("in.mkv", **HDR_CLIP)
    target, _ = upscale(clip.path, tmp_path / "out.mkv", codec=codec)
    bare = tmp_path / "bare.nut"  # a container that has no place for it
    with av.open(str(target)) as given, av.open(str(bare), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert_same(numbers_of(bare), HDR, codec)


@pytest.mark.parametrize(("codec", "suffix"), [("libx265", ".mp4"), ("libvpx-vp9", ".webm"), ("ffv1", ".mkv")], ids=str)
def test_it_is_there_after_a_seek(make_clip, tmp_path, codec, suffix):
    clip = make_clip("in.mkv", **{**HDR_CLIP, "frames": 30})
    options = {} if codec == "ffv1" else {"encoder_options": (("g", "10"),)}
    target, _ = upscale(clip.path, tmp_path / f"out{suffix}", codec=codec, **options)
    assert numbers_of(target, position=900_000) == numbers(HDR)


def test_the_ffmpeg_program_reads_it_from_the_container_alone(make_clip, tmp_path, ffmpeg_program):
    clip = make_clip("in.mkv", **HDR_CLIP)
    for codec, suffix in (("ffv1", ".mkv"), ("prores_ks", ".mov"), ("libx265", ".mp4"), ("libsvtav1", ".webm")):
        target, _ = upscale(clip.path, tmp_path / f"{codec}{suffix}", codec=codec)
        command = [ffmpeg_program, "-hide_banner", "-nostdin", "-i", str(target), "-f", "null", "-"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr.split("Stream mapping")[0]
        assert "r(0.6800,0.3200) g(0.2650,0.6900) b(0.1500 0.0600) wp(0.3127, 0.3290)" in said
        assert "min_luminance=0.005000, max_luminance=1000.000000" in said
        assert "MaxCLL=1000, MaxFALL=400" in said
        quiet = [*command[:2], "-v", "warning", *command[2:]]
        assert subprocess.run(quiet, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("params", [f"master-display={TEXT}", "max-cll=700,90"], ids=["display", "light"])
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mkv"), ("ffv1", ".mkv")], ids=str)
def test_one_of_the_two_stays_alone(make_clip, tmp_path, codec, suffix, params):
    clip = make_clip("in.mkv", **{**HDR_CLIP, "options": {"x265-params": f"log-level=error:{params}"}})
    target, losses = upscale(clip.path, tmp_path / f"out{suffix}", codec=codec)
    assert not losses
    display, light = numbers_of(target)
    if "master" in params:
        assert display == numbers(HDR)[0] and light in (None, (0, 0))  # x265 adds two zeros, which mean "unknown"
    else:
        assert display is None and light == (700, 90)


def test_what_the_user_says_comes_after_and_wins():
    options = with_hdr("libx265", {"crf": "19", "x265-params": "log-level=error:max-cll=5,4"}, HDR)
    assert options == {
        "crf": "19",
        "x265-params": f"master-display={TEXT}:max-cll=1000,400:log-level=error:max-cll=5,4",
    }


@pytest.mark.parametrize("codec", ["ffv1", "prores_ks", "libvpx-vp9"])
def test_options_of_codecs_without_a_place_for_it_stay(codec):
    options = find_encoder(codec).options(None, None)
    assert with_hdr(codec, options, HDR) == options


@pytest.mark.parametrize("codec", IN_THE_STREAM)
def test_options_without_metadata_stay(codec):
    options = find_encoder(codec).options(None, None)
    assert with_hdr(codec, options, None) == options
    assert with_hdr(codec, options, HdrMetadata(primaries=P3)) == options  # no encoder takes half of a display


def test_half_a_display_is_kept_or_told():
    half = HdrMetadata(primaries=P3, max_cll=10, max_fall=1)
    assert hdr_loss(CONTAINERS["matroska"], half) is None and hdr_loss(CONTAINERS["webm"], half) is None
    assert "only its colours are known" in hdr_loss(CONTAINERS["mp4"], half)
    other_half = HdrMetadata(luminance=(Fraction(0), Fraction(9)))
    assert "only its luminance is known" in hdr_loss(CONTAINERS["mov"], other_half)
    for whole in (HDR, None, HdrMetadata(max_cll=3, max_fall=2)):
        assert hdr_loss(CONTAINERS["mp4"], whole) is None


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (HDR, HDR),
        (replace(HDR, luminance=(Fraction(1), Fraction(1))), replace(HDR, luminance=None)),
        (replace(HDR, luminance=(Fraction(1), Fraction(500000))), replace(HDR, luminance=None)),
        (replace(HDR, primaries=replace(P3, red=(Fraction(3, 2), Fraction(0)))), replace(HDR, primaries=None)),
        (replace(HDR, primaries=replace(P3, blue=(Fraction(0), Fraction(-1, 9)))), replace(HDR, primaries=None)),
        (replace(HDR, max_cll=70000), replace(HDR, max_cll=None, max_fall=None)),
        (HdrMetadata(max_cll=1, max_fall=99999), None),
    ],
)
def test_numbers_that_cannot_be_count_as_not_said(make_clip, written, wanted):
    clip = make_clip("in.mkv", codec="ffv1", frames=2, video_metadata={"title": placeholder("")})
    with clip.path.open("rb+") as file:
        write_fields(file, "", VideoFields(sample_aspect_ratio=Fraction(1), hdr=written))
    assert probe(clip.path).hdr == wanted


REAL = [
    ("03_hdr10_hevc_mastering.mkv", ".mp4", "libx265", HDR),
    ("03_hdr10_hevc_mastering.mkv", ".mkv", "ffv1", HDR),
    ("15_hdr10_h264_cea608.ts", ".mov", "prores_ks", HDR),
    ("03_hdr10_av1_mdcv_clli_60p.mp4", ".mkv", "libx264", None),
]


@pytest.mark.parametrize(("name", "suffix", "codec", "hdr"), REAL, ids=str)
def test_real_files_keep_it(shared_media, tmp_path, name, suffix, codec, hdr):
    source = shared_media / name
    target, losses = upscale(source, tmp_path / f"out{suffix}", codec=codec, stop=2)
    assert not [text for text in losses if "HDR10" in text]
    assert numbers_of(target) == numbers_of(source)
    assert numbers_of(target)[1] == ((1000, 400) if hdr else (1100, 180))


@pytest.mark.parametrize("name", ["03_hlg_dovi84_iphone_rot-90.mov"])
def test_dolby_vision_is_told_as_lost(shared_media, name):
    assert "Dolby Vision metadata" in probe(shared_media / name).unkept


def test_the_probe_command_shows_it(make_clip, capsys):
    clip = make_clip("in.mkv", **HDR_CLIP)
    command(clip.path)
    shown = capsys.readouterr().out
    assert "(0.68, 0.32) (0.265, 0.69) (0.15, 0.06) (0.3127, 0.329)" in shown
    assert "0.005 to 1000 cd/m2" in shown and "1000 cd/m2 at most, 400 in the mean" in shown
    command(make_clip("stereo.mkv", video_metadata={"stereo_mode": "top_bottom"}).path)
    assert "stereo, top and bottom, left eye first" in capsys.readouterr().out
