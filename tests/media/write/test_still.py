"""Single pictures, written whole or not at all."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vidsr.errors import TargetError
from vidsr.media.write.still import write_png


def test_a_png_holds_the_very_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    write_png(tmp_path / "a b?.png", picture)
    with av.open(f"file:{tmp_path}/a b?.png") as container:
        assert np.array_equal(next(container.decode(video=0)).to_ndarray(format="rgb24"), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a b?.png"]


def test_a_png_into_no_folder(tmp_path):
    with pytest.raises(TargetError, match=r"gone/x\.png: cannot be written"):
        write_png(tmp_path / "gone" / "x.png", np.zeros((2, 2, 3), np.uint8))
