"""Writing image sequences: every sample, tag and name as given, each file complete or not there."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from picture_files import noise, read_picture, shape_of_pixels

from vidsr.errors import TargetError, UsageError
from vidsr.frames import ColorTags, FrameTime, PictureFormat, pixel_layout
from vidsr.media.containers import PICTURES
from vidsr.media.sequence import parse_pattern
from vidsr.media.write.encoders import PICTURE_ENCODERS, choose_layout, find_encoder, sample_options
from vidsr.media.write.pictures import PictureWriter, publish_pictures
from vidsr.media.write.segment import EncodeSettings, Naming

_SUFFIXES = {"png": ".png", "tiff": ".tif", "exr": ".exr", "dpx": ".dpx"}
SRGB = ColorTags(matrix=0, full_range=True, siting="left", primaries=1, transfer=13)


def settings_for(folder, codec, layout_name, size=(37, 29), sar=Fraction(1), color=SRGB, offset=None, **options):
    layout = pixel_layout(layout_name)
    pattern = parse_pattern(folder / f"a.%04d{_SUFFIXES[codec]}")
    encoder = find_encoder(codec)
    return EncodeSettings(
        codec=codec,
        segment_format=encoder.segment_format,
        options={**sample_options(codec, layout), **encoder.options(None, None, options)},
        picture=PictureFormat(width=size[0], height=size[1], layout=layout, color=color),
        time_base=Fraction(1, 24),
        frame_rate=Fraction(24),
        sample_aspect_ratio=sar,
        naming=Naming(pattern=pattern, offset=offset),
    )


def planes_of(samples):
    if samples.ndim == 2:
        return [samples]
    red, green, blue, *alpha = (samples[..., channel] for channel in range(samples.shape[2]))
    return [green, blue, red, *alpha]


def write(folder, settings, pictures, stamps=None):
    writer = PictureWriter(folder / "work", settings)
    for index, samples in enumerate(pictures):
        writer.write(planes_of(samples), FrameTime(pts=index if stamps is None else stamps[index], duration=1))
    writer.close()
    return writer


LAYOUTS = [(codec, layout) for codec, encoder in PICTURE_ENCODERS.items() for layout in encoder.samples]


@pytest.mark.parametrize(("codec", "layout"), LAYOUTS)
@pytest.mark.parametrize("size", [(37, 29), (64, 48)])
def test_every_sample_is_written_as_it_is(tmp_path, codec, layout, size):
    pictures = [noise(layout, *size, seed=seed) for seed in range(5)]
    write(tmp_path, settings_for(tmp_path, codec, layout, size), pictures)
    for number, samples in enumerate(pictures, 1):
        pix_fmt, seen = read_picture(tmp_path / "work" / f"a.{number:04d}{_SUFFIXES[codec]}")
        assert np.array_equal(seen, samples), pix_fmt
        assert seen.dtype == samples.dtype


@pytest.mark.parametrize("codec", PICTURE_ENCODERS)
def test_the_shape_of_pixels_is_kept(tmp_path, codec):
    layout = next(iter(PICTURE_ENCODERS[codec].samples))
    settings = settings_for(tmp_path, codec, layout, sar=Fraction(4, 3))
    write(tmp_path, settings, [noise(layout)])
    path = next((tmp_path / "work").iterdir())
    if codec in ("png", "tiff"):  # by another library: FFmpeg takes PNG's samples per metre for their size
        assert shape_of_pixels(path) == pytest.approx(4 / 3, abs=1e-3)
    else:
        with av.open(str(path)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (9, 16), (9, 18), (12, 13)])
def test_png_says_what_its_colours_are(tmp_path, primaries, transfer):
    color = ColorTags(matrix=0, full_range=True, siting="left", primaries=primaries, transfer=transfer)
    write(tmp_path, settings_for(tmp_path, "png", "gbrp16le", color=color), [noise("gbrp16le")])
    with av.open(str(next((tmp_path / "work").iterdir()))) as container:
        frame = next(container.decode(video=0))
    assert (frame.color_primaries, frame.color_trc, frame.color_range) == (primaries, transfer, 2)


def test_numbers_follow_the_times_or_are_counted(tmp_path):
    pictures = [noise("gray", 8, 8, seed) for seed in range(3)]
    (tmp_path / "x").mkdir()
    write(tmp_path / "x", settings_for(tmp_path, "png", "gray", (8, 8), offset=1001), pictures, [0, 3, 4])
    assert sorted(p.name for p in (tmp_path / "x" / "work").iterdir()) == ["a.1001.png", "a.1004.png", "a.1005.png"]
    (tmp_path / "y").mkdir()
    write(tmp_path / "y", settings_for(tmp_path, "png", "gray", (8, 8)), pictures, [0, 40, 99])
    assert sorted(p.name for p in (tmp_path / "y" / "work").iterdir()) == ["a.0001.png", "a.0002.png", "a.0003.png"]


def test_finished_pictures_replace_what_is_there(tmp_path):
    settings = settings_for(tmp_path, "png", "gray", (8, 8))
    samples = noise("gray", 8, 8)
    (tmp_path / "a.0001.png").write_bytes(b"old")
    write(tmp_path, settings, [samples, samples])
    assert publish_pictures([tmp_path / "work"], settings.naming) == 2
    assert np.array_equal(read_picture(tmp_path / "a.0001.png")[1], samples)
    # They also stay: a crash before the end of this must not cost them.
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["a.0001.png", "a.0002.png"]


def test_an_abandoned_run_leaves_nothing(tmp_path):
    writer = PictureWriter(tmp_path / "work", settings_for(tmp_path, "png", "gray", (8, 8)))
    writer.write([noise("gray", 8, 8)], FrameTime(pts=0, duration=1))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_names_the_folder(tmp_path):
    writer = PictureWriter(tmp_path / "work", settings_for(tmp_path, "tiff", "gray", (8, 8)))
    (tmp_path / "work").rmdir()
    with pytest.raises(TargetError, match="work: cannot be written"):
        for index in range(99):  # encoders with several threads hold back some
            writer.write([noise("gray", 8, 8)], FrameTime(pts=index, duration=1))


@pytest.mark.parametrize(
    ("codec", "source", "chosen"),
    [
        ("png", "yuv420p", "gbrp"),
        ("png", "yuv420p10le", "gbrp16le"),
        ("png", "yuva420p", "gbrap"),
        ("png", "gray", "gray"),
        ("png", "gray10le", "gray16le"),
        ("png", "gbrap10le", "gbrap16le"),
        ("png", "gbrpf16le", "gbrp16le"),
        ("tiff", "gbrp12le", "gbrp16le"),
        ("dpx", "yuv422p10le", "gbrp10le"),
        ("dpx", "gbrap10le", "gbrap16le"),
        ("dpx", "gbrp12le", "gbrp12le"),
        ("dpx", "gray", "gray"),
        ("exr", "gbrpf16le", "gbrpf16le"),
        ("exr", "gbrapf32le", "gbrapf32le"),
        ("exr", "grayf16le", "grayf16le"),
        ("exr", "yuv420p10le", "gbrpf16le"),
        ("exr", "gbrp16le", "gbrpf32le"),
        ("exr", "gray", "grayf16le"),
    ],
)
def test_a_picture_format_keeps_colour_depth_and_alpha(codec, source, chosen):
    layout = choose_layout(find_encoder(codec), pixel_layout(source), None, PICTURES)
    assert layout.name == chosen


@pytest.mark.parametrize("name", ["gbrp16le", "gbrp16", "rgb48be", "rgb48"])
def test_a_pixel_format_may_be_named_in_either_way(name):
    assert choose_layout(find_encoder("png"), pixel_layout("yuv420p"), name, PICTURES).name == "gbrp16le"
    for bits in (16, 32):
        wanted = f"gbrpf{bits}le"
        for exr_name in (wanted, wanted.removesuffix("le")):
            layout = choose_layout(find_encoder("exr"), pixel_layout("yuv420p"), exr_name, PICTURES)
            assert layout.name == wanted
    with pytest.raises(UsageError, match="png does not write 'yuv420p'"):
        choose_layout(find_encoder("png"), pixel_layout("yuv420p"), "yuv420p", PICTURES)
