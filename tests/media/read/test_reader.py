"""Reading gives every frame once, with its own time stamp and its own samples, and says what is missing."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vidsr.errors import SourceError
from vidsr.media.read.probe import probe
from vidsr.media.read.video import Window, read_frames

THIRTIETH = Fraction(1, 30)
VARIABLE = {"pts": [0, 1, 2, 5, 9, 10, 11, 30, 31, 40, 41, 43], "time_base": THIRTIETH}
B_FRAMES = {"options": {"bf": "3", "b-adapt": "0"}}
VP9 = {"codec": "libvpx-vp9", "options": {"b": "0", "crf": "20", "cpu-used": "4", "lag-in-frames": "16"}}


def read(path, window=None):
    """([(pts, planes)], [notices])"""
    notices = []
    frames = [
        (frame.time.pts, tuple(plane.copy() for plane in frame.planes))
        for frame in read_frames(probe(path), window or Window(), notices.append)
    ]
    return frames, notices


def assert_same(frames, expected):
    assert [pts for pts, _ in frames] == [pts for pts, _ in expected]
    for (pts, planes), (_, wanted) in zip(frames, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True)), f"other samples at {pts}"


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("h264.mp4", B_FRAMES),
        ("h264.mkv", B_FRAMES),
        ("h264.ts", {**B_FRAMES, "codec": "libx264"}),
        ("h264.mov", {"rate": Fraction(30000, 1001), **B_FRAMES}),
        ("hevc.mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=4"}}),
        ("variable.mp4", {**VARIABLE, **B_FRAMES}),
        ("variable.mkv", {**VARIABLE, **B_FRAMES}),
        ("variable.webm", {**VARIABLE, **VP9}),
        ("vp8.webm", {"codec": "libvpx", "frames": 24, "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
        ("asp.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("mpeg2.mpg", {"codec": "mpeg2video", "options": {"bf": "2"}, "container": "vob"}),
        ("one.mp4", {"frames": 1}),
        ("one.mkv", {"frames": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_frame_comes_once_with_its_time(make_clip, look, name, how):
    clip = make_clip(name, **how)
    frames, notices = read(clip.path)
    source = probe(clip.path)
    seen = look.video(clip.path)
    times = [pts * source.video.time_base for pts, _ in frames]
    assert times == seen.times
    shift = times[0] - clip.times[0]  # program and transport streams start somewhere
    tolerance = source.video.time_base / 2
    assert all(abs(t - shift - w) <= tolerance for t, w in zip(times, clip.times, strict=True))
    assert len(source.pts) == len(frames) == source.video.num_frames_from_index
    levels = [48 + n * 9 % 150 for n in range(len(clip.pts))]
    assert [planes[0].mean() for _, planes in frames] == pytest.approx(levels, abs=6)
    assert not notices


def test_packets_without_a_decoding_time_are_not_taken_for_the_end(make_clip):
    clip = make_clip("clip.mkv", **B_FRAMES)
    with av.open(str(clip.path)) as container:
        stamps = [packet.dts for packet in container.demux(video=0) if packet.size]
    assert stamps[0] is None, "the file is not the trap it was meant to be"
    assert len(read(clip.path)[0]) == 12


@pytest.mark.parametrize(
    "pix_fmt",
    ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "gray", "gbrp", "gbrap", "yuva420p", "yuva444p"]
    + [f"{name}le" for name in ("yuv420p9", "yuv420p10", "yuv422p10", "yuv444p12", "yuv420p14", "yuv444p16")]
    + [f"{name}le" for name in ("gray10", "gray12", "gray16", "gbrp10", "gbrp12", "gbrp16", "yuva422p10", "gbrap12")],
)
def test_planes_are_the_very_samples(make_clip, pix_fmt):
    codec, name = ("utvideo", "clip.nut") if pix_fmt in ("gbrp", "gbrap") else ("ffv1", "clip.mkv")
    clip = make_clip(name, codec=codec, pix_fmt=pix_fmt, noise=True, size=(50, 38), frames=3)
    source = probe(clip.path)
    assert source.video.picture.layout.name == pix_fmt
    frames, _ = read(clip.path)
    for (_, planes), wanted in zip(frames, clip.pictures, strict=True):
        assert [p.dtype for p in planes] == [np.uint8 if "le" not in pix_fmt else np.uint16] * len(planes)
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


@pytest.mark.parametrize("size", [(51, 39), (1, 1), (3, 2)])
def test_odd_sizes_keep_their_last_column_and_line(make_clip, size):
    clip = make_clip("clip.mkv", codec="ffv1", noise=True, size=size, frames=2)
    frames, _ = read(clip.path)
    width, height = size
    assert [plane.shape for plane in frames[0][1]] == [(height, width)] + [(-(-height // 2), -(-width // 2))] * 2
    for (_, planes), wanted in zip(frames, clip.pictures, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


def test_packed_rgb_becomes_planes_of_the_same_values(make_clip):
    clip = make_clip("clip.avi", codec="rawvideo", pix_fmt="bgr24", noise=True, size=(50, 38), frames=3)
    frames, _ = read(clip.path)
    for (_, (green, blue, red)), (packed,) in zip(frames, clip.pictures, strict=True):
        assert np.array_equal(np.stack([blue, green, red], -1).reshape(38, -1), packed)


def test_interleaved_chroma_becomes_planes_of_the_same_values(make_clip):
    clip = make_clip("clip.nut", codec="rawvideo", pix_fmt="nv12", noise=True, size=(50, 38), frames=3)
    frames, _ = read(clip.path)
    for (_, (luma, cb, cr)), (wanted, interleaved) in zip(frames, clip.pictures, strict=True):
        assert np.array_equal(luma, wanted)
        assert np.array_equal(cb, interleaved[:, 0::2])
        assert np.array_equal(cr, interleaved[:, 1::2])


GOPS = {"g": "10", "keyint_min": "10", "sc_threshold": "0", "bf": "3", "b-adapt": "0", "x264-params": "open-gop=1"}
LONG = [
    ("open.mp4", {"options": GOPS}),
    ("open.mkv", {"options": GOPS}),
    ("open.ts", {"options": GOPS}),
    ("variable.mkv", {"options": GOPS, "pts": [n * n for n in range(48)], "time_base": Fraction(1, 1000)}),
    (
        "hevc.mp4",
        {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=10:min-keyint=10:open-gop=1"}},
    ),
    ("mpeg2.ts", {"codec": "mpeg2video", "options": {"g": "10", "bf": "2"}}),
    ("asp.avi", {"codec": "mpeg4", "options": {"g": "10", "bf": "2"}}),
    ("vp9.webm", {"codec": "libvpx-vp9", "options": {"g": "10", "b": "0", "crf": "30", "cpu-used": "8"}}),
    ("raw.h264", {"container": "h264", "options": GOPS}),
]


@pytest.mark.parametrize(("name", "how"), LONG, ids=[name for name, _ in LONG])
def test_a_window_is_a_slice_of_the_whole(make_clip, name, how):
    clip = make_clip(name, frames=48, noise=True, size=(64, 32), **how)  # x265 crashes below 64
    whole, notices = read(clip.path)
    assert len(whole) == 48 and not notices
    stamps = [pts for pts, _ in whole]
    for start, stop in [(0, 3), (1, 48), (9, 12), (10, 11), (11, 30), (25, 26), (29, 48), (47, 48)]:
        frames, notices = read(clip.path, Window(stamps[start], stamps[stop] if stop < 48 else None))
        assert_same(frames, whole[start:stop])
        assert not notices, (start, stop)


def test_a_window_may_begin_and_end_between_frames(make_clip):
    clip = make_clip("clip.mp4", pts=[n * 10 for n in range(12)], time_base=Fraction(1, 250))
    frames, _ = read(clip.path, Window(11, 45))
    assert [pts for pts, _ in frames] == [20, 30, 40]


def test_an_empty_window_is_no_damage(make_clip):
    clip = make_clip("clip.mp4")
    assert read(clip.path, Window(10**6, None)) == ([], [])


def zero(path, number, count=None):
    """Overwrite the payload of video packet `number`, whole or its last `count` bytes."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    position, size, pts = packets[number]
    with path.open("rb+") as file:
        file.seek(position + (size - count if count else 0))
        file.write(bytes(count or size))
    return pts


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_a_damaged_frame_costs_no_other_and_is_reported_once(make_clip, name):
    clip = make_clip(name, frames=60, noise=True, options={"g": "1"})  # no frame needs another
    whole, _ = read(clip.path)
    lost = zero(clip.path, 29)
    frames, notices = read(clip.path)
    assert_same(frames, [frame for frame in whole if frame[0] != lost])
    assert len(notices) == 1 and "damaged" in notices[0], notices
    assert "1 frames could not be decoded, at 0:00:01.160" in notices[0]


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "b-adapt": "0"}], ids=["p", "b"])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("count", [None, 40], ids=["all", "end"])
def test_what_the_decoder_yields_of_damaged_frames_is_delivered(make_clip, look, name, options, count):
    clip = make_clip(name, frames=60, noise=True, options={"g": "12", **options})
    whole, _ = read(clip.path)
    zero(clip.path, 29, count)
    frames, notices = read(clip.path)
    seen = look.video(clip.path)
    assert [pts * seen.time_base for pts, _ in frames] == seen.times
    assert len(frames) >= 50
    # Matroska and transport streams lose the packet with its header: then nothing says that it was ever there.
    num_lost = len(probe(clip.path).pts) - len(frames)
    assert name != "clip.mp4" or num_lost == len(whole) - len(frames)
    if num_lost:
        assert f"{num_lost} frames could not be decoded" in notices[0]
    assert len(notices) <= 1
    assert_same(frames[:20], whole[:20])  # other groups of pictures
    assert_same(frames[-20:], whole[-20:])


