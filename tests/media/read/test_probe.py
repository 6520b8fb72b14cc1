"""What a file is said to hold is what it holds, and what is no video is refused in words that name the file."""

from __future__ import annotations

import os
from array import array
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from vidsr.errors import SourceError, SourceMissingError
from vidsr.media.read.probe import _frame_rate, _is_hidden, probe


def test_the_facts_of_an_ordinary_file(make_clip):
    clip = make_clip(
        rate=Fraction(30000, 1001),
        frames=30,
        sar=Fraction(4, 3),
        tags=(1, 1, 1, 1),
        audio="aac",
        metadata={"title": "A clip"},
        audio_metadata={"language": "ger"},
        chapters=[(0, 500, "One"), (500, 1000, "Two")],
    )
    source = probe(clip.path)
    video = source.video
    assert source.path == clip.path
    assert "mp4" in source.container
    assert (video.codec, video.source_pix_fmt, video.picture.layout.name) == ("h264", "yuv420p", "yuv420p")
    assert (video.picture.width, video.picture.height) == (64, 48)
    assert video.average_rate == Fraction(30000, 1001)
    assert video.sample_aspect_ratio == Fraction(4, 3)
    assert video.rotation_degrees == 0 and source.display_matrix is None
    assert video.num_frames_from_index == len(source.pts) == 30
    assert [pts * video.time_base for pts in source.pts] == clip.times
    assert source.has_timestamps and source.keyframe_pts[0] == source.pts[0] == video.first_pts
    assert video.duration_seconds == pytest.approx(30 * 1001 / 30000)
    color = video.picture.color
    assert (color.matrix, color.full_range, color.primaries, color.transfer) == (1, False, 1, 1)
    assert "matrix" not in color.guessed and "range" not in color.guessed
    (audio,) = [other for other in source.others if other.kind == "audio"]
    assert (audio.codec, audio.language) == ("aac", "ger")
    assert source.tags["title"] == "A clip"
    assert source.num_chapters == 2


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_rotation_is_known_and_the_picture_is_as_coded(make_clip, rotation):
    source = probe(make_clip(rotation=rotation).path)
    assert abs(source.video.rotation_degrees - rotation) % 360 == 0
    assert source.display_matrix is not None and len(source.display_matrix) == 36
    assert (source.video.picture.width, source.video.picture.height) == (64, 48)


@pytest.mark.parametrize("start", [Fraction(0), Fraction(10)])
def test_the_first_stamp_is_kept(make_clip, start):
    base = Fraction(1, 12800)
    stamps = [round((start + Fraction(n, 25)) / base) for n in range(5)]
    source = probe(make_clip(pts=stamps, time_base=base).path)
    assert source.start_seconds == start
    assert source.pts[0] * source.video.time_base == start


