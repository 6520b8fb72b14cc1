"""The target holds every frame at its time, and everything else of the source that its container can hold."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vidsr.errors import SourceMissingError, TargetError
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.media.containers import CONTAINERS, CONTAINERS_BY_SUFFIX
from vidsr.media.read.probe import probe
from vidsr.media.write.copies import plan_copies
from vidsr.media.write.encoders import find_encoder, fit_slices
from vidsr.media.write.join import Cut, join
from vidsr.media.write.segment import EncodeSettings, SegmentWriter

VARIABLE = [0, 1, 2, 5, 9, 10, 11, 30, 31, 40, 41, 43]


def picture_of(pix_fmt="yuv420p", size=(64, 48), **color):
    tags = {"matrix": 1, "full_range": False, "siting": "left", "primaries": 1, "transfer": 1} | color
    return PictureFormat(width=size[0], height=size[1], layout=pixel_layout(pix_fmt), color=ColorTags(**tags))


def write_segments(folder, parts, picture, codec="libx264", time_base=Fraction(1, 25), sar=1):
    """Segment files of the given lists of stamps; frame n of all has the level of frame n."""
    encoder, paths, number = find_encoder(codec), [], 0
    settings = EncodeSettings(
        codec=codec,
        segment_format=encoder.segment_format,
        options=fit_slices(codec, encoder.options(None, None), picture),
        picture=picture,
        time_base=time_base,
        frame_rate=Fraction(25),
        sample_aspect_ratio=Fraction(sar),
    )
    for index, stamps in enumerate(parts):
        paths.append(folder / f"{index:06d}.segment")
        writer = SegmentWriter(paths[-1], settings)
        for pts in stamps:
            level = (48 + number * 9 % 150) << (picture.layout.depth - 8)
            planes = [np.full(shape, level, picture.layout.dtype) for shape in picture.plane_shapes]
            writer.write(planes, FrameTime(pts=pts, duration=0))
            number += 1
        writer.close()
    return paths


def make(clip, target, *, parts=None, picture=None, codec="libx264", time_base=None, sar=1, cut=None, tags=None):
    """Join segments of `parts` with all the rest of `clip`; returns the notices."""
    source, notices = probe(clip.path), []
    base = time_base or source.video.time_base
    source = replace(source, video=replace(source.video, time_base=base))
    picture = picture or picture_of()
    folder = target.parent / "segments"
    folder.mkdir(exist_ok=True)
    parts = parts if parts is not None else [list(source.pts)]
    paths = write_segments(folder, parts, picture, codec, base, sar)
    cut = cut or Cut()
    copies = plan_copies(source, CONTAINERS_BY_SUFFIX[target.suffix])
    count = join(
        paths,
        source,
        picture,
        Fraction(sar),
        source.display_matrix,
        copies,
        cut,
        folder / "joined.part",
        target,
        tags or {},
        notices.append,
    )
    assert count == sum(len(part) for part in parts)
    assert not (folder / "joined.part").exists()
    return [*copies.losses, *notices]


PAIRS = [
    (codec, suffix)
    for codec in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")
    for suffix in (".mp4", ".mov", ".mkv", ".webm")
    if CONTAINERS_BY_SUFFIX[suffix].holds(find_encoder(codec).codec)
]
STAMPS = {
    "even": (Fraction(1, 25), [list(range(24))]),
    "ntsc": (Fraction(1, 30000), [[n * 1001 for n in range(24)]]),
    "variable": (Fraction(1, 600), [[n * 20 for n in VARIABLE]]),
    "late": (Fraction(1, 12800), [[128000 + n * 512 for n in range(12)]]),
    "split": (Fraction(1, 90000), [[n * 3003 for n in range(a, b)] for a, b in ((0, 7), (7, 8), (8, 24))]),
    "one": (Fraction(1, 25), [[3]]),
}


WITH_REORDERING = [("libx264", ".mp4"), ("libx264", ".mkv"), ("libx265", ".mp4"), ("libx265", ".mov")]


@pytest.mark.parametrize(
    ("codec", "suffix", "stamps"),
    [(*pair, stamps) for pair in PAIRS for stamps in (STAMPS if pair in WITH_REORDERING else ("variable", "split"))],
    ids=lambda value: str(value).strip("."),
)
def test_every_frame_has_its_own_time(make_clip, look, tmp_path, codec, suffix, stamps):
    time_base, parts = STAMPS[stamps]
    clip, target = make_clip(), tmp_path / f"out{suffix}"
    picture = picture_of("yuv422p10le" if codec == "prores_ks" else "yuv420p", size=(96, 80))
    assert make(clip, target, parts=parts, picture=picture, codec=codec, time_base=time_base) == []
    seen = look.video(target)
    wanted = [pts * time_base for part in parts for pts in part]
    if suffix in (".mp4", ".mov"):
        assert seen.times == wanted
    else:
        assert len(seen.times) == len(wanted)
        assert all(abs(a - b) <= Fraction(1, 2000) for a, b in zip(seen.times, wanted, strict=True))
    scale = 16 if "12" in seen.pix_fmt else 4 if "10" in seen.pix_fmt else 1
    levels = [scale * (48 + n * 9 % 150) for n in range(len(wanted))]
    assert seen.means == pytest.approx(levels, abs=3 * scale)


def test_the_streams_that_are_tried_do_have_frames_out_of_order(make_clip, tmp_path):
    for codec in ("libx264", "libx265"):
        (path,) = write_segments(tmp_path, [list(range(24))], picture_of(size=(96, 80)), codec)
        with av.open(str(path), format="nut") as container:
            stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
        assert stamps != sorted(stamps)


SOUND = [
    ("aac", ".mp4", ".mp4"),
    ("aac", ".mkv", ".mp4"),
    ("aac", ".ts", ".mp4"),
    ("aac", ".ts", ".mkv"),
    ("aac", ".mp4", ".mkv"),
    ("aac", ".mov", ".mov"),
    ("ac3", ".mp4", ".mp4"),
    ("ac3", ".ts", ".mkv"),
    ("libmp3lame", ".mp4", ".mkv"),
    ("libmp3lame", ".avi", ".mp4"),
    ("libopus", ".mkv", ".mp4"),
    ("libopus", ".webm", ".webm"),
    ("flac", ".mkv", ".mkv"),
    ("flac", ".mkv", ".mp4"),
    ("alac", ".mov", ".mov"),
    ("pcm_s16le", ".mov", ".mov"),
    ("pcm_s16le", ".avi", ".mkv"),
    ("pcm_s16le", ".mkv", ".mp4"),
    ("pcm_s24le", ".mkv", ".mkv"),
]


@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 7)], ids=["0", "odd"])
@pytest.mark.parametrize(("audio", "given", "suffix"), SOUND)
def test_sound_keeps_its_packets_and_its_place(make_clip, look, tmp_path, audio, given, suffix, start):
    vp9 = {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}} if given == ".webm" else {}
    clip = make_clip(f"in{given}", audio=audio, audio_start=start, frames=24, **vp9)
    target = tmp_path / f"out{suffix}"
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    assert make(clip, target, codec=codec) == []
    (before,), (after,) = look.packets(clip.path, "audio"), look.packets(target, "audio")
    assert [digest for digest, _ in after] == [digest for digest, _ in before]
    offsets = [
        [time - look.video(path).times[0] for _, time in packets if time is not None]
        for path, packets in ((clip.path, before), (target, after))
    ]
    # One sample, or half a tick of the picture; Matroska has milliseconds, for the picture and for the sound.
    tolerance = Fraction(1, 48000) if suffix in (".mp4", ".mov") and given not in (".mkv",) else Fraction(1, 1000)
    assert abs(offsets[0][0] - offsets[1][0]) <= tolerance
    assert all(abs(a - b) <= tolerance for a, b in zip(*offsets, strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_colour_shape_and_rotation_are_kept(make_clip, look, tmp_path, suffix, codec):
    clip, target = make_clip(rotation=90, sar=Fraction(4, 3)), tmp_path / f"out{suffix}"
    picture = picture_of("yuv420p10le", size=(96, 80), matrix=9, primaries=9, transfer=16)
    assert make(clip, target, picture=picture, codec=codec, sar=Fraction(4, 3)) == []
    seen = look.video(target)
    assert seen.tags == (9, 1, 9, 16)
    assert seen.sample_aspect_ratio == Fraction(4, 3)
    assert seen.rotation == look.video(clip.path).rotation != 0


@pytest.mark.parametrize(
    ("codec", "suffix"), [pair for pair in PAIRS if pair[0] not in ("libx264", "libx265")], ids=str
)
def test_colour_and_rotation_are_kept_by_every_codec(make_clip, look, tmp_path, codec, suffix):
    clip, target = make_clip(rotation=180), tmp_path / f"out{suffix}"
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    make(clip, target, picture=picture_of(pix_fmt, size=(96, 80), matrix=9, primaries=9, transfer=16), codec=codec)
    seen = look.video(target)
    assert seen.tags == (9, 1, 9, 16)
    assert abs(seen.rotation) == 180


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_full_range_is_kept(make_clip, look, tmp_path, suffix):
    make(make_clip(), tmp_path / f"out{suffix}", picture=picture_of(matrix=5, full_range=True, primaries=5, transfer=6))
    assert look.video(tmp_path / f"out{suffix}").tags == (5, 2, 5, 6)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libsvtav1", ".mp4"), ("libvpx-vp9", ".mp4"), ("prores_ks", ".mov")], ids=str
)
def test_the_shape_of_pixels_is_kept_where_only_the_container_holds_it(make_clip, look, tmp_path, codec, suffix):
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    clip, target = make_clip(), tmp_path / f"out{suffix}"
    assert make(clip, target, picture=picture_of(pix_fmt, size=(96, 80)), codec=codec, sar=Fraction(64, 45)) == []
    assert look.video(target).sample_aspect_ratio == Fraction(64, 45)


IN_MATROSKA = [pair for pair in PAIRS if pair[1] in (".mkv", ".webm") and pair[0] not in ("libx264", "libx265")]


@pytest.mark.parametrize(("codec", "suffix"), IN_MATROSKA, ids=str)
def test_the_shape_of_pixels_is_kept_in_matroska(make_clip, look, tmp_path, codec, suffix):
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    target = tmp_path / f"out{suffix}"
    make(make_clip(), target, picture=picture_of(pix_fmt, size=(96, 80)), codec=codec, sar=Fraction(64, 45))
    assert look.video(target).sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
@pytest.mark.parametrize(("pix_fmt", "tag"), [("yuv422p10le", "apch"), ("yuva444p10le", "ap4h")])
def test_prores_says_which_of_its_kinds_it_is(make_clip, tmp_path, suffix, pix_fmt, tag):
    target = tmp_path / f"out{suffix}"
    make(make_clip(), target, picture=picture_of(pix_fmt, size=(96, 80)), codec="prores_ks")
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.codec_tag == tag


RICH = {
    "frames": 24,
    "audio": "aac",
    "metadata": {"title": "A clip", "artist": "Somebody", "comment": "made for a test"},
    "audio_metadata": {"language": "ger", "title": "Ton"},
    "video_metadata": {"language": "eng"},
    "chapters": [(0, 400, "One"), (400, 960, "Zwei")],
}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("given", [".mp4", ".mkv"])
def test_tags_and_chapters_come_along(make_clip, look, tmp_path, given, suffix):
    clip, target = make_clip(f"in{given}", **RICH), tmp_path / f"out{suffix}"
    make(clip, target, tags={"comment": "ours"})
    facts = look.facts(target)
    assert {key.lower(): value for key, value in facts["tags"].items()}["title"] == "A clip"
    assert {key.lower(): value for key, value in facts["tags"].items()}["artist"] == "Somebody"
    assert {key.lower(): value for key, value in facts["tags"].items()}["comment"] == "ours"
    assert [title for _, _, title in facts["chapters"]] == ["One", "Zwei"]
    assert [float(start) for start, _, _ in facts["chapters"]] == pytest.approx([0, 0.4], abs=0.03)
    video, audio = facts["streams"][:2]
    assert (video[0], audio[0]) == ("video", "audio")
    assert video[2]["language"] == "eng"
    assert audio[2]["language"] == "ger"
    if ".mp4" not in (given, suffix) and suffix != ".mov":
        assert audio[2]["title"] == "Ton"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_dispositions_come_along(make_clip, look, tmp_path, suffix):
    clip = make_clip("plain.mkv", audio="aac")
    path, wanted = tmp_path / "in.mkv", av.stream.Disposition
    with av.open(str(clip.path)) as given, av.open(str(path), "w") as out:
        video, audio = given.streams
        first, second, third = (out.add_stream_from_template(s) for s in (video, audio, audio))
        first.disposition, second.disposition = wanted.default, wanted.default
        third.disposition = wanted.comment | wanted.hearing_impaired
        for packet in given.demux():
            if packet.size:
                data, stream = bytes(packet), packet.stream
                for copy in (first,) if stream is video else (second, third):
                    twin = av.Packet(data)
                    twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
                    twin.duration, twin.is_keyframe, twin.stream = packet.duration, packet.is_keyframe, copy
                    out.mux(twin)
    make(replace(clip, path=path), tmp_path / f"out{suffix}")
    before, after = look.facts(path)["streams"], look.facts(tmp_path / f"out{suffix}")["streams"]
    known = int(wanted.default | wanted.comment | wanted.hearing_impaired)  # MP4 adds one of its own
    assert [s[3] & known for s in after] == [s[3] for s in before]
    assert len({s[3] for s in before}) == 2


def test_the_sound_may_come_before_the_picture_in_the_file(make_clip, look, tmp_path):
    clip = make_clip("plain.mp4", audio="aac", frames=24)
    path = tmp_path / "in.mp4"
    with av.open(str(clip.path)) as given, av.open(str(path), "w") as out:
        video, audio = given.streams
        copies = {audio.index: out.add_stream_from_template(audio), video.index: out.add_stream_from_template(video)}
        for packet in given.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    assert make(replace(clip, path=path), tmp_path / "out.mp4") == []
    assert look.packets(tmp_path / "out.mp4", "audio") == look.packets(path, "audio")
    assert look.video(tmp_path / "out.mp4").count == 24


EXTRA = {**RICH, "attachment": b"a font" * 100, "subtitles": [(0, 300, "Hallo"), (500, 200, "Welt")]}


def test_subtitles_and_attachments_come_along_in_matroska(make_clip, look, tmp_path):
    clip = make_clip("in.mkv", **EXTRA)
    assert make(clip, tmp_path / "out.mkv") == []
    assert look.packets(tmp_path / "out.mkv", "subtitle") == look.packets(clip.path, "subtitle")
    assert [s[0] for s in look.facts(tmp_path / "out.mkv")["streams"]] == ["video", "audio", "subtitle", "attachment"]
    with av.open(str(tmp_path / "out.mkv")) as container:
        (attachment,) = container.streams.attachments
        assert attachment.data == EXTRA["attachment"]
        assert attachment.metadata["filename"] == "font.ttf"
        (subtitle,) = container.streams.subtitles
        assert subtitle.language == "ger"


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_what_a_container_cannot_hold_is_left_out_and_named(make_clip, look, tmp_path, suffix):
    clip = make_clip("in.mkv", **EXTRA)
    (notice,) = make(clip, tmp_path / f"out{suffix}")
    assert f"{suffix[1:]} cannot hold attachments" in notice
    kinds = [s[0] for s in look.facts(tmp_path / f"out{suffix}")["streams"] if s[0] != "data"]
    assert kinds == ["video", "audio", "subtitle"]


def test_a_codec_that_fails_the_header_costs_only_itself(make_clip, look, tmp_path):
    clip = make_clip("in.mkv", audio="flac")  # the container's table says that it holds this
    notices = make(clip, tmp_path / "out.mov")
    assert len(notices) == 1 and "(audio, flac)" in notices[0] and "mov cannot hold it" in notices[0]
    assert look.video(tmp_path / "out.mov").count == 12


def picture_file(codec="png"):
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = 16, 16
    context.pix_fmt = "rgb24" if codec == "png" else "yuvj420p"
    context.time_base = Fraction(1, 25)
    packets = [*context.encode(av.VideoFrame(16, 16, context.pix_fmt)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def covers(path):
    with av.open(str(path)) as container:
        wanted = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        others = [s for s in container.streams.video if s not in wanted]
        assert len(others) == 1, "a cover became a video track"
        return [b"".join(bytes(p) for p in container.demux(stream) if p.size) for stream in wanted]


@pytest.mark.parametrize("codec", ["png", "mjpeg"])
def test_a_cover_stays_a_cover(make_clip, look, tmp_path, codec):
    data, mime_type = picture_file(codec), {"png": "image/png", "mjpeg": "image/jpeg"}[codec]
    clip = make_clip("in.mkv", audio="aac", frames=24)
    path, kept = tmp_path / "cover.mkv", tmp_path / "out.mkv"
    with av.open(str(clip.path)) as given, av.open(str(path), "w") as out:
        copies = {s.index: out.add_stream_from_template(s) for s in given.streams}
        out.add_attachment(f"front.{codec}", mime_type, data)
        for packet in given.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    assert covers(path) == [data], "the file is not the one it was meant to be"
    assert make(replace(clip, path=path), kept) == []
    assert covers(kept) == [data]
    assert look.facts(kept)["streams"][-1][2]["filename"] == f"front.{codec}"
    assert make(replace(clip, path=path), tmp_path / "out.mp4") == []
    assert covers(tmp_path / "out.mp4") == [data]
    # And from MP4, where a cover has no name, to both.
    assert make(replace(clip, path=tmp_path / "out.mp4"), tmp_path / "again.mp4") == []
    assert covers(tmp_path / "again.mp4") == [data]
    make(replace(clip, path=tmp_path / "out.mp4"), tmp_path / "again.mkv")
    assert covers(tmp_path / "again.mkv") == [data]
    notices = make(replace(clip, path=path), tmp_path / "out.mov")
    assert len(notices) == 1 and "mov cannot hold cover pictures" in notices[0]


def test_a_timecode_track_is_made_anew(make_clip, tmp_path):
    clip = make_clip("in.mov", video_metadata={"timecode": "01:02:03:04"}, time_base=Fraction(1, 12800))
    for suffix in (".mov", ".mp4"):
        make(clip, tmp_path / f"out{suffix}")
        with av.open(str(tmp_path / f"out{suffix}")) as container:
            assert container.streams.video[0].metadata["timecode"] == "01:02:03:04"


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
@pytest.mark.parametrize("splits", [[5], [1, 2], [11], [3, 3 + 4]])
def test_segments_join_to_the_frames_of_one(make_clip, look, tmp_path, codec, splits):
    clip = make_clip("in.mkv", audio="aac", audio_start=Fraction(1, 3))
    stamps = list(probe(clip.path).pts)
    edges = [0, *splits, len(stamps)]
    parts = [stamps[a:b] for a, b in pairwise(edges)]
    make(clip, tmp_path / "one.mkv", codec=codec)
    make(clip, tmp_path / "many.mkv", codec=codec, parts=parts)
    one, many = look.video(tmp_path / "one.mkv"), look.video(tmp_path / "many.mkv")
    assert one.times == many.times
    assert one.means == pytest.approx(many.means, abs=0 if codec == "ffv1" else 2)
    assert look.packets(tmp_path / "one.mkv", "audio") == look.packets(tmp_path / "many.mkv", "audio")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_part_begins_at_zero_with_the_sound_of_its_time(make_clip, look, tmp_path, suffix):
    clip = make_clip("in.mp4", audio="pcm_s16le" if suffix == ".mkv" else "aac", frames=50, chapters=RICH["chapters"])
    cut = Cut(start=Fraction(12, 25), stop=Fraction(30, 25), shift=Fraction(12, 25))
    notices = make(clip, tmp_path / f"out{suffix}", parts=[list(range(18))], time_base=Fraction(1, 25), cut=cut)
    assert notices == []
    ((start, stop, title),) = look.facts(tmp_path / f"out{suffix}")["chapters"]
    first = look.video(tmp_path / f"out{suffix}").times[0]
    assert (title, round(start - first, 3), round(stop - first, 3)) == ("Zwei", 0, Fraction(12, 25))
    (before,), (after,) = look.packets(clip.path, "audio"), look.packets(tmp_path / f"out{suffix}", "audio")
    whole, part = [digest for digest, _ in before], [digest for digest, _ in after]
    first = whole.index(part[0])
    assert whole[first : first + len(part)] == part
    zero = look.video(tmp_path / f"out{suffix}").times[0]
    assert abs((after[0][1] - zero) - (before[first][1] - cut.start)) <= Fraction(1, 1000)
    frame = before[1][1] - before[0][1]
    assert -frame < before[first][1] - cut.start <= 0  # the packet that sounds when the part begins
    assert 0 < cut.stop - before[first + len(part) - 1][1] <= frame


def join_plainly(paths, source, picture, copies, folder):
    join(paths, source, picture, Fraction(1), None, copies, Cut(), folder / "x.part", folder / "out.mp4", {}, print)


def test_the_source_that_went_away_is_named_and_nothing_is_left(make_clip, tmp_path):
    clip = make_clip()
    source, picture = probe(clip.path), picture_of()
    copies = plan_copies(source, CONTAINERS["mp4"])
    paths = write_segments(tmp_path, [list(source.pts)], picture, time_base=source.video.time_base)
    clip.path.unlink()
    with pytest.raises(SourceMissingError, match=r"clip\.mp4"):
        join_plainly(paths, source, picture, copies, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000.segment"]


def test_a_folder_that_went_away(make_clip, tmp_path):
    clip = make_clip()
    source, picture = probe(clip.path), picture_of()
    copies = plan_copies(source, CONTAINERS["mp4"])
    paths = write_segments(tmp_path, [list(source.pts)], picture, time_base=source.video.time_base)
    gone = tmp_path / "gone"
    with pytest.raises(TargetError, match=r"gone/out\.mp4: cannot be written"):
        join_plainly(paths, source, picture, copies, gone)


def test_a_time_stamp_that_the_segment_changed_is_refused(make_clip, tmp_path):
    clip = make_clip()
    source, picture = probe(clip.path), picture_of()
    copies = plan_copies(source, CONTAINERS["mp4"])
    paths = write_segments(tmp_path, [[0, 1, 2]], picture, time_base=Fraction(1, 1000))
    source = replace(source, video=replace(source.video, time_base=Fraction(1, 30)))
    with pytest.raises(TargetError, match="a time stamp changed in the segment"):
        join_plainly(paths, source, picture, copies, tmp_path)
    assert not (tmp_path / "out.mp4").exists() and not (tmp_path / "x.part").exists()


LIMITED = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, sys.argv[1])
import test_join as t
folder, clip = Path(sys.argv[2]), Path(sys.argv[3])
for suffix in (".mp4", ".mov", ".mkv"):
    source, picture = t.probe(clip), t.picture_of()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    paths = t.write_segments(folder, [list(source.pts)], picture, time_base=source.video.time_base)
    part, target = folder / "x.part", folder / f"out{suffix}"
    copies = t.plan_copies(source, t.CONTAINERS_BY_SUFFIX[suffix])
    def make():
        t.join(paths, source, picture, Fraction(1), None, copies, t.Cut(), part, target, {}, lambda text: None)
    make()
    whole = target.stat().st_size
    target.unlink()
    for limit in [0, 100, whole // 2, whole - 1000, whole - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            make()
        except t.TargetError as error:
            assert f"out{suffix}" in str(error), error
        else:
            raise SystemExit(f"{limit} of {whole} bytes are enough?")
        left = sorted(p.name for p in folder.iterdir())
        assert left == ["000000.segment"], (limit, left)
print("all seen")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of POSIX")
def test_a_file_that_cannot_grow_is_never_published(make_clip, tmp_path):
    clip = make_clip("in.mkv", audio="aac", frames=24)
    work = tmp_path / "work"
    work.mkdir()
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-c", LIMITED, str(here), str(work), str(clip.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=here.parents[2], check=False)
    assert done.stdout.endswith("all seen\n"), done.stderr[-2000:]
