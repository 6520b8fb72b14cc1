"""Through a whole run without a network: every sample, code and colour of a file comes out as it went in."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

DEEP = ("9le", "10le", "12le", "14le", "16le")
PLANAR = [
    *(f"yuv{chroma}p{depth}" for chroma in ("420", "422", "444") for depth in ("", *DEEP)),
    *("yuv411p", "yuv440p", "yuv410p"),
    *(f"gray{depth}" for depth in ("", *DEEP)),
    *(f"gbrp{depth}" for depth in ("", *DEEP)),
    *("yuva420p", "yuva422p", "yuva444p", "yuva420p10le", "yuva422p10le", "yuva444p10le", "yuva444p12le"),
    *("gbrap", "gbrap10le", "gbrap12le", "gbrap14le", "gbrap16le"),
]
# Packed, semi-planar and big-endian forms of the same samples, as far as NUT can hold them; the others' way to planes
# is proven with the pixel formats.
ELSEWHERE = [
    *("rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "rgb48le", "rgb48be", "rgba64le", "bgra64le"),
    *("yuyv422", "uyvy422", "yvyu422", "nv12", "nv21"),
    *("yuv420p10be", "gbrp12be", "gray16be", "gray10be", "yuva444p10be"),
]
PLANAR_RGB = {"bgr0": "gbrp", "bgra": "gbrap", "rgb32": "gbrap", "0rgb32": "gbrp"}  # how FFV1 has 8 bits of RGB
SIZE = (34, 22)


def write_raw(path, pix_fmt, frame):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pix_fmt
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def noise_frame(pix_fmt, size=SIZE):
    """Random samples over the whole range of codes."""
    wide = "gbrap16le" if av.VideoFormat(pix_fmt).is_rgb or pix_fmt.startswith(("ya", "gray")) else "yuva444p16le"
    frame = av.VideoFrame(*size, wide)
    generator = np.random.default_rng(7)
    for plane in frame.planes:
        codes = generator.integers(0, 65536, plane.buffer_size // 2, dtype=np.uint16)
        np.frombuffer(memoryview(plane), np.uint16)[:] = codes
    return frame.reformat(format=pix_fmt)


def samples(path, pix_fmt=None):
    """(planes of the first frame, their format), in a planar format that FFmpeg makes of it where one is given."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    if pix_fmt not in (None, frame.format.name):
        frame = frame.reformat(format=pix_fmt, interpolation="POINT")
    planes = []
    for plane in frame.planes:
        kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
        lines = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
        planes.append(lines[:, : plane.width].astype(int))
    return planes, frame.format


def same_size(source, target, **given):
    how = {"model": "nearest", "scale": Fraction(1), "device": "cpu", "codec": "ffv1"} | given
    return upscale_video(source, target, UpscaleOptions(**how))


@pytest.mark.parametrize("pix_fmt", [*PLANAR, *ELSEWHERE])
def test_every_sample_of_every_format_comes_back(tmp_path, pix_fmt):
    write_raw(tmp_path / "in.nut", pix_fmt, noise_frame(pix_fmt))
    assert samples(tmp_path / "in.nut")[1].name == pix_fmt
    same_size(tmp_path / "in.nut", tmp_path / "out.mkv")
    _, written = samples(tmp_path / "out.mkv")
    depth, depth_after = (max(c.bits for c in kind.components) for kind in (av.VideoFormat(pix_fmt), written))
    assert depth_after == depth
    planar = PLANAR_RGB.get(written.name, written.name)
    after, before = samples(tmp_path / "out.mkv", planar)[0], samples(tmp_path / "in.nut", planar)[0]
    # Single precision has 24 bits: from 14 bits of depth on, chroma filters and matrices cost the last two.
    limit = 4 if depth >= 14 and written.name.startswith("yuv") else 0
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert np.abs(old - new).max() <= limit