def test_the_video_is_the_first_stream_that_is_no_cover(make_clip):
    clip = make_clip(audio="aac")
    png = av.CodecContext.create("png", "w")
    png.width, png.height, png.pix_fmt = 16, 16, "rgb24"
    cover_data = b"".join(bytes(p) for p in [*png.encode(av.VideoFrame(16, 16, "rgb24")), *png.encode(None)])
    twin = clip.path.with_name("twin.mp4")
    with av.open(str(clip.path)) as given, av.open(str(twin), "w") as out:
        cover = out.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        copies = {s.index: out.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
        packet = av.Packet(cover_data)
        packet.stream, packet.time_base, packet.pts, packet.dts = cover, Fraction(1, 25), 0, 0
        packet.is_keyframe = True
        out.mux(packet)
    source = probe(twin)
    assert (source.video.codec, source.video.picture.width) == ("h264", 64)
    assert sorted(other.kind for other in source.others) == ["audio", "video"]


@pytest.mark.parametrize(
    ("average", "guessed", "pts", "expected"),
    [
        (60000, 25, [0, 2400, 4800, 7200], 25),  # the DV demuxer states its time base
        (60000, 60000, [0, 2400, 4800, 7200], 25),
        (None, 25, [0, 2400, 4800], 25),
        (Fraction(30000, 1001), 30, [n * 2002 for n in range(9)], Fraction(30000, 1001)),
        (30, 30, [0, 2000, 4000, 12000], 30),  # a pause is no other rate
        (24, None, [0], 24),
        (None, None, [0], None),
        (24, 24, [7, 7], 24),
    ],
)
def test_the_frame_rate_is_one_that_fits_the_stamps(average, guessed, pts, expected):
    stream = SimpleNamespace(average_rate=average, guessed_rate=guessed, time_base=Fraction(1, 60000))
    assert _frame_rate(stream, array("q", pts)) == expected


@pytest.mark.parametrize(
    ("codec", "data", "hidden"),
    [
        ("vp8", b"\x10\x00", False),  # a shown key frame
        ("vp8", b"\x01\x00", True),
        ("vp8", b"\x11\x00", False),
        ("vp9", bytes([0b1000_0010, 0]), False),  # a shown key frame
        ("vp9", bytes([0b1000_0110, 0]), False),  # shown, not key
        ("vp9", bytes([0b1000_0100, 0]), True),
        ("vp9", bytes([0b1000_1000, 0]), False),  # shows a picture again
        ("vp9", bytes([0b1001_0100, 0]), True),  # profile 2
        ("vp9", bytes([0b1011_0010, 0]), True),  # profile 3 has a bit more before these
        ("vp9", bytes([0b1011_0011, 0]), False),
        ("vp9", bytes([0b1000_0100, 0b1100_0001]), False),  # a superframe ends with a shown picture
        ("h264", b"\x00\x00", False),
    ],
)
def test_reference_pictures_are_told_from_shown_ones(codec, data, hidden):
    assert _is_hidden(codec, av.Packet(data)) is hidden


def test_nothing_there_a_folder_and_an_empty_file(tmp_path):
    with pytest.raises(SourceMissingError, match=r"gone\.mp4: no such file"):
        probe(tmp_path / "gone.mp4")
    with pytest.raises(SourceError, match="is a folder"):
        probe(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceError, match=r"empty\.mp4: the file is empty"):
        probe(tmp_path / "empty.mp4")


@pytest.mark.parametrize(
    "data",
    [b"hello, this is a text\n", bytes(1000), b"\x00\x00\x00\x18ftypmp42" + bytes(40)],
    ids=["text", "0", "ftyp"],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "no video.mp4"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        probe(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_sound_alone_is_no_video(tmp_path, make_clip):
    clip = make_clip(audio="aac")
    path = tmp_path / "sound.m4a"
    with av.open(str(clip.path)) as given, av.open(str(path), "w", format="mp4") as out:
        copy = out.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(audio=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    with pytest.raises(SourceError, match=r"sound\.m4a: holds no video stream; found only audio"):
        probe(path)


def test_a_header_without_frames(make_clip):
    given = make_clip()
    path = given.path.with_name("init.mp4")
    with av.open(str(given.path)) as source, av.open(str(path), "w", options={"movflags": "empty_moov"}) as out:
        copy = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    with pytest.raises(SourceError, match=r"init\.mp4: .*no frames in it"):
        probe(path)


def test_a_video_of_which_nothing_decodes(make_clip):
    path = make_clip(frames=3).path
    with av.open(str(path)) as container:
        spots = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in spots:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"not one frame of the video can be decoded"):
        probe(path)


def test_a_size_that_no_video_has_is_refused(make_clip, monkeypatch):
    path = make_clip().path
    monkeypatch.setattr("vidsr.media.read.probe.MAX_MEGAPIXELS", 0.003)
    with pytest.raises(SourceError, match=r"clip\.mp4: claims 64x48 pixels"):
        probe(path)


@pytest.mark.parametrize(
    "name", ["a b&c?d#e%f'g\"h.mp4", "ümlaut-影片-🎬.mp4", "file:x.mp4", "%04d.mp4", "-i.mp4", "x" * 240 + ".mp4"]
)
def test_any_file_name_is_a_file_name(make_clip, name):
    clip = make_clip("clip.mp4")
    path = clip.path.rename(clip.path.with_name(name))
    assert len(probe(path).pts) == 12


def test_a_name_that_is_no_text(make_clip):
    clip = make_clip("clip.mp4")
    path = clip.path.rename(clip.path.with_name(os.fsdecode(b"\xff\xfe.mp4")))
    assert len(probe(path).pts) == 12
