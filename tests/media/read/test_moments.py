"""Moments worth looking at, and how far the pictures that are looked at for them agree with the reader's."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

import vidsr.media.read.moments
from vidsr.media.read.moments import _contrasts, find_moments
from vidsr.media.read.source import probe, read_frames
from vidsr.media.read.video import Window
from vidsr.pixels.color import planes_to_rgb


@pytest.fixture
def known(monkeypatch):
    """A function that says how much there is to see in which frames."""

    def say(contrasts):
        monkeypatch.setattr(
            vidsr.media.read.moments,
            "_contrasts",
            lambda source, positions: {p: contrasts.get(p, 1.0) for p in positions},
        )

    return say


@pytest.mark.parametrize(("num_moments", "positions"), [(1, [6]), (3, [2, 6, 10]), (12, list(range(12)))])
def test_they_are_spread_evenly_where_all_is_alike(make_clip, known, num_moments, positions):
    known({})
    found = find_moments(probe(make_clip(frames=12).path), num_moments)
    assert len(found) == num_moments
    assert all(abs(a - b) <= 1 for a, b in zip(found, positions, strict=True))


def test_of_each_stretch_it_is_the_one_with_the_most_to_see(make_clip, known):
    source = probe(make_clip(frames=80).path)
    known({5: 9.0, 75: 5.0})
    first, second = find_moments(source, 2)
    assert (first, second) == (5, 75)


def test_plain_frames_are_passed_over(tmp_path):
    """Of 24 frames all but four are black."""
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(24):
            picture = np.zeros((48, 64, 3), np.uint8)
            picture[:, ::2] = 255 if number in range(14, 18) else 0
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    source = probe(tmp_path / "a.mp4")
    assert find_moments(source, 1) == [15]
    assert [n for n, contrast in _contrasts(source, range(24)).items() if contrast > 20] == [14, 15, 16, 17]


def test_there_are_no_more_than_frames(make_clip):
    assert find_moments(probe(make_clip(frames=2).path), 5) == [0, 1]


def test_what_cannot_be_looked_into_has_them_in_the_middle(make_clip, monkeypatch):
    source = probe(make_clip(frames=12).path)
    monkeypatch.setattr(vidsr.media.read.moments, "_contrasts", lambda source, positions: {})
    assert find_moments(source, 3) == [2, 6, 10]


def test_another_count_of_frames_is_not_trusted(make_clip, monkeypatch):
    import decord

    clip = make_clip(frames=12)
    monkeypatch.setattr(decord.VideoReader, "__len__", lambda self: 13)
    assert _contrasts(probe(clip.path), [3]) == {}


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 2, 1, 1), (6, 1, 6, 6), (6, 2, 6, 6)])
@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
def test_its_pictures_are_those_of_the_reader(make_clip, pix_fmt, tags, size):
    """Every matrix, range and depth at every time, as near as the brightness of a small picture needs it."""
    if size[0] % 2 and pix_fmt != "yuv444p":
        pytest.skip("the encoder takes even sides here")
    clip = make_clip(frames=6, pix_fmt=pix_fmt, tags=tags, size=size, options={"crf": "10"}, noise=True)
    source = probe(clip.path)
    contrasts = _contrasts(source, range(6))
    for position, frame in enumerate(read_frames(source, Window(), lambda text: None)):
        rgb = planes_to_rgb([torch.from_numpy(np.array(plane))[None] for plane in frame.planes], source.video.picture)
        assert contrasts[position] == pytest.approx(255 * float(rgb[0].clamp(0, 1).mean(0).std()), rel=0.3, abs=2)
