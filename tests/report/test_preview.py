"""Sheets: the pictures that a run would make, beside plain ones, at moments worth looking at."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vidsr.errors import SourceError
from vidsr.options.upscale import UpscaleOptions
from vidsr.report.preview import make_preview
from vidsr.report.sheet import stack_rows
from vidsr.run.upscale import upscale_video


def test_rows_are_stacked_with_white_gaps():
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    sheet = stack_rows([pictures[:2], pictures[2:]], gap_px=2)
    assert sheet.shape == (10, 14, 3)
    assert sheet[:4, :6].max() == 10 and sheet[:4, 8:].max() == 20
    assert sheet[6:, :6].max() == 30 and sheet[6:, 8:].max() == 40
    assert sheet[4:6].min() == 255 and sheet[:, 6:8].min() == 255


def sheet_of(path, target, num_frames=1, **given):
    options = UpscaleOptions(**({"model": "nearest", "device": "cpu", "scale": Fraction(2)} | given))
    made = make_preview(path, target, options, num_frames)
    with av.open(str(target)) as container:
        return made, next(container.decode(video=0)).to_ndarray(format="rgb24")


def shown(path, seconds):
    """What FFmpeg makes of the frame that is so far from the first."""
    with av.open(str(path)) as container:
        began = None
        for frame in container.decode(video=0):
            began = frame.time if began is None else began
            if frame.time - began >= seconds - 1e-3:
                return frame.to_ndarray(format="rgb24")
    raise AssertionError("no such frame")


@pytest.mark.parametrize(
    ("codec", "name"), [("libx264", "a.mp4"), ("mpeg2video", "a.mpg"), ("mpeg1video", "b.mpg"), ("libx264", "a.ts")]
)
def test_the_right_half_is_what_a_run_writes(make_clip, tmp_path, codec, name):
    """MPEG program and transport streams, too: one library's pictures of those are others, 84 levels off."""
    options = {"crf": "5"} if codec == "libx264" else {"qscale": "2"}
    clip = make_clip(name, codec=codec, frames=9, size=(64, 48), options=options, tags=(6, 1, 6, 6))
    made, sheet = sheet_of(clip.path, tmp_path / "sheet.png")
    upscale_video(clip.path, tmp_path / "out.mkv", UpscaleOptions(model="nearest", device="cpu", codec="ffv1"))
    wanted = shown(tmp_path / "out.mkv", made.seconds[0])
    right = sheet[:, -128:]
    assert right.shape == wanted.shape
    # FFmpeg's own conversion to RGB rounds in other places, and enlarges chroma by another filter; the frame before or
    # behind it is nine levels off.
    assert np.abs(right.astype(int) - wanted).mean() < 3


@pytest.mark.parametrize(("rotation", "width"), [(0, 128), (90, 96), (180, 128)])
def test_pictures_are_turned_as_players_do(make_clip, tmp_path, rotation, width):
    clip = make_clip("a.mp4", rotation=rotation, frames=3)
    _, sheet = sheet_of(clip.path, tmp_path / "sheet.png")
    assert sheet.shape == (224 - width, 2 * width + 8, 3)


def test_where_nothing_decodes_it_is_said(make_clip, tmp_path):
    clip = make_clip("a.mkv", frames=3)
    data = bytearray(clip.path.read_bytes())
    with av.open(str(clip.path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for place, size in places:
        data[place + 8 : place + size + 8] = bytes(size)
    clip.path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.mkv"):
        sheet_of(clip.path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
