"""A range that is stated wrongly shows as another contrast, whatever the tags say."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vidsr.judge.verify import verify

LIMITED = (1, 1, 1, 1)


def ramp(path, low, high):
    """Luma from low to high across the picture, tagged as limited range."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame(192, 128, "yuv420p")
            for index, plane in enumerate(frame.planes):
                lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
                values = np.linspace(low, high, plane.width).round() if index == 0 else np.full(plane.width, 128)
                lines[:, : plane.width] = values
            for tagged in (frame, stream.codec_context):
                tagged.colorspace, tagged.color_range, tagged.color_primaries, tagged.color_trc = LIMITED
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("low", "high"), [(0, 255), (30, 217)])
def test_codes_of_another_range_are_found(tmp_path, low, high):
    verdict = verify(ramp(tmp_path / "a.mkv", 16, 235), ramp(tmp_path / "b.mkv", low, high))
    (wrong,) = verdict.of("wrong")
    assert wrong.name == "picture"


def test_a_little_more_contrast_is_what_networks_make(tmp_path):
    assert verify(ramp(tmp_path / "a.mkv", 40, 200), ramp(tmp_path / "b.mkv", 38, 202)).passes()
