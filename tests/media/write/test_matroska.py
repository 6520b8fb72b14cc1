"""Fields put into a finished Matroska file: readers see them, and no other byte of the file has changed."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import zlib
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from vidsr.errors import TargetError
from vidsr.media.hdr import HdrMetadata, Primaries
from vidsr.media.views import Sphere, StereoLayout
from vidsr.media.write.matroska import VideoFields, display_size, placeholder, write_fields
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

BT2020 = Primaries(
    red=(Fraction(708, 1000), Fraction(292, 1000)),
    green=(Fraction(170, 1000), Fraction(797, 1000)),
    blue=(Fraction(131, 1000), Fraction(46, 1000)),
    white=(Fraction(3127, 10000), Fraction(3290, 10000)),
)
HDR = HdrMetadata(primaries=BT2020, luminance=(Fraction(1, 200), Fraction(4000)), max_cll=3999, max_fall=401)
EVERYTHING = VideoFields(
    sample_aspect_ratio=Fraction(64, 45),
    hdr=HDR,
    stereo=StereoLayout(kind="top and bottom", right_first=True),
    sphere=Sphere(
        yaw_degrees=Fraction(-45, 2), pitch_degrees=Fraction(10), roll_degrees=Fraction(1, 2), bounds=(0, 0, 2**31, 7)
    ),
    chroma_on_the_left=True,
)
SHAPE = VideoFields(sample_aspect_ratio=Fraction(64, 45))

SEGMENT, TRACKS, ENTRY, NAME, VIDEO, COLOUR, VOID, CRC = 0x18538067, 0x1654AE6B, 0xAE, 0x536E, 0xE0, 0x55B0, 0xEC, 0xBF


def walk(data, start=0, stop=None):
    """(id, start of the element, start of its content, stop) of the elements in a part of a file."""
    stop = len(data) if stop is None else stop
    while start < stop:
        id_length = 9 - data[start].bit_length()
        size_at = start + id_length
        size_length = 9 - data[size_at].bit_length()
        size = int.from_bytes(data[size_at : size_at + size_length], "big") - (1 << 7 * size_length)
        content = size_at + size_length
        yield int.from_bytes(data[start:size_at], "big"), start, content, content + size
        start = content + size
    assert start == stop, "the last element is longer than what it lies in"


def inside(data, kind, start=0, stop=None):
    """(start of the element, start of the content, stop) of each element of a kind."""
    return [span[1:] for span in walk(data, start, stop) if span[0] == kind]


def tracks_of(data):
    ((_, content, stop),) = inside(data, SEGMENT)
    ((start, content, stop),) = inside(data, TRACKS, content, stop)
    return start, content, stop


def video_of(data):
    """Number of each element in the description of the first track's video, those in Colour as well."""
    _, content, stop = tracks_of(data)
    (_, content, stop), *_ = inside(data, ENTRY, content, stop)
    ((_, content, stop),) = inside(data, VIDEO, content, stop)
    found = {kind: int.from_bytes(data[a:b], "big") for kind, _, a, b in walk(data, content, stop)}
    for _, a, b in inside(data, COLOUR, content, stop):
        found |= {kind: int.from_bytes(data[c:d], "big") for kind, _, c, d in walk(data, a, b)}
    return found


