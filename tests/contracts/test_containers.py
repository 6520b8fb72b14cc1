"""What every container's row promises: what it keeps comes back from a file, what it does not keep is told as lost."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
from av.codec import Codec
from av.codec.codec import UnknownCodecError

from vidsr.errors import UsageError
from vidsr.events import Notice
from vidsr.frames import pixel_layout
from vidsr.media.containers import CONTAINERS, CONTAINERS_BY_OPTION, PICTURES, container_of
from vidsr.media.hdr import HdrMetadata, hdr_loss
from vidsr.media.views import Sphere, read_sphere
from vidsr.media.write.encoders import ENCODERS, PICTURE_ENCODERS, choose_layout, find_encoder
from vidsr.media.write.matroska import VideoFields, placeholder, write_fields
from vidsr.media.write.still import write_png
from vidsr.options.upscale import Container as ContainerOption
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")
FILES = tuple(CONTAINERS.values())
ROWS = [*FILES, PICTURES]
SOFTWARE = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1", "prores_ks")
UNUSUAL_TAG = "shooting_day"
NUM_FRAMES = 12


def name_of(row):
    return row.name


each_row = pytest.mark.parametrize("row", ROWS, ids=name_of)
each_file = pytest.mark.parametrize("row", FILES, ids=name_of)


def upscale(source, target, row, **given):
    """Made with the first encoder that the container holds: the lines told."""
    codec = next(name for name in (*SOFTWARE, *PICTURE_ENCODERS) if row.holds(find_encoder(name).codec))
    values = {"model": "nearest", "scale": 1, "device": "cpu", "codec": codec} | given
    said = []
    upscale_video(
        source,
        target,
        UpscaleOptions(**values),
        on_event=lambda event: said.append(event.text) if isinstance(event, Notice) else None,
    )
    return said


def target_for(row, folder):
    if row is PICTURES:
        return folder / "pictures"
    return folder / f"out{row.suffixes[0]}"


@pytest.fixture
def full_clip(make_clip):
    """A clip in the container that holds most, with one of everything."""
    return make_clip(
        "in.mkv",
        frames=NUM_FRAMES,
        rate=Fraction(30000, 1001),
        time_base=Fraction(1, 1000),
        pts=[round(n * Fraction(1001, 30)) for n in range(NUM_FRAMES)],
        size=(64, 64),
        sar=Fraction(4, 3),
        rotation=90,
        audio="aac",
        metadata={UNUSUAL_TAG: "7", "comment": "said of it"},
        chapters=[(0, 200, "one"), (200, 400, "two")],
        attachment=b"\0font" * 30,
        subtitles=[(0, 200, "hello"), (200, 150, "<i>there</i>")],
    )


def told(lines, *words):
    """Whether one line tells all of these as lost."""
    return any(line.startswith("left out: ") and all(word in line for word in words) for line in lines)


def streams_of(path):
    """The codec of the last stream of each type."""
    with av.open(str(path)) as container:
        return {s.type: s.codec_context and s.codec_context.codec.canonical_name for s in container.streams}


def side_data(path):
    with av.open(str(path)) as container:
        return {item.type.name for item in next(container.decode(video=0)).side_data}


@each_file
def test_what_comes_along_is_kept_or_told(full_clip, look, tmp_path, row):
    target = target_for(row, tmp_path)
    lines = upscale(full_clip.path, target, row)
    before, after = look.video(full_clip.path), look.video(target)
    tolerance = (row.tick or 0) / 2
    assert all(abs(a - b) <= tolerance for a, b in zip(after.times, before.times, strict=True))
    assert after.rotation == before.rotation != 0
    assert after.sample_aspect_ratio == before.sample_aspect_ratio == Fraction(4, 3)
    old, new, kept = look.facts(full_clip.path), look.facts(target), streams_of(target)
    assert new["chapters"] == old["chapters"] and len(old["chapters"]) == 2

    assert ("audio" in kept) is not told(lines, "(audio, aac")
    if "audio" in kept:
        assert look.payload(target, "audio") == look.payload(full_clip.path, "audio")
    is_converted = kept["subtitle"] != "subrip"
    assert kept["subtitle"] == (row.text_codec if is_converted else "subrip")
    assert any(f"becomes {row.text_codec}: " in line for line in lines) is is_converted
    assert ("attachment" in kept) is row.attachments
    assert told(lines, f"{row.name} cannot hold attachments") is not row.attachments

    tags = {key.lower(): value for key, value in new["tags"].items()}
    assert (tags.get(UNUSUAL_TAG) == old["tags"][UNUSUAL_TAG.upper()]) is not told(lines, "tags", UNUSUAL_TAG.upper())
    assert row.tags == "few or keys" or not told(lines, "tags of the file")
    assert tags["comment"] == "said of it" and "vidsr" in tags.get("vidsr", tags.get("description"))


@each_file
def test_times_are_exact_to_the_tick_and_chapters_stay_with_their_pictures(make_clip, look, tmp_path, row):
    clip = make_clip("in.mp4", size=(64, 64), rate=Fraction(30000, 1001), audio="aac", chapters=[(0, 200, "one")])
    target, half_a_tick = target_for(row, tmp_path), (row.tick or 0) / 2
    upscale(clip.path, target, row)
    first, *times = look.video(target).times
    assert all(
        abs(time - first - wanted) <= 2 * half_a_tick for time, wanted in zip(times, clip.times[1:], strict=True)
    )
    ((start, _, _),) = look.facts(target)["chapters"]
    assert abs(start - first) <= max(half_a_tick, Fraction(1, 1000))


@each_file
def test_time_codes(make_clip, tmp_path, row):
    clip = make_clip("in.mkv", size=(64, 64), frames=3, video_metadata={"timecode": "10:00:00:00"})
    target = target_for(row, tmp_path)
    assert upscale(clip.path, target, row) == []
    with av.open(str(target)) as container:
        said = [{key.lower(): value for key, value in stream.metadata.items()} for stream in container.streams]
    assert [tags.get("timecode") for tags in said] == ["10:00:00:00"] * (2 if row.timecode_tracks else 1)


@each_file
def test_a_cover_is_kept_or_told(make_clip, tmp_path, row):
    write_png(tmp_path / "cover.png", np.zeros((8, 8, 3), np.uint8))
    clip = make_clip("plain.mkv", size=(64, 64), frames=3)
    with av.open(str(clip.path)) as plain, av.open(str(tmp_path / "in.mkv"), "w") as out:
        out.add_attachment("cover.png", "image/png", (tmp_path / "cover.png").read_bytes())
        copy = out.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    target = target_for(row, tmp_path)
    lines = upscale(tmp_path / "in.mkv", target, row)
    with av.open(str(target)) as container:
        kept = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
    assert bool(kept) is not told(lines, "(video, png")
    assert row.covers != "attachment" or kept
    assert (row.covers is None) is told(lines, f"{row.name} cannot hold cover pictures")


@each_file
def test_stereo_is_kept_or_told(make_clip, tmp_path, row):
    clip = make_clip("in.mkv", size=(64, 64), frames=3, video_metadata={"stereo_mode": "left_right"})
    target = target_for(row, tmp_path)
    lines = upscale(clip.path, target, row)
    assert told(lines, "stereo 3D layout", row.name) is not row.stereo
    assert ("STEREO3D" in side_data(target)) is row.stereo


@each_file
@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("is_turned", [False, True])
def test_spheres_are_kept_or_told(make_clip, tmp_path, row, is_cut, is_turned):
    clip = make_clip("plain.mkv", size=(64, 64), frames=3, video_metadata={"title": placeholder("")})
    sphere = Sphere(
        yaw_degrees=Fraction(30 if is_turned else 0),
        pitch_degrees=Fraction(0),
        roll_degrees=Fraction(0),
        bounds=(0, 1 << 30, 0, 1 << 30) if is_cut else (0, 0, 0, 0),
    )
    with clip.path.open("rb+") as file:
        write_fields(file, "", VideoFields(sample_aspect_ratio=Fraction(1), sphere=sphere))
    target = target_for(row, tmp_path)
    lines = upscale(clip.path, target, row)
    is_kept = row.keeps_sphere(is_cut=is_cut, is_turned=is_turned)
    assert told(lines, "spherical projection", row.name) is not is_kept
    with av.open(str(target)) as container:
        assert read_sphere(next(container.decode(video=0))) == (sphere if is_kept else None)


@each_file
def test_half_a_mastering_display_is_kept_or_told(row):
    half = HdrMetadata(luminance=(Fraction(0), Fraction(1000)))
    line = hdr_loss(row, half)
    assert (line is None) is row.half_mastering_display
    assert line is None or told([line], "mastering display", row.name)


@each_row
def test_alpha_is_kept_or_not_even_tried(row):
    source = pixel_layout("yuva420p")
    for encoder in [encoder for encoder in ENCODERS.values() if row.holds(encoder.codec)]:
        try:
            Codec(encoder.name, "w")
        except UnknownCodecError:  # another system's
            continue
        layout = choose_layout(encoder, source, None, row)
        can = choose_layout(encoder, source, None, CONTAINERS["matroska"]).has_alpha
        assert layout.has_alpha is (can and (row.alpha_beside_packets or not encoder.alpha_beside_packets))


def test_beside_pictures_everything_is_told(full_clip, tmp_path):
    assert not PICTURES.holds_streams
    lines = upscale(full_clip.path, target_for(PICTURES, tmp_path), PICTURES)
    wanted = (["(audio"], ["(subtitle"], ["(attachment"], ["2 chapters"], ["tags", UNUSUAL_TAG.upper()], ["matrix"])
    assert [words for words in wanted if not told(lines, *words)] == []
    assert len(list((tmp_path / "pictures").iterdir())) == NUM_FRAMES


@each_row
def test_ffmpeg_knows_what_a_row_names(row):
    assert row.holds_streams is (row is not PICTURES)
    if row.holds_streams:
        with av.open(io.BytesIO(), "w", format=row.name) as out:
            assert {row.text_codec, row.stand_in_codec} <= out.supported_codecs
            assert row.video_codecs <= out.supported_codecs
    for codec in row.video_codecs:
        assert [name for name, encoder in {**ENCODERS, **PICTURE_ENCODERS}.items() if encoder.codec == codec]


def test_encoders_name_the_codec_that_they_write():
    for name, encoder in {**ENCODERS, **PICTURE_ENCODERS}.items():
        try:
            assert Codec(name, "w").canonical_name == encoder.codec
        except UnknownCodecError:  # another system's
            continue
        assert [row.name for row in ROWS if row.holds(encoder.codec)]


def test_names_are_found_again_and_are_one_rows_alone():
    for row in FILES:
        assert all(container_of(Path(f"x{suffix}")) is row for suffix in row.suffixes)
        assert container_of(Path(f"x{row.suffixes[0].upper()}")) is row
        assert row.option is None or CONTAINERS_BY_OPTION[row.option] is row
    suffixes = [suffix for row in FILES for suffix in row.suffixes]
    assert len(set(suffixes)) == len(suffixes) and not PICTURES.suffixes
    assert get_args(ContainerOption) == ("auto", *CONTAINERS_BY_OPTION)
    with pytest.raises(UsageError, match=f"use one of {', '.join(suffixes)}$"):
        container_of(Path("x.avi"))
