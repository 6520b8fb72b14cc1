"""Frames with side data that PyAV has no name for are read, and what is hidden by it is said."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import pytest

from vidsr.media.read.probe import probe
from vidsr.media.sidedata import UNNAMED, side_data_of


def jpeg_with_exif(path):
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = 64, 48, "yuvj420p"
    context.time_base = Fraction(1, 25)
    picture = av.VideoFrame(64, 48, "yuvj420p")
    data = b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])
    tiff = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 3, 1, 1, 0)  # one entry: orientation 1, upright
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])


def test_a_photograph_with_exif(tmp_path):
    jpeg_with_exif(tmp_path / "photo.jpg")
    with av.open(str(tmp_path / "photo.jpg")) as container:
        frame = next(container.decode(video=0))
    with pytest.raises(ValueError, match="not a valid Type"):
        list(frame.side_data)  # if this ever works, side_data_of is no longer needed
    assert side_data_of(frame) is None
    assert probe(tmp_path / "photo.jpg").unkept == (UNNAMED,)


def test_names(make_clip):
    clip = make_clip(rotation=90)
    with av.open(str(clip.path)) as container:
        assert "DISPLAYMATRIX" in side_data_of(next(container.decode(video=0)))
