"""Pixel formats: what is delivered holds the same samples, what is unsaid is filled in once, what is written fits."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec import Codec
from av.video.reformatter import VideoReformatter

from vidsr.errors import UsageError
from vidsr.frames import ColorTags, PictureFormat, pixel_layout
from vidsr.media.formats import closest_format, delivered_layout, output_color
from vidsr.media.read.probe import probe

BT709 = ColorTags(matrix=1, full_range=False, siting="left", primaries=1, transfer=1)


@pytest.mark.parametrize(
    ("source", "delivered"),
    [
        ("yuv420p", "yuv420p"),
        ("yuvj420p", "yuv420p"),
        ("yuvj444p", "yuv444p"),
        ("yuv422p10le", "yuv422p10le"),
        ("yuv422p10be", "yuv422p10le"),
        ("nv12", "yuv420p"),
        ("nv21", "yuv420p"),
        ("nv16", "yuv422p"),
        ("nv24", "yuv444p"),
        ("p010le", "yuv420p10le"),
        ("p016le", "yuv420p16le"),
        ("p210le", "yuv422p10le"),
        ("yuyv422", "yuv422p"),
        ("uyvy422", "yuv422p"),
        ("uyyvyy411", "yuv411p"),
        ("y210le", "yuv422p10le"),
        ("ayuv64le", "yuva444p16le"),
        ("rgb24", "gbrp"),
        ("bgr24", "gbrp"),
        ("bgr0", "gbrp"),
        ("rgba", "gbrap"),
        ("bgra", "gbrap"),
        ("rgb48be", "gbrp16le"),
        ("rgba64le", "gbrap16le"),
        ("pal8", "gbrap"),
        ("rgb565le", "gbrp"),
        ("gbrp10be", "gbrp10le"),
        ("x2rgb10le", "gbrp10le"),
        ("gray", "gray"),
        ("gray16be", "gray16le"),
        ("gray10le", "gray10le"),
        ("ya8", "gbrap"),
        ("monob", "gray"),
    ],
)
def test_what_a_format_is_delivered_as(source, delivered):
    assert delivered_layout(av.VideoFormat(source)).name == delivered


ALL_FORMATS = sorted(
    name for name in av.video.format.names if not av.VideoFormat(name).name.startswith(("vaapi", "cuda", "bayer"))
)


def test_every_format_of_this_build_is_delivered_as_something_that_holds_it():
    for name in ALL_FORMATS:
        source = av.VideoFormat(name)
        if not source.components:
            continue  # memory of some device
        layout = delivered_layout(source)
        bits = max(component.bits for component in source.components)
        assert layout.depth >= min(bits, 16), name
        assert layout.has_alpha or not any(c.is_alpha for c in source.components), name
        assert layout.family != "gray" or len(source.components) == 1, name
        assert av.VideoFormat(layout.name).name == layout.name


REARRANGED = ["nv12", "nv21", "p010le", "p210le", "yuyv422", "uyvy422", "rgb24", "bgr24", "rgba", "bgra", "rgb48le"]
REARRANGED += ["rgb48be", "rgba64be", "gray16be", "yuv420p10be", "yuv444p12be", "gbrp16be", "yuva444p10be", "nv24"]
REARRANGED += ["nv16", "p012le", "p016le", "p410le"]


@pytest.mark.parametrize("name", REARRANGED)
def test_nothing_is_rounded_on_the_way_to_planes(name):
    """There and back through the delivered layout, the bytes are the same."""
    frame = av.VideoFrame(48, 32, name)
    component = frame.format.components[0]
    generator = np.random.default_rng(1)
    for plane in frame.planes:
        noise = generator.integers(0, 256, plane.buffer_size, dtype=np.uint8)
        if 8 < component.bits < 16:
            order = ">u2" if name.endswith("be") else "<u2"
            values = noise.view(np.uint16) >> (16 - component.bits)
            noise = (values << (16 - component.bits if name.startswith("p") else 0)).astype(order).view(np.uint8)
        np.frombuffer(memoryview(plane), np.uint8)[:] = noise
    layout = delivered_layout(frame.format)
    way = VideoReformatter()
    planes = way.reformat(frame, 48, 32, layout.name, interpolation="BICUBIC", threads=1)
    back = way.reformat(planes, 48, 32, name, interpolation="POINT", threads=1)
    for plane, again in zip(frame.planes, back.planes, strict=True):
        width = plane.width * (frame.format.padded_bits_per_pixel // 8 if len(frame.planes) == 1 else 1)
        lines = [np.frombuffer(memoryview(p), np.uint8).reshape(p.height, p.line_size) for p in (plane, again)]
        assert np.array_equal(lines[0][:, :width], lines[1][:, :width])


UNSAID = {"matrix", "range", "siting", "primaries", "transfer"}


@pytest.mark.parametrize(
    ("size", "how", "codes", "full", "guessed"),
    [
        ((64, 48), {}, (6, 1, 1), False, UNSAID),
        ((64, 288), {}, (5, 1, 1), False, UNSAID),
        ((720, 576), {}, (5, 5, 1), False, UNSAID),
        ((1024, 576), {}, (5, 5, 1), False, UNSAID),
        ((720, 480), {}, (6, 6, 1), False, UNSAID),
        ((1280, 720), {}, (1, 1, 1), False, UNSAID),
        ((64, 600), {}, (1, 1, 1), False, UNSAID),
        ((64, 48), {"tags": (1, 1, 1, 1)}, (1, 1, 1), False, {"siting"}),
        ((64, 48), {"tags": (9, 1, 9, 16), "pix_fmt": "yuv420p10le"}, (9, 9, 16), False, {"siting"}),
        ((64, 48), {"tags": (2, 1, 2, 16)}, (9, 9, 16), False, {"siting", "matrix", "primaries"}),
        ((64, 48), {"tags": (9, 1, 2, 2)}, (9, 9, 14), False, {"siting", "primaries", "transfer"}),
        ((64, 48), {"tags": (5, 2, 5, 6)}, (5, 5, 6), True, {"siting"}),
        ((64, 48), {"tags": (1, 1, 1, 1), "pix_fmt": "yuv444p"}, (1, 1, 1), False, set()),
    ],
)
def test_what_a_file_leaves_unsaid_follows_its_size(make_clip, size, how, codes, full, guessed):
    color = probe(make_clip(size=size, frames=1, **how).path).video.picture.color
    assert (color.matrix, color.primaries, color.transfer) == codes
    assert (color.full_range, set(color.guessed)) == (full, guessed)


@pytest.mark.parametrize(("pix_fmt", "codec"), [("gray", "ffv1"), ("gbrp10le", "ffv1"), ("gbrp", "utvideo")])
def test_gray_and_rgb_are_full_range(make_clip, pix_fmt, codec):
    color = probe(make_clip("clip.nut", codec=codec, pix_fmt=pix_fmt, frames=1).path).video.picture.color
    assert color.full_range
    assert "siting" not in color.guessed
    if pix_fmt != "gray":
        assert color.matrix == 0 and "matrix" not in color.guessed


@pytest.mark.parametrize(
    ("name", "codec", "siting"), [("a.mpg", "mpeg1video", "center"), ("a.ts", "mpeg2video", "left")]
)
def test_chroma_sits_where_the_codec_says(make_clip, name, codec, siting):
    clip = make_clip(name, codec=codec, size=(352, 288), rate=Fraction(25))
    assert probe(clip.path).video.picture.color.siting == siting


def picture(layout_name, width=64, height=48, **color):
    return PictureFormat(width=width, height=height, layout=pixel_layout(layout_name), color=replace(BT709, **color))


def test_yuv_keeps_matrix_and_range_at_any_size():
    source = picture("yuv420p", matrix=6, full_range=True, siting="center", guessed=("matrix",))
    color = output_color(source, pixel_layout("yuv420p10le"), (1920, 1080))
    assert color == replace(source.color, siting="left", guessed=())


@pytest.mark.parametrize(
    ("matrix", "size", "option", "wanted"),
    [
        (6, (1920, 1080), "auto", 1),
        (5, (720, 600), "auto", 1),
        (6, (640, 480), "auto", 6),
        (9, (3840, 2160), "auto", 9),
        (8, (1920, 1080), "auto", 8),
        (1, (320, 240), "auto", 1),
        (6, (64, 48), "bt2020nc", 9),
        (1, (1920, 1080), "smpte170m", 6),
    ],
)
def test_a_matrix_by_option(matrix, size, option, wanted):
    color = output_color(picture("yuv420p", matrix=matrix), pixel_layout("yuv420p"), size, option)
    assert color == replace(BT709, matrix=wanted)


def test_rgb_planes_have_no_matrix_to_choose():
    with pytest.raises(UsageError, match="matrix bt709 was asked for, but gbrp is not YUV"):
        output_color(picture("yuv420p"), pixel_layout("gbrp"), (64, 48), "bt709")
    assert output_color(picture("yuv420p"), pixel_layout("gbrp"), (64, 48), "auto").matrix == 0


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((64, 576), 5), ((1920, 1080), 1)])
def test_rgb_that_becomes_yuv_is_limited_range_with_the_usual_matrix(size, matrix):
    source = picture("gbrp", *size, matrix=0, full_range=True)
    color = output_color(source, pixel_layout("yuv444p"), size)
    assert (color.matrix, color.full_range, color.primaries) == (matrix, False, 1)


def test_gray_that_becomes_yuv_keeps_every_code():
    source = picture("gray", matrix=6, full_range=True)
    assert output_color(source, pixel_layout("yuv420p"), (64, 48)) == source.color


def test_yuv_that_becomes_rgb_is_full_range():
    color = output_color(picture("yuv420p"), pixel_layout("gbrp"), (64, 48))
    assert (color.matrix, color.full_range) == (0, True)


OFFERED = {
    name: [offer.name for offer in Codec(name, "w").video_formats or []]
    for name in ("libx264", "libx265", "ffv1", "libvpx-vp9", "prores_ks", "libsvtav1")
}


@pytest.mark.parametrize(
    ("encoder", "wanted", "best"),
    [
        ("libx264", "yuv420p", "yuv420p"),
        ("libx264", "yuv420p10le", "yuv420p10le"),
        ("libx264", "yuv420p12le", "yuv420p10le"),
        ("libx264", "yuv420p9le", "yuv420p10le"),
        ("libx264", "yuv444p", "yuv444p"),
        ("libx264", "yuv440p", "yuv444p"),
        ("libx264", "yuv411p", "yuv422p"),
        ("libx264", "yuv410p", "yuv420p"),
        ("libx264", "gbrp", "yuv444p"),
        ("libx264", "gbrp16le", "yuv444p10le"),
        ("libx264", "yuva444p12le", "yuv444p10le"),
        ("libx264", "gray16le", "yuv420p10le"),
        ("libx265", "yuv422p12le", "yuv422p12le"),
        ("libx265", "gbrp", "gbrp"),
        ("libsvtav1", "yuv444p10le", "yuv420p10le"),
        ("libvpx-vp9", "yuv440p", "yuv440p"),
        ("prores_ks", "yuv420p", "yuv422p10le"),
        ("prores_ks", "yuva420p", "yuva444p10le"),
        ("ffv1", "yuva444p10le", "yuva444p10le"),
        ("ffv1", "gbrap", "gbrap10le"),
        ("ffv1", "gray12le", "gray12le"),
    ],
)
def test_an_encoder_gets_the_format_that_keeps_most(encoder, wanted, best):
    assert closest_format(pixel_layout(wanted), OFFERED[encoder]).name == best


def test_yuv_never_becomes_gray_or_rgb():
    assert closest_format(pixel_layout("yuv420p"), ["gray", "gbrp", "rgb24"]) is None
