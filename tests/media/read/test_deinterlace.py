"""Fields become whole pictures: the right ones, at their exact times, none lost, wherever a part is cut."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from vidsr.errors import SourceError, UsageError
from vidsr.frames import FrameTime, PictureFormat
from vidsr.media.formats import delivered_layout
from vidsr.media.read.deinterlace import (
    _NOT_FOR_BWDIF,
    FieldFilter,
    FieldWork,
    _film_captions,
    choose_field_work,
    delivered,
)
from vidsr.media.read.fields import recognise_fields
from vidsr.media.read.probe import probe
from vidsr.media.read.video import Window, read_frames
from vidsr.options.upscale import UpscaleOptions

NTSC = Fraction(30000, 1001)
BWDIF, DOUBLE = FieldWork(method="bwdif"), FieldWork(method="bwdif:double")
MATCHED, FILM = FieldWork(method="fieldmatch"), FieldWork(method="detelecine")
VARIABLE = {"pts": [n * n + 3 for n in range(12)], "time_base": Fraction(1, 1000)}


def read(path, fields, window=None):
    """(times, planes) of every frame, and what was noticed."""
    notices = []
    frames = [
        (frame.time, tuple(plane.copy() for plane in frame.planes))
        for frame in read_frames(probe(path), window or Window(), notices.append, fields)
    ]
    return frames, notices


def assert_same(frames, others):
    assert [time for time, _ in frames] == [time for time, _ in others]
    for (_, planes), (_, wanted) in zip(frames, others, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


@pytest.mark.parametrize("method", ["bwdif", "bwdif:double"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_the_pictures_are_those_of_their_moments(make_fields, psnr, method, order):
    clip = make_fields(order=order, flag=order)
    step = 2 if method == "bwdif" else 1
    moments = clip.moments[::step]

    def quality(fields):
        frames, notices = read(clip.path, fields)
        assert len(frames) == len(moments) and not notices
        return [psnr(planes[0], moment) for (_, planes), moment in zip(frames, moments, strict=True)]

    by_flags = quality(FieldWork(method=method))
    assert min(by_flags) > 34, "what bwdif makes of this texture; half of the lines are exact"
    assert by_flags == quality(FieldWork(method=method, field_order=order))
    wrong = quality(FieldWork(method=method, field_order="bff" if order == "tff" else "tff"))
    assert max(wrong) < 20, "the other field is another moment"


def test_frames_flagged_progressive_are_left_alone(make_fields):
    clip = make_fields(flag="half", material="frames")
    untouched, _ = read(clip.path, None)
    frames, _ = read(clip.path, FieldWork(method="bwdif", flagged_only=True))
    same = [np.array_equal(a[0], b[0]) for (_, a), (_, b) in zip(frames, untouched, strict=True)]
    assert same == [False, True] * 6


@pytest.mark.parametrize("how", [{}, VARIABLE, {"rate": NTSC, "frames": 7}, {"frames": 2}, {"frames": 1}], ids=str)
def test_one_frame_for_each_keeps_every_time(make_fields, how):
    clip = make_fields(**how)
    untouched, _ = read(clip.path, None)
    for fields in (BWDIF, MATCHED):
        frames, notices = read(clip.path, fields)
        assert [time for time, _ in frames] == [time for time, _ in untouched]
        assert not notices


@pytest.mark.parametrize("how", [{}, VARIABLE, {"frames": 2}], ids=str)
def test_double_shows_the_second_field_exactly_half_way(make_fields, how):
    clip = make_fields(**how)
    source = probe(clip.path)
    info = delivered(source, DOUBLE)
    frames, notices = read(clip.path, DOUBLE)
    base = info.video.time_base
    assert base == source.video.time_base / 2
    times = [time.pts * base for time, _ in frames]
    given = [pts * source.video.time_base for pts in source.pts]
    assert times[0::2] == given
    assert times[1:-1:2] == [(a + b) / 2 for a, b in pairwise(given)]
    assert times[-1] == given[-1] + (given[-1] - given[-2]) / 2
    assert list(info.pts) == [time.pts for time, _ in frames]
    assert info.video.average_rate == 2 * source.video.average_rate
    assert not notices


def test_a_single_frame_has_two_fields(make_fields):
    clip = make_fields(frames=1)
    frames, _ = read(clip.path, DOUBLE)
    assert [time.pts for time, _ in frames] == list(delivered(probe(clip.path), DOUBLE).pts) == [0, 1]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_telecined_film_comes_back_bit_by_bit(make_fields, pix_fmt, order):
    clip = make_fields(material="film", rate=NTSC, frames=25, pix_fmt=pix_fmt, order=order, flag=order)
    shift = 2 if pix_fmt.endswith("10le") else 0

    def moments(fields):
        pictures = [planes[0] >> shift for _, planes in read(clip.path, fields)[0]]
        return [next((n for n, m in enumerate(clip.moments) if np.array_equal(m, p)), None) for p in pictures]

    assert moments(FILM) == list(range(20))
    # All frames kept: each shows the film frame of its first field or of its second.
    pairs = [divmod(n, 5) for n in range(25)]
    for seen, (cycle, phase) in zip(moments(MATCHED), pairs, strict=True):
        assert seen is not None and seen - 4 * cycle in ((0,), (1,), (1, 2), (2, 3), (3,))[phase]


@pytest.mark.parametrize("time_base", [None, Fraction(1, 90000), Fraction(1, 1000)], ids=str)
def test_film_is_evenly_spaced_from_the_first_frame_on(make_fields, time_base):
    stamps = None if time_base is None else [7 + round(n / NTSC / time_base) for n in range(25)]
    clip = make_fields("film.nut", material="film", rate=NTSC, frames=25, pts=stamps, time_base=time_base)
    source = probe(clip.path)
    info = delivered(source, FILM)
    frames, notices = read(clip.path, FILM)
    assert list(info.pts) == [time.pts for time, _ in frames] and not notices
    times = [time.pts * info.video.time_base for time, _ in frames]
    first = source.pts[0] * source.video.time_base
    assert times[0] == first
    for number, time in enumerate(times):  # exact but for the rounding of the source's own stamps
        assert abs(time - first - number * Fraction(1001, 24000)) <= clip.time_base
    assert info.video.average_rate == Fraction(24000, 1001)


@pytest.mark.parametrize("frames", [1, 4, 5, 7, 9, 10, 14])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_a_last_cycle_that_is_cut_short_loses_nothing(make_fields, frames, pix_fmt):
    clip = make_fields(material="film", rate=NTSC, frames=frames, pix_fmt=pix_fmt)
    seen, _ = read(clip.path, FILM)
    assert len(seen) == frames // 5 * 4 + frames % 5
    stamps = [time.pts for time, _ in seen]
    assert stamps == sorted(set(stamps)) == list(delivered(probe(clip.path), FILM).pts)
    untouched, _ = read(clip.path, None)
    assert stamps[-1] <= 4 * untouched[-1][0].pts


PARTS = [
    ("ffv1", {"codec": "ffv1", "options": {"g": "1"}}),
    ("mpeg2", {"codec": "mpeg2video", "options": {"g": "6", "bf": "2", "flags": "+ildct+ilme", "b": "3000000"}}),
]


@pytest.mark.parametrize("fields", [BWDIF, DOUBLE, MATCHED], ids=lambda fields: fields.method)
@pytest.mark.parametrize(("name", "how"), PARTS, ids=[name for name, _ in PARTS])
def test_a_part_is_a_slice_of_the_whole(make_fields, fields, name, how):
    material = "film" if fields is MATCHED else "video"
    clip = make_fields(f"{name}.mkv", frames=30, size=(96, 64), material=material, **how)
    whole, _ = read(clip.path, fields)
    stamps = [time.pts for time, _ in whole]
    last = len(whole)
    for start, stop in [(0, 3), (1, last), (7, 8), (8, 9), (11, 20), (12, 25), (last - 1, last), (last - 2, last - 1)]:
        frames, notices = read(clip.path, fields, Window(stamps[start], stamps[stop] if stop < last else None))
        assert_same(frames, whole[start:stop])
        assert not notices, (start, stop)


def test_a_part_of_film_begins_at_the_right_time(make_fields):
    clip = make_fields(material="film", rate=NTSC, frames=30)
    source = probe(clip.path)
    start, stop = source.pts[7], source.pts[22]
    frames, notices = read(clip.path, FILM, Window(4 * start, 4 * stop))
    assert frames[0][0].pts == 4 * start and frames[-1][0].pts < 4 * stop
    assert len(frames) == 12 and not notices


def planar_or_packed(pix_fmt, number):
    frame = av.VideoFrame(64, 48, pix_fmt)
    generator = np.random.default_rng(number)
    bits = max(component.bits for component in frame.format.components)
    for plane in frame.planes:
        if bits == 8:
            plane.update(generator.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
        else:
            samples = generator.integers(0, 1 << bits, plane.buffer_size // 2, np.uint16)
            samples <<= 6 if pix_fmt.startswith("p0") else 0
            plane.update((samples.byteswap() if pix_fmt.endswith("be") else samples).tobytes())
    return frame


def filtered(source, pix_fmt, fields, reformat=None):
    layout = delivered_layout(av.VideoFormat(pix_fmt))
    picture = dataclasses.replace(source.video.picture, width=64, height=48, layout=layout)
    info = dataclasses.replace(source, video=dataclasses.replace(source.video, picture=picture))
    given = [planar_or_packed(pix_fmt, number) for number in range(6)]
    if reformat:
        given = [frame.reformat(format=reformat) for frame in given]
    frames = FieldFilter(info, fields).run((f, FrameTime(pts=n, duration=1)) for n, f in enumerate(given))
    return [frame for frame, _ in frames]


def scan_and_source(make_fields):
    source = probe(make_fields().path)
    return recognise_fields(source), source


FORMATS = [
    *(f"yuv{chroma}p{depth}" for chroma in ("420", "422", "444") for depth in ("", "10le", "12le", "16le")),
    *("yuv411p", "yuv410p", "yuv440p", "yuv420p9le", "yuv422p14le", "gray", "gray16le", "gbrp", "gbrp10le", "gbrp16le"),
    *("yuva420p", "yuva422p10le", "yuva444p16le", "gbrap", "gbrap16le", "yuvj420p", "yuvj422p"),
]
PACKED = ["nv12", "p010le", "yuyv422", "uyvy422", "yuv420p10be", "yuv422p16be"]


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_planar_format_is_worked_on_as_it_is(make_fields, pix_fmt):
    scan, source = scan_and_source(make_fields)
    layout = delivered_layout(av.VideoFormat(pix_fmt))
    picture = dataclasses.replace(source.video.picture, layout=layout)
    source = dataclasses.replace(source, video=dataclasses.replace(source.video, picture=picture))
    fields = choose_field_work(source, scan, UpscaleOptions())
    assert fields is not None
    out = filtered(source, pix_fmt, fields)
    assert {frame.format.name for frame in out} == {layout.name} and len(out) == 6
    # The top field is kept as it is, sample by sample: nothing was converted on the way.
    for number, frame in enumerate(out):
        given = np.frombuffer(memoryview(planar_or_packed(pix_fmt, number).planes[0]), np.uint8).reshape(48, -1)
        kept = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(48, -1)
        width = 64 * np.dtype(layout.dtype).itemsize
        assert np.array_equal(kept[0::2, :width], given[0::2, :width])


@pytest.mark.parametrize("pix_fmt", PACKED)
def test_packed_formats_are_made_planar_first(make_fields, pix_fmt):
    _, source = scan_and_source(make_fields)
    planar = delivered_layout(av.VideoFormat(pix_fmt)).name
    for frame, wanted in zip(
        filtered(source, pix_fmt, BWDIF), filtered(source, pix_fmt, BWDIF, reformat=planar), strict=True
    ):
        assert frame.format.name == planar
        assert all(bytes(a) == bytes(b) for a, b in zip(frame.planes, wanted.planes, strict=True))


def with_picture(source, pix_fmt="yuv420p", height=96):
    layout = delivered_layout(av.VideoFormat(pix_fmt))
    picture = PictureFormat(width=160, height=height, layout=layout, color=source.video.picture.color)
    return dataclasses.replace(source, video=dataclasses.replace(source.video, picture=picture))


@pytest.mark.parametrize(
    ("options", "picture", "words"),
    [
        ({"deinterlace": "bwdif"}, {"pix_fmt": "gray10le"}, r"--deinterlace bwdif does not work on gray10le"),
        ({"deinterlace": "bwdif:double"}, {"height": 16}, r"--deinterlace bwdif:double needs 32x32 pixels"),
        ({"detelecine": True}, {"pix_fmt": "gbrp"}, r"--detelecine does not work on gbrp"),
        ({"detelecine": True}, {"height": 16}, r"--detelecine needs 32x32 pixels, the video has 160x16"),
    ],
)
def test_what_the_filters_cannot_do_is_refused(make_fields, options, picture, words):
    scan, source = scan_and_source(make_fields)
    with pytest.raises(UsageError, match=words):
        choose_field_work(with_picture(source, **picture), scan, UpscaleOptions(**options))


@pytest.mark.parametrize(
    ("how", "options", "method", "order", "flagged_only"),
    [
        ({}, {}, "bwdif", None, False),
        ({}, {"deinterlace": "bwdif:double"}, "bwdif:double", None, False),
        ({"flag": None}, {}, "bwdif", "tff", False),
        ({"flag": None, "container_flag": "tff"}, {}, "bwdif", "tff", False),
        ({"order": "bff"}, {}, "bwdif", "bff", False),
        ({"flag": "half"}, {}, "bwdif", None, True),
        ({"flag": "half"}, {"deinterlace": "bwdif:double"}, "bwdif:double", None, False),
        ({"material": "film", "frames": 25}, {}, "fieldmatch", None, False),
        ({"material": "film", "frames": 25, "flag": None}, {}, "fieldmatch", "tff", False),
        ({"material": "film", "frames": 25, "pix_fmt": "gbrp10le"}, {}, "bwdif", None, False),
        ({"material": "film", "frames": 25}, {"detelecine": True}, "detelecine", None, False),
        ({"material": "frames", "flag": None}, {"deinterlace": "bwdif"}, "bwdif", None, False),
        ({"material": "hybrid", "frames": 72}, {}, "bwdif", None, False),
    ],
)
def test_what_is_done_by_which_order(make_fields, how, options, method, order, flagged_only):
    source = probe(make_fields(**how).path)
    fields = choose_field_work(source, recognise_fields(source), UpscaleOptions(**options))
    assert fields == FieldWork(method=method, field_order=order, flagged_only=flagged_only)


@pytest.mark.parametrize(
    ("how", "options"),
    [
        ({}, {"deinterlace": "off"}),
        ({"material": "frames"}, {}),
        ({"material": "frames", "flag": None}, {}),
        ({"material": "hybrid", "frames": 72, "flag": None}, {}),
    ],
)
def test_what_is_left_as_it_is(make_fields, how, options):
    source = probe(make_fields(**how).path)
    assert choose_field_work(source, recognise_fields(source), UpscaleOptions(**options)) is None


@pytest.mark.parametrize("fields", [BWDIF, DOUBLE, FILM], ids=lambda fields: fields.method)
def test_a_change_of_size_sets_the_filters_up_anew(make_fields, fields):
    small = make_fields("small.h264", codec="libx264", size=(80, 48), options={"bf": "0"})
    large = make_fields("large.h264", codec="libx264", size=(160, 96), options={"bf": "0"})
    large.path.write_bytes(large.path.read_bytes() + small.path.read_bytes())
    frames, notices = read(large.path, fields)
    # Film: two whole cycles and two frames of each size.
    assert len(frames) == {"bwdif": 24, "bwdif:double": 48, "detelecine": 20}[fields.method]
    stamps = [time.pts for time, _ in frames]
    assert stamps == sorted(set(stamps))
    assert {planes[0].shape for _, planes in frames} == {(96, 160)}
    assert len(notices) == 1 and "changes size to 80x48 at 0:00:00.480" in notices[0], notices


def test_a_change_to_a_size_that_no_filter_takes_is_an_error(make_fields):
    small = make_fields("small.h264", codec="libx264", size=(32, 16), options={"bf": "0"})
    large = make_fields("large.h264", codec="libx264", options={"bf": "0"})
    large.path.write_bytes(large.path.read_bytes() + small.path.read_bytes())
    with pytest.raises(SourceError, match=r"changes its size to 32x16, too small to be deinterlaced"):
        read(large.path, MATCHED)


@pytest.mark.parametrize("pix_fmt", sorted(_NOT_FOR_BWDIF))
def test_what_is_kept_from_bwdif_would_be_converted(make_fields, pix_fmt):
    frames = filtered(scan_and_source(make_fields)[1], pix_fmt, BWDIF)
    assert {frame.format.name for frame in frames} != {pix_fmt}


@pytest.mark.parametrize("fields", [BWDIF, DOUBLE, MATCHED, FILM], ids=lambda fields: fields.method)
def test_a_damaged_frame_costs_no_other_and_is_reported_once(make_fields, fields):
    clip = make_fields("clip.mp4", frames=40, codec="libx264", options={"g": "1"})
    with av.open(str(clip.path)) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    position, size, lost = packets[22]
    with clip.path.open("rb+") as file:
        file.seek(position)
        file.write(bytes(size))
    kept, _ = read(clip.path, None)
    assert lost not in [time.pts for time, _ in kept] and len(kept) == 39
    frames, notices = read(clip.path, fields)
    assert [time.pts for time, _ in frames] == list(fields.stamps([time.pts for time, _ in kept]))
    assert len(notices) == 1 and "1 frames could not be decoded, at 0:00:00.880" in notices[0], notices


@pytest.mark.parametrize(
    "num_triplets", [(1, 1, 1, 1, 1), (20, 20, 20, 20, 20), (0, 3, 0, 0, 0), (2, 0, 1, 7, 1), (0,) * 5]
)
def test_film_keeps_the_captions_of_the_frame_that_it_drops(num_triplets):
    triplets = iter([bytes([252, n, 200 - n]) for n in range(sum(num_triplets))])
    spoken = [b"".join(next(triplets) for _ in range(count)) for count in num_triplets]
    cycle = [FrameTime(pts=n, duration=1, captions=data or None) for n, data in enumerate(spoken)]
    found = list(_film_captions(cycle, 4))
    assert len(found) == 4
    assert b"".join(data or b"" for data in found) == b"".join(spoken)
    assert all(data is None or (data and len(data) % 3 == 0) for data in found)
    longest = max(len(data or b"") for data in found)
    assert longest <= 3 * (sum(num_triplets) // 4 + 1)
