"""Segments hold every frame at its tick, appear whole or not at all, and failures name the target."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from vidsr.errors import DiskFullError, SourceError, TargetError, UsageError
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.media.errors import target_errors
from vidsr.media.write.encoders import find_encoder, fit_slices
from vidsr.media.write.segment import EncodeSettings, SegmentWriter


def settings(
    codec="ffv1",
    pix_fmt="yuv420p",
    size=(64, 48),
    time_base=Fraction(1, 25),
    sar=1,
    preset=None,
    further=(),
    **color,
):
    encoder = find_encoder(codec)
    tags = {"matrix": 1, "full_range": False, "siting": "left"} | color
    picture = PictureFormat(width=size[0], height=size[1], layout=pixel_layout(pix_fmt), color=ColorTags(**tags))
    return EncodeSettings(
        codec=codec,
        segment_format=encoder.segment_format,
        options=fit_slices(codec, encoder.options(None, preset, further), picture),
        picture=picture,
        time_base=time_base,
        frame_rate=Fraction(25),
        sample_aspect_ratio=Fraction(sar),
    )


def write(path, how, stamps, pictures=None):
    writer = SegmentWriter(path, how)
    for number, pts in enumerate(stamps):
        if pictures is None:
            shapes = how.picture.plane_shapes
            level = (48 + number * 9 % 150) << (how.picture.layout.depth - 8)
            planes = [np.full(shape, level, how.picture.layout.dtype) for shape in shapes]
        else:
            planes = pictures[number]
        writer.write(planes, FrameTime(pts=pts, duration=0))
    writer.close()
    return writer


def stamps_in(path):
    with av.open(str(path)) as container:
        return sorted(packet.pts * packet.time_base for packet in container.demux(video=0) if packet.size)


STAMPS = {
    "even": list(range(12)),
    "variable": [0, 1, 2, 5, 9, 10, 11, 30, 31, 40, 41, 43],
    "late": [n + 10**7 for n in range(12)],
    "one": [3],
}
BASES = [Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 12800)]


@pytest.mark.parametrize("stamps", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize("codec", ["ffv1", "libx264", "libx265", "libvpx-vp9", "libsvtav1", "prores_ks"])
def test_a_segment_keeps_every_stamp_to_the_tick(tmp_path, codec, stamps):
    path = tmp_path / "x.segment"
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    writer = write(path, settings(codec, pix_fmt, size=(96, 80)), stamps)
    assert writer.num_frames == len(stamps)
    assert stamps_in(path) == [Fraction(pts, 25) for pts in stamps]


def noise(how, count):
    generator, layout = np.random.default_rng(5), how.picture.layout
    return [
        [generator.integers(0, layout.max_code + 1, shape, dtype=layout.dtype) for shape in how.picture.plane_shapes]
        for _ in range(count)
    ]


def test_several_threads_do_not_cut_a_picture_into_slices(tmp_path):
    how = settings("libx264", size=(64, 512), further={"threads": "8"})
    write(tmp_path / "x.segment", how, range(12), noise(how, 12))
    with av.open(str(tmp_path / "x.segment")) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    # Units of H.264: 1 is a slice, 5 one of a keyframe.
    units = [[unit[0] & 31 for unit in re.findall(rb"\x00\x00\x01(.)", packet, re.DOTALL)] for packet in packets]
    assert [sum(unit in (1, 5) for unit in of_picture) for of_picture in units] == [1] * 12


@pytest.mark.parametrize("codec", ["ffv1", "libx264", "libx265", "libvpx-vp9", "libsvtav1", "prores_ks"])
def test_several_threads_write_the_same_file_every_time(tmp_path, look, codec):
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    how = settings(codec, pix_fmt, size=(96, 80), further={"threads": "8"})
    pictures = noise(how, 20)
    for picture, level in zip(pictures, range(1, 21), strict=True):  # each has its own brightness, and differs in cost
        picture[0] = picture[0] // 21 * level
    files = []
    for name in ("x.segment", "y.segment"):
        write(tmp_path / name, how, range(20), pictures)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    means = [picture[0].mean() / how.picture.layout.max_code for picture in pictures]
    assert np.array(look.video(tmp_path / "x.segment").means) / how.picture.layout.max_code == pytest.approx(
        means, abs=0.02
    )


@pytest.mark.parametrize("time_base", BASES, ids=str)
@pytest.mark.parametrize("codec", ["ffv1", "libx264", "prores_ks"])
def test_any_time_base_is_kept(tmp_path, codec, time_base):
    path = tmp_path / "x.segment"
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    write(path, settings(codec, pix_fmt, time_base=time_base), STAMPS["variable"])
    assert stamps_in(path) == [pts * time_base for pts in STAMPS["variable"]]


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p16le", "gray", "gray16le", "gbrp12le", "yuva420p", "yuva444p10le"]
)
@pytest.mark.parametrize("size", [(64, 48), (51, 39)])
def test_planes_are_written_as_given(tmp_path, look, pix_fmt, size):
    how = settings(pix_fmt=pix_fmt, size=size, matrix=0 if "gbr" in pix_fmt else 1)
    layout, generator = how.picture.layout, np.random.default_rng(3)
    pictures = [
        [generator.integers(0, layout.max_code + 1, shape, dtype=layout.dtype) for shape in how.picture.plane_shapes]
        for _ in range(3)
    ]
    write(tmp_path / "x.segment", how, range(3), pictures)
    for planes, wanted in zip(look.planes(tmp_path / "x.segment"), pictures, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


def test_planes_are_copied_so_that_their_memory_can_be_reused(tmp_path, look):
    how = settings("libx264")
    writer = SegmentWriter(tmp_path / "x.segment", how)
    planes = [np.zeros(shape, np.uint8) for shape in how.picture.plane_shapes]
    for number in range(12):
        planes[0][:] = 40 + number * 10
        writer.write(planes, FrameTime(pts=number, duration=1))
        planes[0][:] = 0
    writer.close()
    assert look.video(tmp_path / "x.segment").means == pytest.approx([40 + n * 10 for n in range(12)], abs=2)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_the_picture_is_tagged(tmp_path, look, codec):
    how = settings(codec, "yuv420p10le", size=(96, 80), sar=Fraction(4, 3), matrix=9, primaries=9, transfer=16)
    write(tmp_path / "x.segment", how, range(3))
    seen = look.video(tmp_path / "x.segment")
    assert seen.tags == (9, 1, 9, 16)
    if codec != "libsvtav1":  # has no place for it; the final container does
        assert seen.sample_aspect_ratio == Fraction(4, 3)
    full = settings(codec, size=(96, 80), full_range=True)
    write(tmp_path / "y.segment", full, range(3))
    assert look.video(tmp_path / "y.segment").tags[:2] == (1, 2)


def test_the_name_appears_with_the_last_byte(tmp_path):
    path = tmp_path / "x.segment"
    how = settings()
    writer = SegmentWriter(path, how)
    writer.write([np.zeros(shape, np.uint8) for shape in how.picture.plane_shapes], FrameTime(pts=0, duration=1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.segment.part"]
    writer.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.segment"]


@pytest.mark.parametrize(("codec", "pix_fmt"), [("libx264", "yuv420p"), ("prores_ks", "yuv422p10le")])
def test_an_abandoned_segment_leaves_nothing(tmp_path, codec, pix_fmt):
    how = settings(codec, pix_fmt)
    writer = SegmentWriter(tmp_path / "x.segment", how)
    writer.write(
        [np.zeros(shape, how.picture.layout.dtype) for shape in how.picture.plane_shapes], FrameTime(pts=0, duration=1)
    )
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(TargetError, match=r"gone/x\.segment: cannot be written"):
        write(tmp_path / "gone" / "x.segment", settings(), range(2))


@pytest.mark.parametrize("codec", ["ffv1", "prores_ks"])
def test_a_negative_stamp_is_an_error_and_not_a_hidden_frame(tmp_path, codec):
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    with pytest.raises(TargetError, match="time stamp -2"):
        write(tmp_path / "x.segment", settings(codec, pix_fmt), [-2, 0, 1])


@pytest.mark.parametrize("codec", ["ffv1", "libx264", "libx265"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_segments_are_written_every_time(tmp_path, codec, count):
    # libx265 makes up decoding times for one or two frames from memory that it has not set.
    for attempt in range(8):
        stamps = [(attempt + n) * 3003 for n in range(count)]
        write(tmp_path / "x.segment", settings(codec, time_base=Fraction(1, 90000)), stamps)
        assert stamps_in(tmp_path / "x.segment") == [Fraction(pts, 90000) for pts in stamps]


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_a_stamp_that_goes_back_is_an_error_and_not_a_moved_frame(tmp_path, codec):
    writer = SegmentWriter(tmp_path / "x.segment", settings(codec))
    planes = [np.zeros(shape, np.uint8) for shape in settings().picture.plane_shapes]
    writer.write(planes, FrameTime(pts=5, duration=1))
    with pytest.raises(TargetError, match=r"x\.segment: cannot be written"):
        writer.write(planes, FrameTime(pts=4, duration=1))
    writer.abandon()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("kind", [OSError, av.error.OSError])
def test_a_full_disk_has_its_own_error(tmp_path, code, kind):
    with (
        pytest.raises(DiskFullError, match="the disk is full; make space") as caught,
        target_errors(tmp_path / "x.mp4"),
    ):
        raise kind(code, "no space")
    assert str(tmp_path) in str(caught.value)
    assert isinstance(caught.value, TargetError) and isinstance(caught.value.__cause__, kind)


def test_other_failures_name_the_target_and_the_reason(tmp_path):
    read_only = r"x\.mp4: cannot be written \(Read-only file system\)"
    with pytest.raises(TargetError, match=read_only) as caught, target_errors(tmp_path / "x.mp4"):
        raise OSError(errno.EROFS, "Read-only file system")
    assert not isinstance(caught.value, DiskFullError)
    with pytest.raises(TargetError, match=r"cannot be written \(odd\)"), target_errors(tmp_path / "x.mp4"):
        raise ValueError("odd")


@pytest.mark.parametrize("error", [UsageError("u"), SourceError("s"), KeyboardInterrupt(), RuntimeError("r")])
def test_errors_that_are_not_the_targets_pass(tmp_path, error):
    with pytest.raises(type(error)) as caught, target_errors(tmp_path / "x.mp4"):
        raise error
    assert caught.value is error


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, sys.argv[1])
import test_writer as t
from vidsr.errors import TargetError
folder = Path(sys.argv[2])
for codec in ("ffv1", "libx264"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    how = t.settings(codec)
    path = folder / "x.segment"
    generator = t.np.random.default_rng(1)
    noise = [[generator.integers(0, 256, s, dtype=t.np.uint8) for s in how.picture.plane_shapes] for _ in range(12)]
    t.write(path, how, range(12), noise)
    whole = path.stat().st_size
    path.unlink()
    for limit in [0, 100, whole // 2, whole - 1000, whole - 1, whole]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        writer = None
        try:
            writer = t.SegmentWriter(path, how)
            for number, planes in enumerate(noise):
                writer.write(planes, t.FrameTime(pts=number, duration=1))
            writer.close()
            outcome = "written"
        except TargetError as error:
            outcome = "refused"
            assert "x.segment" in str(error), error
            if writer is not None:
                writer.abandon()
        left = sorted(p.name for p in folder.iterdir() if p.name != "x.segment.part" or writer is not None)
        wanted = ("written", ["x.segment"]) if limit == whole else ("refused", [])
        assert (outcome, left) == wanted, (limit, whole, outcome, left)
        for entry in folder.iterdir():
            entry.unlink()
print("all seen")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of POSIX")
def test_a_file_that_cannot_grow_is_never_published(tmp_path):
    from pathlib import Path

    here = Path(__file__).resolve().parent
    command = [sys.executable, "-c", LIMITED, str(here), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=here.parents[2], check=False)
    assert done.stdout.endswith("all seen\n"), done.stderr[-2000:]