def test_several_damaged_places_make_one_notice(make_clip):
    clip = make_clip("clip.mp4", frames=60, options={"g": "6", "bf": "0"})
    lost = [zero(clip.path, number) for number in (8, 27, 28, 59)]
    frames, notices = read(clip.path)
    assert [pts for pts, _ in frames] == [pts for pts in clip.pts if pts not in lost]
    assert len(notices) == 1 and "4 frames could not be decoded" in notices[0]
    assert "0:00:00.320, 0:00:01.080 to 0:00:01.120, 0:00:02.360" in notices[0]


def test_damage_outside_the_window_is_not_reported(make_clip):
    clip = make_clip("clip.mp4", frames=60, options={"g": "6", "bf": "0"})
    zero(clip.path, 50)
    frames, notices = read(clip.path, Window(clip.pts[12], clip.pts[24]))
    assert [pts for pts, _ in frames] == clip.pts[12:24]
    assert not notices


def test_damage_where_only_decoding_times_are_known(make_clip):
    # AVI has no presentation times; what was delivered before the damage must not be told by counting from a seek.
    clip = make_clip("clip.avi", frames=60, options={"g": "12", "bf": "0"})
    whole, _ = read(clip.path)
    lost = zero(clip.path, 40)
    assert lost is None or lost in [pts for pts, _ in whole]
    frames, notices = read(clip.path)
    assert len(frames) >= 59 and len(notices) == 1
    kept = [pts for pts, _ in frames]
    assert kept == sorted(set(kept))
    assert_same(frames[:36], whole[:36])
    assert_same(frames[-12:], whole[-12:])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi", "clip.webm"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_cut_short_yields_what_is_there(make_clip, name, share):
    how = VP9 if name.endswith("webm") else {"options": {"g": "12"}}
    clip = make_clip(name, frames=60, noise=True, **how)
    if name.endswith("mp4"):  # an index at the end would be lost with it
        fast = clip.path.with_name("fast.mp4")
        with av.open(str(clip.path)) as given, av.open(str(fast), "w", options={"movflags": "faststart"}) as out:
            copy = out.add_stream_from_template(given.streams.video[0])
            for packet in given.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
        clip.path.write_bytes(fast.read_bytes())
    data = clip.path.read_bytes()
    clip.path.write_bytes(data[: int(len(data) * share)])
    frames, notices = read(clip.path)
    assert 60 * share - 8 <= len(frames) < 60
    assert len(notices) <= 1
    if name.endswith("mp4"):
        assert len(notices) == 1 and "damaged" in notices[0]


