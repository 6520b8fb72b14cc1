"""Reading image sequences: every sample as it is in the file, numbers as times, damage told by name."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from picture_files import noise, write_picture
from PIL import Image

from vidsr.errors import SourceError, UsageError
from vidsr.media.read.source import probe, read_frames
from vidsr.media.read.video import Window

WRITTEN = [
    *((".png", name) for name in ("gray", "gray16be", "rgb24", "rgba", "rgb48be", "rgba64be")),
    *((".tif", name) for name in ("gray", "gray16le", "rgb24", "rgba", "rgb48le", "rgba64le")),
    *((".dpx", name) for name in ("gray", "rgb24", "rgba", "gbrp10be", "gbrp10le", "gbrp12be", "rgb48be", "rgba64be")),
    *((".exr", name) for name in ("grayf32le", "gbrpf32le", "gbrapf32le")),
    (".bmp", "bgr24"),
]


def read(path, window=Window(), rate=None):  # noqa: B008, a frozen value
    """(info, [(pts, RGB(A) or gray samples)], notices)"""
    notices, frames = [], []
    info = probe(path, rate)
    for frame in read_frames(info, window, notices.append):
        if len(frame.planes) == 1 or info.video.picture.layout.family == "yuv":
            samples = frame.planes[0].copy()
        else:
            green, blue, red, *alpha = frame.planes
            samples = np.stack([red, green, blue, *alpha], axis=-1)
        frames.append((frame.time.pts, samples))
    return info, frames, notices


@pytest.mark.parametrize(("suffix", "pix_fmt"), WRITTEN)
def test_every_sample_is_read_as_it_is(tmp_path, suffix, pix_fmt):
    samples = noise(pix_fmt)
    write_picture(tmp_path / f"a.0001{suffix}", samples if pix_fmt != "bgr24" else samples[..., ::-1], pix_fmt)
    info, frames, notices = read(tmp_path)
    layout = info.video.picture.layout
    assert np.array_equal(frames[0][1], samples) and notices == []
    assert (layout.has_alpha, layout.family == "gray", layout.is_float) == (
        samples.shape[2:] == (4,),
        samples.ndim == 2,
        suffix == ".exr",
    )


def test_half_floats_stay_halves(tmp_path):
    samples = noise("gbrapf32le")
    write_picture(tmp_path / "a.0001.exr", samples, "gbrapf32le", {"format": "half"})
    info, frames, _ = read(tmp_path)
    assert info.video.picture.layout.name == "gbrapf16le" and info.video.picture.color.transfer == 8
    assert np.array_equal(frames[0][1].astype(np.float32), samples)


def test_palettes_and_gray_with_alpha_become_rgb_with_alpha(tmp_path):
    picture = Image.fromarray(noise("rgb24")).quantize(40)
    picture.save(tmp_path / "a.1.png")
    _, frames, _ = read(tmp_path)
    assert np.array_equal(frames[0][1], np.asarray(picture.convert("RGBA")))
    gray = Image.merge("LA", [Image.fromarray(noise("gray", seed=seed)) for seed in (0, 1)])
    gray.save(tmp_path / "b.1.png")
    _, frames, _ = read(tmp_path / "b.%d.png")
    assert np.array_equal(frames[0][1], np.asarray(gray.convert("RGBA")))


@pytest.mark.parametrize("size", [(64, 48), (2000, 40)])
@pytest.mark.parametrize("name", ["a.1.jpg", "a.1.webp"])
def test_jpeg_and_webp_are_bt601_at_any_size(tmp_path, size, name):
    Image.new("RGB", size, (220, 40, 30)).save(tmp_path / name, quality=95)
    info, _, _ = read(tmp_path)
    color = info.video.picture.color
    assert (color.matrix, color.full_range, color.primaries, color.transfer) == (5, name.endswith("jpg"), 1, 13)


def test_numbers_are_times_and_gaps_are_named_in_one_notice(tmp_path):
    for number in (1001, 1002, 1003, 1005, 1009, 1010):
        write_picture(tmp_path / f"x.{number}.png", np.full((8, 8), number % 256, np.uint8), "gray")
    info, frames, notices = read(tmp_path)
    assert [pts for pts, _ in frames] == list(info.pts) == [0, 1, 2, 4, 8, 9]
    assert all((samples == (1001 + pts) % 256).all() for pts, samples in frames)
    assert notices == ["frames 1004, 1006 to 1008 are missing"]
    assert (info.video.time_base, info.video.average_rate) == (Fraction(1, 24), 24)
    _, frames, notices = read(tmp_path, Window(2, 8), rate=Fraction(24000, 1001))
    assert [pts for pts, _ in frames] == [2, 4] and notices == ["frame 1004 is missing"]
    assert probe(tmp_path, Fraction(24000, 1001)).video.time_base == Fraction(1001, 24000)


def test_a_rate_is_refused_for_what_has_times(make_clip):
    with pytest.raises(UsageError, match="rate is for image sequences"):
        probe(make_clip().path, Fraction(25))


def test_another_size_is_scaled_to_the_first_with_a_notice(tmp_path):
    for number, size in enumerate([(8, 12), (16, 24), (16, 24), (8, 12)]):
        write_picture(tmp_path / f"{number}.png", np.full((*size, 3), 50 + number, np.uint8), "rgb24")
    info, frames, notices = read(tmp_path)
    assert (info.video.picture.width, info.video.picture.height) == (12, 8)
    assert all(samples.shape == (8, 12, 3) and (samples == 50 + pts).all() for pts, samples in frames)
    assert notices == ["1.png is 24x16; it and others are scaled to the first size, 12x8"]


@pytest.mark.parametrize("pix_fmt", ["grayf32le", "gbrapf32le"])
@pytest.mark.parametrize("samples", ["half", "float"])
def test_light_of_another_size_is_left_out_not_clipped(tmp_path, pix_fmt, samples):
    channels = {"grayf32le": (), "gbrapf32le": (4,)}[pix_fmt]
    for number, size in enumerate([(8, 12), (16, 24), (8, 12)]):
        light = np.full((*size, *channels), 37.5, np.float32)
        write_picture(tmp_path / f"{number}.exr", light, pix_fmt, {"format": samples})
    _, frames, notices = read(tmp_path)
    assert [pts for pts, _ in frames] == [0, 2] and (frames[1][1] == 37.5).all()
    assert "1 picture is left out: 1.exr: is 24x16, the first 12x8" in notices[0]


def test_gray_and_coloured_light_are_read_together(tmp_path):
    colour, gray = noise("gbrpf32le", seed=1), noise("grayf32le", seed=2)
    write_picture(tmp_path / "0.exr", gray, "grayf32le", {"format": "half"})
    write_picture(tmp_path / "1.exr", colour, "gbrpf32le")
    info, frames, notices = read(tmp_path)
    assert info.video.picture.layout.name == "gbrpf32le" and notices == []
    assert np.array_equal(frames[1][1], colour)
    assert np.array_equal(frames[0][1], np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize("channels", [3, 4])
def test_float_tiff_is_read_as_light(tmp_path, channels):
    """Written by hand, since neither FFmpeg nor Pillow writes any."""
    samples = np.arange(4 * 6 * channels, dtype=np.float32).reshape(4, 6, channels) / 16 - 1
    entries = [
        (256, 4, 1, 6),
        (257, 4, 1, 4),
        (258, 3, channels, 200),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 300),
        (277, 3, 1, channels),
        (278, 4, 1, 4),
        (279, 4, 1, samples.nbytes),
        (284, 3, 1, 1),
        *([(338, 3, 1, 2)] if channels == 4 else []),
        (339, 3, channels, 220),
    ]
    header = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    header += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    data = bytearray(300) + samples.tobytes()
    data[: len(header)] = header
    data[200 : 200 + 2 * channels] = struct.pack(f"<{channels}H", *[32] * channels)
    data[220 : 220 + 2 * channels] = struct.pack(f"<{channels}H", *[3] * channels)
    (tmp_path / "0.tif").write_bytes(data)
    info, frames, _ = read(tmp_path)
    assert info.video.picture.layout.is_float and info.video.picture.color.transfer == 8
    assert np.array_equal(frames[0][1], samples)


def test_the_first_picture_alone_does_not_say_what_the_others_hold(tmp_path):
    """A black one is often stored as gray, an opaque one without alpha."""
    write_picture(tmp_path / "0.png", np.zeros((8, 8), np.uint8), "gray")
    colour = noise("rgba64be", 8, 8)
    write_picture(tmp_path / "1.png", colour, "rgba64be")
    plain = noise("rgb24", 8, 8)
    write_picture(tmp_path / "2.png", plain, "rgb24")
    info, frames, notices = read(tmp_path)
    assert info.video.picture.layout.name == "gbrap16le" and notices == []
    assert np.array_equal(frames[1][1], colour)
    assert (frames[0][1][..., :3] == 0).all() and (frames[0][1][..., 3] == 65535).all()
    assert np.array_equal(np.round(frames[2][1][..., :3] / 257), plain)  # as the same share of white


def test_a_format_that_was_not_seen_is_converted_with_a_notice(tmp_path):
    for number in range(40):
        write_picture(tmp_path / f"{number:02d}.png", np.full((8, 8), 60, np.uint8), "gray")
    write_picture(tmp_path / "04.png", np.full((8, 8, 3), 60, np.uint8), "rgb24")
    _, frames, notices = read(tmp_path)
    assert notices == ["04.png is rgb24; it and others are read as gray"]
    assert (frames[4][1] == 60).all()


DAMAGED = [(".png", "rgb24"), (".tif", "rgb24"), (".dpx", "rgb24"), (".exr", "gbrpf32le"), (".jpg", "yuvj444p")]


@pytest.mark.parametrize(("suffix", "pix_fmt"), DAMAGED)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_half_a_picture_is_left_out_by_name_and_the_rest_goes_on(tmp_path, suffix, pix_fmt, at):
    for number in range(3):
        path = tmp_path / f"{number}{suffix}"
        if suffix == ".jpg":
            Image.fromarray(noise("rgb24")).save(path)
        else:
            write_picture(path, noise(pix_fmt), pix_fmt)
    broken = tmp_path / f"{at}{suffix}"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    _, frames, notices = read(tmp_path)
    assert [pts for pts, _ in frames] == [n for n in range(3) if n != at]
    assert len(notices) == 1 and notices[0].startswith(f"the source is damaged: 1 picture is left out: {at}{suffix}:")


def test_empty_files_and_files_that_are_gone_are_left_out_too(tmp_path):
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", noise("gray"), "gray")
    (tmp_path / "2.png").write_bytes(b"")
    notices = []
    info = probe(tmp_path)
    (tmp_path / "3.png").unlink()
    assert len(list(read_frames(info, Window(), notices.append))) == 2
    assert "2 pictures are left out: 2.png: the file is empty (0 bytes), 3.png: the file is gone" in notices[0]


def test_nothing_but_damage_is_an_error_that_names_a_picture(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"none of the pictures can be decoded; 0\.png: "):
        probe(tmp_path)


def test_what_is_no_number_becomes_one_with_a_notice(tmp_path):
    samples = noise("gbrpf32le", 8, 8)
    samples[1, 2, 0], samples[3, 4, 1], samples[5, 6, 2] = np.nan, np.inf, -np.inf
    write_picture(tmp_path / "0.exr", samples, "gbrpf32le")
    _, frames, notices = read(tmp_path)
    expected = samples.copy()
    expected[1, 2, 0], expected[3, 4, 1], expected[5, 6, 2] = 0, 65504, -65504
    assert np.array_equal(frames[0][1], expected)
    assert notices == ["3 samples are no finite numbers, in 0.exr: NaN is read as 0 and infinity as 65504"]


def test_pictures_of_absurd_size_are_not_decoded(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(SourceError, match=r"0\.png: cannot be decoded"):
        probe(tmp_path)


def test_an_orientation_is_told_as_lost(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise("rgb24")).save(tmp_path / "0.jpg", exif=exif)
    assert any("orientation" in text for text in probe(tmp_path).unkept)


def test_logarithmic_dpx_is_told(tmp_path):
    path = write_picture(tmp_path / "0.dpx", noise("gbrp10be"), "gbrp10be")
    assert probe(tmp_path).unkept == ()
    data = bytearray(path.read_bytes())
    data[801] = 3
    path.write_bytes(data)
    assert "DPX transfer: logarithmic" in probe(tmp_path).unkept[0]


def test_names_with_anything_in_them(tmp_path):
    folder = tmp_path / "100% #1 é %04d"
    folder.mkdir()
    for number in (1, 2):
        write_picture(folder / f"a b%20ü'.{number:03d}.png", np.full((4, 4), number, np.uint8), "gray")
    for path in (folder, folder / "a b%%20ü'.%03d.png", folder / "a b%20ü'.###.png"):
        _, frames, _ = read(path)
        assert [(pts, samples[0, 0]) for pts, samples in frames] == [(0, 1), (1, 2)]


def test_a_single_picture_is_a_sequence_of_one(tmp_path):
    for number in (1, 2):
        write_picture(tmp_path / f"a.{number}.png", np.full((4, 4), number, np.uint8), "gray")
    info, frames, _ = read(tmp_path / "a.2.png")
    assert list(info.pts) == [0] and frames[0][1][0, 0] == 2


def test_real_sequences(shared_media):
    info, frames, notices = read(shared_media / "17_png16_seq")
    assert (info.sequence.first, len(frames), notices) == (1001, 5, [])
    assert info.video.source_pix_fmt == "rgb48be" and frames[0][1].dtype == np.uint16
    info, frames, notices = read(shared_media / "17_exr_seq" / "beachball.####.exr")
    assert (info.sequence.first, len(frames), notices) == (1, 3, [])
    assert info.video.sample_aspect_ratio == Fraction(254, 255)
