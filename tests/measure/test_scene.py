"""The drawn picture and its clip: the same each time, and nothing that a network could take lightly."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from vidsr.errors import TargetError
from vidsr.measure.clip import write_clip
from vidsr.measure.scene import Scene, random_picture

SIZES = [(2, 2), (97, 33), (160, 90)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_is_the_same_each_time(width, height):
    first, second = Scene(width, height), Scene(width, height)
    for number in (0, 1, 40, 1000):
        frame = first.frame(number)
        assert frame.shape == (height, width, 3)
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, second.frame(number))
    assert np.array_equal(random_picture(width, height), random_picture(width, height))


def test_no_part_of_it_is_flat():
    frame = Scene(160, 96).frame(0).astype(float)
    blocks = frame.reshape(6, 16, 10, 16, 3)
    assert blocks.std(axis=(1, 3)).min() > 1.5, "grain is everywhere"
    assert frame.std() > 35
    steps = np.abs(np.diff(frame, axis=1)).max(axis=2)
    assert (steps > 60).sum() > 200, "hard edges"
    assert np.median(steps) > 3, "texture between them"


def test_no_frame_is_the_one_before_it():
    scene = Scene(64, 48)
    frames = [scene.frame(number).astype(float) for number in range(120)]
    assert min(np.abs(a - b).mean() for a, b in itertools.pairwise(frames)) > 2


def test_random_values_are_all_there():
    values, counts = np.unique(random_picture(160, 96), return_counts=True)
    assert len(values) == 256
    assert counts.max() < 2 * counts.min()


def test_the_clip_shows_it(tmp_path, look):
    path = write_clip(tmp_path / "clip.mov", 96, 64, 7, keyframe_every=3)
    seen = look.video(path)
    assert (seen.count, seen.sizes, seen.pix_fmt) == (7, {(96, 64)}, "yuv420p")
    assert seen.times == [Fraction(number, 25) for number in range(7)]
    assert seen.tags == (1, 1, 1, 1), "BT.709, limited range"
    scene = Scene(96, 64)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert sum(packet.is_keyframe for packet in container.demux(stream) if packet.size) == 3
    for number, (luma, _, _) in enumerate(look.planes(path)):
        off, off_by_five = (np.abs(luma - _luma(scene.frame(number + later))).mean() for later in (0, 5))
        assert off < 4 < 10 < off_by_five, "little but grain is what the encoder takes"


def _luma(rgb):
    return 16 + 219 / 255 * (rgb.astype(float) @ [0.2126, 0.7152, 0.0722])


def test_a_clip_that_cannot_be_written(tmp_path):
    with pytest.raises(TargetError):
        write_clip(tmp_path / "missing" / "clip.mov", 64, 48, 1)
