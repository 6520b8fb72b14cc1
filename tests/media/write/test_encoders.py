"""The encoder table: every row really encodes, and what an encoder does not have is refused with a reason."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec import Codec
from av.video.codeccontext import VideoCodecContext

from vidsr.errors import UsageError
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.media.containers import CONTAINERS
from vidsr.media.write.encoders import ENCODERS, check_options, choose_layout, find_encoder, fit_slices, works_here
from vidsr.media.write.segment import EncodeSettings, SegmentWriter
from vidsr.options.upscale import SPECS, UpscaleOptions

HERE = {name: encoder for name, encoder in ENCODERS.items() if works_here(encoder)}


def encode(path, encoder, layout_name="yuv420p", size=(96, 80), frames=3, crf=None, preset=None):
    layout = choose_layout(encoder, pixel_layout(layout_name), None, CONTAINERS["mov"])
    color = ColorTags(matrix=0 if layout.family == "gbr" else 1, full_range=False, siting="left")
    picture = PictureFormat(width=size[0], height=size[1], layout=layout, color=color)
    settings = EncodeSettings(
        codec=encoder.name,
        segment_format=encoder.segment_format,
        options=encoder.options(crf, preset),
        picture=picture,
        time_base=Fraction(1, 25),
        frame_rate=Fraction(25),
        sample_aspect_ratio=Fraction(1),
    )
    writer = SegmentWriter(path, settings)
    for number in range(frames):
        planes = [
            np.full(shape, (60 + 30 * number) << (layout.depth - 8), layout.dtype) for shape in picture.plane_shapes
        ]
        writer.write(planes, FrameTime(pts=number, duration=1))
    writer.close()
    return layout


@pytest.mark.parametrize("layout_name", ["yuv420p", "yuv422p10le", "yuva444p12le", "gray", "gbrp", "gbrap16le"])
@pytest.mark.parametrize("name", HERE)
def test_every_encoder_writes_frames_of_every_kind_of_source(tmp_path, look, name, layout_name):
    path = tmp_path / "x.segment"
    layout = encode(path, find_encoder(name), layout_name)
    seen = look.video(path)
    assert seen.count == 3
    if seen.pix_fmt == "bgr0":  # FFV1's 8-bit RGB, one byte in four being nothing
        assert layout.name == "gbrp"
        assert seen.means == [60 * 0.75, 90 * 0.75, 120 * 0.75]
        return
    assert seen.pix_fmt.replace("yuvj", "yuv").removesuffix("le").replace("12", "10") in (
        layout.name.removesuffix("le").replace("12", "10"),
        "yuv420p",  # VP9 keeps alpha outside of the picture that a decoder gives
    )
    depth_shift = (10 if name == "prores_ks" and "12" in seen.pix_fmt else layout.depth) - 8
    if "12" in seen.pix_fmt and layout.depth != 12:
        depth_shift = 4
    assert np.array(seen.means) / 2**depth_shift == pytest.approx([60, 90, 120], abs=3)


@pytest.mark.parametrize("name", [name for name, encoder in HERE.items() if not encoder.even_sides])
def test_encoders_that_take_odd_sizes_do(tmp_path, look, name):
    encode(tmp_path / "x.segment", find_encoder(name), size=(97, 81))
    assert look.video(tmp_path / "x.segment").sizes == {(97, 81)}


@pytest.mark.parametrize("name", [name for name, encoder in HERE.items() if encoder.crf is not None])
def test_the_ends_of_the_quality_scale_are_accepted_and_matter(tmp_path, name):
    encoder = find_encoder(name)
    low, high = encoder.crf_range
    for crf in encoder.crf_range:
        encode(tmp_path / f"{crf:g}.segment", encoder, crf=crf)
        for beyond in (low - 1, high + 1):
            with pytest.raises(UsageError, match=rf"crf is {beyond:g}; {name} takes {low:g} \(best\) to {high:g}"):
                encoder.options(beyond, None)
    assert encoder.options(None, None)["crf"] == f"{encoder.crf:g}"


def test_a_codec_outside_the_table():
    with pytest.raises(UsageError, match=r"codec is 'h264'; vidsr writes libx264, libx265"):
        find_encoder("h264")


@pytest.mark.parametrize("name", ["ffv1", "prores_ks"])
def test_quality_and_preset_where_there_are_none(name):
    with pytest.raises(UsageError, match=f"{name} has no crf"):
        find_encoder(name).options(20, None)
    with pytest.raises(UsageError, match=f"{name} has no presets"):
        find_encoder(name).options(None, "fast")


@pytest.mark.parametrize("name", ["libx264", "libx265"])
def test_an_unknown_preset_is_a_usage_error_that_names_it(tmp_path, name, capfd):
    with pytest.raises(UsageError, match=rf"{name} does not accept its settings .*preset=quick"):
        encode(tmp_path / "x.segment", find_encoder(name), preset="quick")
    capfd.readouterr()
    assert not list(tmp_path.glob("x.segment"))


@pytest.mark.parametrize(
    ("name", "source", "asked", "fitting"),
    [
        ("libx264", "yuv420p", "yuv420p12le", "yuv420p"),
        ("libx264", "yuv420p", "rgb24", "yuv444p"),
        ("libx264", "yuv420p", "nonsense", "yuv420p10le"),
        ("libx264", "yuv420p", "gray", "yuv420p"),
        ("libsvtav1", "yuv420p", "yuv444p", "yuv420p10le"),
        ("prores_ks", "yuv420p", "yuv420p", "yuv422p10le"),
    ],
)
def test_a_pixel_format_that_the_encoder_does_not_take(name, source, asked, fitting):
    with pytest.raises(UsageError, match=f"{name} does not write '{asked}' from this source; it takes .*{fitting}"):
        choose_layout(find_encoder(name), pixel_layout(source), asked, CONTAINERS["mov"])


@pytest.mark.parametrize("asked", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"])
@pytest.mark.parametrize("source", ["yuv420p", "yuv444p10le", "gbrp", "gray", "yuva420p"])
def test_a_pixel_format_that_was_asked_for_is_used(source, asked):
    assert choose_layout(find_encoder("libx264"), pixel_layout(source), asked, CONTAINERS["mov"]).name == asked


def test_all_of_the_table_is_named_where_options_are_explained():
    assert all(name in SPECS["codec"].meaning for name in ENCODERS)
    assert UpscaleOptions().codec in ENCODERS


@pytest.mark.parametrize("size", [(853, 480), (1919, 1079), (51, 39), (127, 95), (3, 3), (1, 1), (2, 2), (5, 7)])
@pytest.mark.parametrize("layout_name", ["yuv420p", "yuv422p10le", "yuv444p", "gray"])
def test_a_lossless_encoder_takes_any_size(size, layout_name):
    encoder = find_encoder("ffv1")
    color = ColorTags(matrix=1, full_range=False, siting="left")
    picture = PictureFormat(width=size[0], height=size[1], layout=pixel_layout(layout_name), color=color)
    options = fit_slices("ffv1", encoder.options(None, None), picture)
    context = VideoCodecContext.create("ffv1", "w")
    context.width, context.height, context.pix_fmt = *size, layout_name
    context.time_base = Fraction(1, 25)
    context.options = dict(options)
    context.open()


def test_slices_stay_as_they_are_where_they_fit():
    color = ColorTags(matrix=1, full_range=False, siting="left")
    picture = PictureFormat(width=1280, height=720, layout=pixel_layout("yuv420p"), color=color)
    options = find_encoder("ffv1").options(None, None)
    assert fit_slices("ffv1", options, picture) == options
    other = find_encoder("libx264").options(None, None)
    assert fit_slices("libx264", other, picture) == other


HARDWARE = [name for name, encoder in ENCODERS.items() if encoder.only_samples]


def test_software_encoders_work_everywhere():
    assert set(ENCODERS) - set(HARDWARE) <= set(HERE)


@pytest.mark.parametrize("name", HARDWARE)
def test_a_hardware_encoder_is_known_to_ffmpeg_with_all_of_its_row(name):
    encoder, codec = ENCODERS[name], Codec(name, "w")
    offered = {offer.name for offer in codec.video_formats}
    assert set(encoder.samples.values()) <= offered
    context = av.CodecContext.create(name, "w")
    known = {
        option.name
        for options in (context.supported_options.generic, context.supported_options.private)
        for option in options
    }
    assert set(encoder.options(None, None)) <= known
    assert choose_layout(encoder, pixel_layout("yuv444p12le"), None, CONTAINERS["mp4"]).name in encoder.samples


@pytest.mark.parametrize("name", [name for name in HARDWARE if name not in HERE])
def test_hardware_that_is_not_there_is_named_with_the_reason(name):
    layout = choose_layout(ENCODERS[name], pixel_layout("yuv420p"), None, CONTAINERS["mp4"])
    color = ColorTags(matrix=1, full_range=False, siting="left")
    picture = PictureFormat(width=256, height=256, layout=layout, color=color)
    with pytest.raises(UsageError, match=f"{name} cannot be used like this .*: [A-Z].+"):
        check_options(name, ENCODERS[name].options(None, None), picture)


def test_x265_is_kept_from_pictures_that_it_crashes_on():
    color = ColorTags(matrix=1, full_range=False, siting="left")
    for width, right in ((62, False), (64, True)):
        picture = PictureFormat(width=width, height=64, layout=pixel_layout("yuv420p"), color=color)
        if right:
            check_options("libx265", {}, picture)
        else:
            with pytest.raises(UsageError, match="libx265 writes pictures of 64 pixels and wider, not 62"):
                check_options("libx265", {}, picture)