def test_a_ramp_of_ten_bits_keeps_its_1024_codes(tmp_path):
    frame = av.VideoFrame(1024, 64, "yuv420p10le")
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)
        lines[:, : plane.width] = np.arange(plane.width) if plane.width == 1024 else 512
    write_raw(tmp_path / "in.nut", "yuv420p10le", frame)
    for codec, name in (("ffv1", "out.mkv"), ("libx265", "out.mp4")):
        how = {"encoder_options": {"x265-params": "lossless=1"}} if codec == "libx265" else {}
        same_size(tmp_path / "in.nut", tmp_path / name, codec=codec, **how)
        luma = samples(tmp_path / name)[0][0]
        assert (luma == np.arange(1024)).all()


def bars(path, size, tags):
    """A lossless 4:4:4 clip of saturated bars and ramps."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    bar = np.array([0, 1, 2, 3, 4, 5, 6, 7])[x * 8 // width]
    top = y < height // 2
    rgb = [np.where(top, ((bar >> bit) & 1) * 0.75, np.roll(x, bit * width // 3, 1) / width) for bit in (1, 2, 0)]
    frame = av.VideoFrame.from_ndarray(np.stack([(c * 255).astype(np.uint8) for c in rgb], -1), format="rgb24")
    matrix, full_range = tags
    yuv = frame.reformat(
        format="yuv444p", dst_colorspace=matrix, dst_color_range=2 if full_range else 1, interpolation="POINT"
    )
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        for tagged in (stream.codec_context, yuv):
            tagged.colorspace, tagged.color_range = matrix, 2 if full_range else 1
            tagged.color_primaries, tagged.color_trc = 1, 1
        yuv.pts, yuv.time_base = 0, Fraction(1, 25)
        out.mux(stream.encode(yuv))
        out.mux(stream.encode(None))


@pytest.fixture
def seen_by_ffmpeg(ffmpeg_program):
    """(H, W, 3) of a file's first frame in 16-bit RGB, by the ffmpeg program and the file's own tags."""

    def read(path, filters="null"):
        command = [ffmpeg_program, "-v", "error", "-i", str(path), "-frames:v", "1"]
        # zscale computes in float; scale's tables are off by up to a level.
        command += ["-vf", f"{filters},zscale=matrix=gbr:range=full,format=gbrp16le", "-f", "rawvideo", "-"]
        out = subprocess.run(command, capture_output=True, check=True).stdout
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            width, height = stream.width, stream.height
        if "transpose" in filters:
            width, height = height, width
        return np.frombuffer(out, "<u2").reshape(3, height, width).astype(int)

    return read


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 9])  # zscale cannot do SMPTE 240M
@pytest.mark.parametrize("option", ["keep", "bt709", "bt2020nc"])
def test_bars_have_the_same_colours_for_an_independent_converter(tmp_path, seen_by_ffmpeg, matrix, full_range, option):
    bars(tmp_path / "in.mkv", (96, 64), (matrix, full_range))
    same_size(tmp_path / "in.mkv", tmp_path / "out.mkv", matrix=option, pix_fmt="yuv444p16le")
    before, after = seen_by_ffmpeg(tmp_path / "in.mkv"), seen_by_ffmpeg(tmp_path / "out.mkv")
    assert np.abs(before - after).max() <= 65535 / 255 / 8
    if option == "keep":
        same_size(tmp_path / "in.mkv", tmp_path / "same.mkv")
        assert all(
            np.array_equal(a, b)
            for a, b in zip(samples(tmp_path / "in.mkv")[0], samples(tmp_path / "same.mkv")[0], strict=True)
        )


def test_sd_that_becomes_hd_shows_the_same_colours_either_way(tmp_path, seen_by_ffmpeg):
    bars(tmp_path / "in.mkv", (320, 184), (6, False))
    before = seen_by_ffmpeg(tmp_path / "in.mkv")
    before = before.repeat(4, 1).repeat(4, 2)
    for option, matrix in (("keep", 6), ("auto", 1)):
        target = tmp_path / f"{option}.mkv"
        same_size(tmp_path / "in.mkv", target, scale=Fraction(4), matrix=option)
        with av.open(str(target)) as out:
            frame = next(out.decode(video=0))
            assert (frame.width, frame.colorspace) == (1280, matrix)
        # Another matrix means other codes, which are rounded once more: 1.04 levels at most, 0.3 on the mean.
        error = np.abs(before - seen_by_ffmpeg(target)) * 255 / 65535
        assert error.max() <= 1.1
        assert error.mean() <= (0 if option == "keep" else 0.3)


@pytest.mark.parametrize(
    ("degrees", "mirrored", "filters"),
    [
        (90, False, "transpose=2"),
        (-90, False, "transpose=1"),
        (180, False, "hflip,vflip"),
        (0, True, "hflip"),
    ],
)
def test_rotation_is_applied_as_a_player_would(tmp_path, seen_by_ffmpeg, degrees, mirrored, filters):
    bars(tmp_path / "flat.mkv", (96, 64), (1, False))
    with av.open(str(tmp_path / "flat.mkv")) as flat, av.open(str(tmp_path / "in.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for name, code in (("colorspace", 1), ("color_range", 1), ("color_primaries", 1), ("color_trc", 1)):
            setattr(stream.codec_context, name, code)
        cos, sin = round(np.cos(np.radians(degrees))), round(np.sin(np.radians(degrees)))
        one = -65536 if mirrored else 65536
        stream.set_display_matrix([one * cos, -65536 * sin, 0, one * sin, 65536 * cos, 0, 0, 0, 1 << 30])
        for frame in flat.decode(video=0):
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    same_size(tmp_path / "in.mp4", tmp_path / "out.mkv", rotation="apply")
    with av.open(str(tmp_path / "out.mkv")) as out:
        frame = next(out.decode(video=0))
        turned = degrees % 180 != 0
        assert (frame.width, frame.height) == ((64, 96) if turned else (96, 64))
        assert frame.side_data.get("DISPLAYMATRIX") is None
    upright = seen_by_ffmpeg(tmp_path / "out.mkv")
    assert np.abs(seen_by_ffmpeg(tmp_path / "flat.mkv", filters) - upright).max() <= 65535 / 255


def vp9_frames(path):
    """Frames with their alpha, which only libvpx decodes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            yield from decoder.decode(packet if packet.size else None)


