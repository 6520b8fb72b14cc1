"""Single pictures: picked evenly, stacked with gaps, written whole or not at all."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vidsr.errors import SourceError, TargetError
from vidsr.media.read.still import pick_frames
from vidsr.media.write.still import write_png
from vidsr.report.sheet import stack_rows


@pytest.mark.parametrize(("num_frames", "positions"), [(1, [6]), (3, [2, 6, 10]), (12, list(range(12)))])
def test_frames_are_spread_evenly(make_clip, num_frames, positions):
    clip = make_clip(tags=(6, 1, 6, 6))
    picked = pick_frames(clip.path, num_frames)
    assert len(picked) == num_frames
    for (time, picture), position in zip(picked, positions, strict=True):
        assert time == pytest.approx((position + 0.5) / 25, abs=0.03)
        assert picture.shape == (48, 64, 3) and picture.dtype == np.uint8
        level = (48 + position * 9 % 150 - 16) * 255 / 219
        assert picture[..., 1].mean() == pytest.approx(level, abs=12)


def test_more_frames_than_there_are(make_clip):
    assert len(pick_frames(make_clip(frames=2).path, 5)) == 2


def test_what_cannot_be_picked_from_is_a_source_error(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(SourceError, match=r"text\.mp4: single frames cannot be picked"):
        pick_frames(path, 2)


def test_rows_are_stacked_with_white_gaps():
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    sheet = stack_rows([pictures[:2], pictures[2:]], gap_px=2)
    assert sheet.shape == (10, 14, 3)
    assert sheet[:4, :6].max() == 10 and sheet[:4, 8:].max() == 20
    assert sheet[6:, :6].max() == 30 and sheet[6:, 8:].max() == 40
    assert sheet[4:6].min() == 255 and sheet[:, 6:8].min() == 255


def test_a_png_holds_the_very_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    write_png(tmp_path / "a b?.png", picture)
    with av.open(f"file:{tmp_path}/a b?.png") as container:
        assert np.array_equal(next(container.decode(video=0)).to_ndarray(format="rgb24"), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a b?.png"]


def test_a_png_into_no_folder(tmp_path):
    with pytest.raises(TargetError, match=r"gone/x\.png: cannot be written"):
        write_png(tmp_path / "gone" / "x.png", np.zeros((2, 2, 3), np.uint8))