@pytest.mark.parametrize("bf", ["0", "3"])
def test_without_time_stamps_frames_are_evenly_spaced(make_clip, bf):
    clip = make_clip("clip.h264", container="h264", options={"bf": bf, "b-adapt": "0"})
    source = probe(clip.path)
    assert not source.has_timestamps
    frames, notices = read(clip.path)
    assert [pts * source.video.time_base for pts, _ in frames] == clip.times
    assert [planes[0].mean() for _, planes in frames] == pytest.approx([48 + n * 9 for n in range(12)], abs=6)
    assert not notices


def test_a_change_of_size_is_scaled_and_reported_with_its_time(make_clip):
    small = make_clip("small.h264", container="h264", size=(32, 24), options={"bf": "0"})
    large = make_clip("large.h264", container="h264", size=(64, 48), options={"bf": "0"})
    large.path.write_bytes(large.path.read_bytes() + small.path.read_bytes())
    frames, notices = read(large.path)
    assert len(frames) == 24
    assert {planes[0].shape for _, planes in frames} == {(48, 64)}
    assert [p[0].mean() for _, p in frames[12:]] == pytest.approx([48 + n * 9 for n in range(12)], abs=6)
    assert len(notices) == 1 and "changes size to 32x24 at 0:00:00.480" in notices[0], notices


def test_a_stamp_that_stands_still_is_moved_by_one_tick_and_reported(make_clip):
    clip = make_clip("clip.mp4", frames=4, options={"bf": "0"}, time_base=Fraction(1, 1000))
    twin = clip.path.with_name("twin.mp4")
    with av.open(str(clip.path)) as given, av.open(str(twin), "w") as out:
        copy = out.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(p for p in given.demux(video=0) if p.size):
            packet.stream, packet.time_base = copy, Fraction(1, 1000)
            packet.pts, packet.dts = (0, 40, 40, 80)[number], (0, 10, 20, 30)[number]
            out.mux(packet)
    frames, notices = read(twin)
    ticks = probe(twin).video.time_base.denominator // 1000
    assert [pts for pts, _ in frames] == [0, 40 * ticks, 40 * ticks + 1, 80 * ticks]
    assert len(notices) == 1 and "stand still" in notices[0]


def test_a_source_that_went_away_is_named(make_clip):
    clip = make_clip("clip.mp4")
    source = probe(clip.path)
    clip.path.unlink()
    with pytest.raises(SourceError, match=r"clip\.mp4: no such file"):
        list(read_frames(source, Window(), print))