@pytest.mark.parametrize("name", ["out.webm", "out.mkv"])
def test_alpha_goes_through_vp9(make_clip, look, tmp_path, name):
    clip = make_clip("in.mkv", codec="ffv1", pix_fmt="yuva420p", frames=4, pts=[0, 1, 5, 6])
    lossless = {"codec": "libvpx-vp9", "encoder_options": {"lossless": "1"}}
    same_size(clip.path, tmp_path / name, **lossless)
    frames = list(vp9_frames(tmp_path / name))
    assert [frame.pts * frame.time_base for frame in frames] == look.video(clip.path).times
    for frame, planes in zip(frames, clip.pictures, strict=True):
        assert frame.format.name == "yuva420p"
        alpha = np.frombuffer(memoryview(frame.planes[3]), np.uint8).reshape(frame.height, -1)[:, : frame.width]
        assert np.array_equal(alpha, planes[3])
    # And once more, VP9 with alpha being the source.
    same_size(tmp_path / name, tmp_path / "again.mkv")
    for planes, wanted in zip(look.planes(tmp_path / "again.mkv"), clip.pictures, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


def test_where_vp9_has_no_place_for_alpha_none_is_promised(make_clip, tmp_path):
    clip = make_clip("in.mkv", codec="ffv1", pix_fmt="yuva420p", frames=2)
    same_size(clip.path, tmp_path / "in.webm", codec="libvpx-vp9")
    same_size(tmp_path / "in.webm", tmp_path / "out.mp4", codec="libvpx-vp9")
    same_size(tmp_path / "in.webm", tmp_path / "out.mkv", codec="libx264", scale=Fraction(2))
    for name in ("out.mp4", "out.mkv"):
        with av.open(str(tmp_path / name)) as out:
            assert next(out.decode(video=0)).format.name == "yuv420p"
            assert "alpha_mode" not in {key.lower() for key in out.streams.video[0].metadata}
