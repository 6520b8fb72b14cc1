"""Animated WebP: as a player composes it, at the file's own times; the extra is named where it is missing."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
from picture_files import noise

from vidsr.errors import SourceError, UsageError
from vidsr.media.read.source import probe, read_frames
from vidsr.media.read.video import Window

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
DURATIONS = [40, 100, 200, 70]


def animate(path, kind="RGBA"):
    pictures = [noise("rgba" if kind == "RGBA" else "rgb24", 60, 40, seed) for seed in range(4)]
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=DURATIONS, lossless=True, exact=True)
    return pictures


def read(path, window=Window()):  # noqa: B008, a frozen value
    notices = []
    info = probe(path)
    frames = [(f.time, [plane.copy() for plane in f.planes]) for f in read_frames(info, window, notices.append)]
    return info, frames, notices


@pytest.mark.parametrize("kind", ["RGBA", "RGB"])
def test_frames_and_times_are_those_of_the_file(tmp_path, kind):
    pictures = animate(tmp_path / "a.webp", kind)
    info, frames, notices = read(tmp_path / "a.webp")
    assert [time.pts for time, _ in frames] == list(info.pts) == [0, 40, 140, 340]
    assert (info.video.time_base, info.video.duration_seconds, notices) == (Fraction(1, 1000), 0.41, [])
    assert info.video.picture.layout.name == ("gbrap" if kind == "RGBA" else "gbrp")
    for (_, (green, blue, red, *alpha)), picture in zip(frames, pictures, strict=True):
        seen = np.stack([red, green, blue, *alpha], axis=-1)
        if kind == "RGBA":
            assert np.array_equal(seen[..., 3], picture[..., 3])
            visible = picture[..., 3] == 255
            assert np.array_equal(seen[visible], picture[visible])
        else:
            assert np.array_equal(seen, picture)


def test_a_window_has_only_its_frames(tmp_path):
    animate(tmp_path / "a.webp")
    _, frames, _ = read(tmp_path / "a.webp", Window(40, 340))
    assert [time.pts for time, _ in frames] == [40, 140]


def test_a_file_that_breaks_off_is_an_error(tmp_path):
    animate(tmp_path / "a.webp")
    data = (tmp_path / "a.webp").read_bytes()
    for length in (30, 200, len(data) * 5 // 8):
        (tmp_path / "a.webp").write_bytes(data[:length])
        with pytest.raises(SourceError, match="incomplete"):
            probe(tmp_path / "a.webp")


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    animate(tmp_path / "a.webp")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r'pip install "vidsr-upscale\[webp\]"'):
        probe(tmp_path / "a.webp")