def mux(
    title="",
    *,
    name=None,
    container="matroska",
    size=(64, 48),
    num_sounds=0,
    attachments=(),
    options=None,
    metadata=None,
    frames=6,
    codec=None,
):
    """A finished file whose first track is a video of the given title."""
    memory = io.BytesIO()
    codec = codec or ("libvpx-vp9" if container == "webm" else "ffv1")
    with av.open(memory, "w", format=container, options=options or {}) as out:
        quick = {"cpu-used": "8", "deadline": "realtime", "g": "10"} if codec == "libvpx-vp9" else {"g": "2"}
        video = out.add_stream(codec, rate=25, options=quick)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.colorspace = 9
        video.metadata.update({"title": placeholder(title) if name is None else name, "language": "ger"})
        video.metadata.update(metadata or {})
        sounds = [out.add_stream("libopus", rate=48000, layout="stereo") for _ in range(num_sounds)]
        for number, sound in enumerate(sounds):
            sound.metadata["title"] = f"sound {number}"
        for number, data in enumerate(attachments):
            out.add_attachment(f"{number}.ttf", "application/x-truetype-font", data)
        generator = np.random.default_rng(1)
        packets = []
        for pts in range(frames):
            picture = generator.integers(16, 235, (size[1] * 3 // 2, size[0]), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        for sound in sounds:
            silence = np.zeros((1, 2 * 960), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, "s16", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            packets += [*sound.encode(frame), *sound.encode(None)]
        for packet in packets:
            out.mux(packet)
    return memory.getvalue()


def written(data, title, fields):
    file = io.BytesIO(data)
    write_fields(file, title, fields)
    return file.getvalue()


def read(data):
    """(title, SAR, numbers of the side data by name) as PyAV sees them, and all packets."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        packets = [(p.stream.index, p.pts, p.dts, bytes(p)) for p in container.demux() if p.size]
        titles = [s.metadata.get("title") for s in container.streams]
        ratio = stream.sample_aspect_ratio
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))
        sides = {str(side.type).removeprefix("Type."): bytes(side) for side in frame.side_data}
        numbers = {kind: struct.unpack(f"={len(value) // 4}i", value) for kind, value in sides.items()}
    return titles, ratio, numbers, packets


def assert_only_tracks_differ(before, after):
    assert len(before) == len(after)
    start, content, stop = tracks_of(before)
    assert tracks_of(after) == (start, content, stop)
    assert before[:content] == after[:content] and before[stop:] == after[stop:]
    old, new = ([span[0] for span in walk(data, content, stop)] for data in (before, after))
    assert old == new
    for _, first, last in inside(after, CRC, content, stop):
        assert first == content + 2, "a check sum comes first"
        assert after[first:last] == zlib.crc32(after[last:stop]).to_bytes(4, "little")
    old_entries, new_entries = (
        [data[a:b] for a, _, b in inside(data, ENTRY, content, stop)] for data in (before, after)
    )
    assert old_entries[1:] == new_entries[1:]


TITLES = ["", "x", "a title", "ä" * 20, "t" * 126, "t" * 127, "t" * 128, "long " * 900]


@pytest.mark.parametrize("fields", [SHAPE, EVERYTHING], ids=["shape", "everything"])
@pytest.mark.parametrize("title", TITLES, ids=lambda title: str(len(title)))
@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_any_title_stays_and_nothing_else_moves(container, title, fields):
    before = mux(title, container=container, frames=2)
    after = written(before, title, fields)
    assert_only_tracks_differ(before, after)
    titles, ratio, _, packets = read(after)
    assert (titles[0], ratio) == (title or None, Fraction(64, 45))
    assert packets == read(before)[3]
    assert b"fields of the video" not in after


def test_files_of_any_make():
    generator = random.Random(5)
    for _ in range(12):
        title = "".join(generator.choices("abcäö \u4e2d", k=generator.choice([0, 3, 40, 90, 5000])))
        before = mux(
            title,
            size=(generator.randrange(16, 200, 2), generator.randrange(16, 200, 2)),
            num_sounds=generator.choice([0, 1, 5, 30]),
            attachments=[
                generator.randbytes(generator.choice([1, 100, 20000])) for _ in range(generator.choice([0, 3]))
            ],
            options=generator.choice([{}, {"write_crc32": "0"}, {"reserve_index_space": "2000"}]),
            frames=3,
        )
        after = written(before, title, EVERYTHING)
        assert_only_tracks_differ(before, after)
        titles, ratio, _, packets = read(after)
        assert ratio == Fraction(64, 45)
        assert titles[0] == (title or None)
        assert titles[1:] == read(before)[0][1:]
        assert packets == read(before)[3]


def test_with_and_without_check_sums_are_both_tried():
    for options, wanted in ({}, 1), ({"write_crc32": "0"}, 0):
        data = mux(options=options)
        _, content, stop = tracks_of(data)
        assert len(inside(data, CRC, content, stop)) == wanted


@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_readers_get_every_number_back(container):
    after = written(mux("t", container=container), "t", EVERYTHING)
    _, _, numbers, _ = read(after)
    display = numbers["MASTERING_DISPLAY_METADATA"]
    ratios = [Fraction(a, b) for a, b in zip(display[:20:2], display[1:20:2], strict=True)]
    colours = (BT2020.red, BT2020.green, BT2020.blue, BT2020.white)
    assert ratios == [value for colour in colours for value in colour] + [Fraction(1, 200), 4000]
    assert display[20:] == (1, 1)
    assert numbers["CONTENT_LIGHT_LEVEL"] == (3999, 401)
    assert numbers["STEREO3D"][:2] == (2, 1)  # top and bottom, inverted
    projection, yaw, pitch, roll, *bounds, _ = numbers["SPHERICAL"]
    assert (projection, yaw, pitch, roll) == (2, -45 * 32768, 10 * 65536, 32768)  # 2: part of an equirectangular one
    assert [bound % 2**32 for bound in bounds] == [0, 0, 2**31, 7]


def test_the_ffmpeg_program_says_the_same_and_has_no_complaint(tmp_path, ffmpeg_program):
    path = tmp_path / "x.mkv"
    path.write_bytes(written(mux("A title", num_sounds=1), "A title", EVERYTHING))
    command = [ffmpeg_program, "-hide_banner", "-nostdin", "-i", str(path), "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    for words in (
        "SAR 64:45",
        ": A title",
        "r(0.7080,0.2920) g(0.1700,0.7970) b(0.1310 0.0460) wp(0.3127, 0.3290)",
        "min_luminance=0.005000, max_luminance=4000.0",
        "MaxCLL=3999, MaxFALL=401",
        "Stereo 3D: top and bottom",
        "tiled equirectangular (-22.500000/10.000000/0.500000)",
    ):
        assert words in said
    quiet = [*command[:2], "-v", "warning", *command[2:]]
    assert subprocess.run(quiet, capture_output=True, text=True, check=True).stderr == ""


def test_only_what_is_known_of_hdr_is_said():
    light = VideoFields(sample_aspect_ratio=Fraction(1), hdr=HdrMetadata(max_cll=1000, max_fall=1))
    numbers = read(written(mux(), "", light))[2]
    assert numbers["CONTENT_LIGHT_LEVEL"] == (1000, 1) and "MASTERING_DISPLAY_METADATA" not in numbers
    unknown = VideoFields(sample_aspect_ratio=Fraction(1), hdr=HdrMetadata(max_cll=1000, max_fall=0))
    seen = video_of(written(mux(), "", unknown))
    assert seen[0x55BC] == 1000 and 0x55BD not in seen
    half = VideoFields(sample_aspect_ratio=Fraction(1), hdr=HdrMetadata(luminance=(Fraction(1, 100), Fraction(600))))
    display = read(written(mux(), "", half))[2]["MASTERING_DISPLAY_METADATA"]
    assert (Fraction(*display[16:18]), Fraction(*display[18:20])) == (Fraction(1, 100), 600)
    assert display[20:] == (0, 1)
    nothing = read(written(mux(), "", VideoFields(sample_aspect_ratio=Fraction(1))))[2]
    assert not nothing.keys() & {"CONTENT_LIGHT_LEVEL", "MASTERING_DISPLAY_METADATA", "STEREO3D", "SPHERICAL"}


def test_what_the_file_already_said_stays():
    before = video_of(mux())
    after = video_of(written(mux(), "", EVERYTHING))
    assert before[0x55B1] == after[0x55B1] == 9  # matrix coefficients
    assert before.items() - {(0x54B2, 4), (COLOUR, before[COLOUR])} <= after.items()
    assert (after[0x55B7], after[0x55B8]) == (1, 2)  # chroma beside every second pixel, between two lines
    assert 0x55B7 not in video_of(written(mux(), "", SHAPE))


@pytest.mark.parametrize("ratio", [(1, 1), (64, 45), (8, 9), (10, 11), (2, 3), (186, 157), (1216, 1215), (1, 3)])
@pytest.mark.parametrize("size", [(96, 80), (1440, 1152), (1280, 960), (161, 121), (3840, 2160)])
def test_the_shape_is_exact_and_near_the_size_in_pixels(size, ratio):
    width, height, is_pixels = display_size(Fraction(size[0]), Fraction(size[1]), Fraction(*ratio))
    assert Fraction(width, height) == Fraction(*size) * Fraction(*ratio)
    if is_pixels:
        assert width == size[0] or height == size[1]
        assert width >= size[0] and height >= size[1]


def test_pixels_are_said_where_they_are_whole():
    assert display_size(Fraction(1440), Fraction(1152), Fraction(64, 45)) == (2048, 1152, True)
    assert display_size(Fraction(1440), Fraction(960), Fraction(8, 9)) == (1440, 1080, True)
    assert display_size(Fraction(1440), Fraction(960), Fraction(10, 11)) == (1440, 1056, True)
    assert display_size(Fraction(1440), Fraction(960), Fraction(40, 33)) == (1740, 957, False)  # 1745.45 by 960


@pytest.mark.parametrize("ratio", [Fraction(1), Fraction(64, 45), Fraction(9973, 9967)])
@pytest.mark.parametrize("stereo", [None, ("side by side", False), ("top and bottom", False), ("side by side", True)])
def test_the_shape_is_that_of_the_pixels_in_stereo_too(ratio, stereo):
    layout = None if stereo is None else StereoLayout(kind=stereo[0], right_first=stereo[1])
    data = written(mux(size=(160, 90)), "", VideoFields(sample_aspect_ratio=ratio, stereo=layout))
    assert read(data)[1] == ratio


def test_a_stereo_mode_that_is_there_counts():
    data = written(mux(metadata={"stereo_mode": "left_right"}), "", SHAPE)
    assert read(data)[1] == Fraction(64, 45)
    assert read(data)[2]["STEREO3D"][:2] == (1, 0)


def test_seeking_finds_the_same_pictures():
    before = mux("t", frames=60)
    after = written(before, "t", EVERYTHING)
    for target in (0, 400, 1000, 2360):
        pictures = []
        for data in (before, after):
            with av.open(io.BytesIO(data)) as container:
                container.seek(target, stream=container.streams.video[0])
                frame = next(container.decode(video=0))
                pictures.append((frame.pts, frame.to_ndarray().tobytes()))
        assert pictures[0] == pictures[1]
        assert abs(pictures[0][0] - target) <= 80


def refused(data, match, title=""):
    file = io.BytesIO(data)
    with pytest.raises(ValueError, match=match):
        write_fields(file, title, EVERYTHING)
    assert file.getvalue() == data


def test_a_file_that_is_not_as_expected_is_refused_and_left_alone():
    refused(mux(name="some title"), "0 tracks have the placeholder")
    refused(mux("one"), "0 tracks have the placeholder", title="two")
    refused(b"", "no element where one should begin")
    refused(b"\0" * 100, "no element where one should begin")
    refused(b"RIFF" + bytes(100), "no table of tracks")
    refused(mux(options={"live": "1"}), "unknown size")
    data = mux()
    refused(data[: len(data) // 2], "no table of tracks")


def test_a_damaged_table_of_tracks_is_refused_and_left_alone():
    data = mux("t", num_sounds=2)
    _, content, stop = tracks_of(data)
    for position in range(content + 2, stop, 7):  # from the check sum on
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        refused(bytes(damaged), ".", title="t")


def test_two_tracks_of_that_title_are_refused():
    data = mux(options={"write_crc32": "0"})
    table, content, end = tracks_of(data)
    ((first, _, last),) = inside(data, ENTRY, content, end)
    body = data[first:last] * 2
    head = (TRACKS).to_bytes(4, "big") + ((1 << 56) | len(body)).to_bytes(8, "big")
    ((segment, inner, _),) = inside(data, SEGMENT)
    rest = data[inner:table] + head + body + data[end:]
    refused(data[:segment] + SEGMENT.to_bytes(4, "big") + ((1 << 56) | len(rest)).to_bytes(8, "big") + rest, "2 tracks")


def test_steps_of_all_titles_leave_no_gap_that_cannot_be_filled():
    """A Void element takes two bytes at least: lengths around those where sizes need one byte more."""
    for low, high in pairwise([0, 1, 60, 61, 62, 63, 64, 65, 16380, 16381, 16382, 16383, 16384]):
        for title in ("u" * low, "u" * high):
            before = mux(title, frames=1)
            assert_only_tracks_differ(before, written(before, title, EVERYTHING))


@pytest.fixture
def upscaled(make_clip, tmp_path):
    """A function that makes a Matroska file of a clip with narrow pixels."""

    def make(name, codec, **how):
        clip = make_clip("in.mkv", sar=Fraction(3, 4), frames=3, **how)
        options = UpscaleOptions(model="nearest", device="cpu", codec=codec)
        return upscale_video(clip.path, tmp_path / name, options).target

    return make


@pytest.mark.parametrize("codec", ["libx264", "libx265", "ffv1"])
def test_targets_give_the_shape_in_their_container_too(upscaled, codec, one_thread):
    path = upscaled("out.mkv", codec, video_metadata={"title": "The title"})
    numbers = video_of(path.read_bytes())
    assert (numbers[0x54B0], numbers[0x54BA]) == (128, 128)  # 128x96 pixels, each as wide as 3/4 of its height
    assert 0x54B2 not in numbers  # pixels, not an unknown unit
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(3, 4)
        assert container.streams.video[0].metadata["title"] == "The title"


def test_a_target_that_cannot_get_its_fields_is_none(upscaled, tmp_path, monkeypatch, one_thread):
    monkeypatch.setattr("vidsr.media.write.join.placeholder", lambda title: title)
    with pytest.raises(TargetError, match=r"out\.mkv: cannot be written \(0 tracks have the placeholder"):
        upscaled("out.mkv", "ffv1")
    assert not (tmp_path / "out.mkv").exists()
    assert [path.name for path in tmp_path.glob(".vidsr-*/*.part")] == []
