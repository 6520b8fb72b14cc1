"""OpenEXR headers: further channels and missing lines are seen, which FFmpeg's decoder passes over."""

from __future__ import annotations

import struct

import pytest
from picture_files import noise, write_picture

from vidsr.media.read.exr import read_exr
from vidsr.media.read.source import probe


@pytest.mark.parametrize("compression", ["none", "rle", "zip1", "zip16"])
@pytest.mark.parametrize("height", [1, 16, 17, 40])
def test_whole_files_miss_nothing_and_cut_ones_what_was_cut(tmp_path, compression, height):
    path = write_picture(tmp_path / "a.exr", noise("gbrpf32le", 40, height), "gbrpf32le", {"compression": compression})
    data = path.read_bytes()
    assert read_exr(data).num_missing_chunks == 0
    assert read_exr(data[:-1]).num_missing_chunks == 1


def test_channels_beside_the_picture_are_told(tmp_path):
    path = write_picture(tmp_path / "a.0001.exr", noise("gbrpf32le"), "gbrpf32le")
    data = path.read_bytes()
    assert read_exr(data).further_channels == ()
    # Two more entries in the channel list, as a renderer writes them; the header alone is looked at.
    start = data.index(b"channels\0chlist\0") + len(b"channels\0chlist\0")
    (size,) = struct.unpack_from("<i", data, start)
    entries = b"".join(name + b"\0" + struct.pack("<iB3xii", 2, 0, 1, 1) for name in (b"Z", b"normal.X"))
    body = data[start + 4 : start + 4 + size - 1] + entries + b"\0"
    grown = data[:start] + struct.pack("<i", len(body)) + body + data[start + 4 + size :]
    assert read_exr(grown).further_channels == ("Z", "normal.X")


@pytest.mark.parametrize("length", [0, 3, 8, 60, 200])
def test_a_header_that_breaks_off_is_an_error(tmp_path, length):
    path = write_picture(tmp_path / "a.exr", noise("gbrpf32le"), "gbrpf32le")
    with pytest.raises(ValueError, match="ends within its header"):
        read_exr(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="no OpenEXR"):
        read_exr(b"PNG or so")


def test_further_channels_are_among_what_is_not_kept(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.0001.exr", noise("gbrpf32le"), "gbrpf32le")
    assert probe(tmp_path).unkept == ()
    whole = read_exr((tmp_path / "a.0001.exr").read_bytes())
    monkeypatch.setattr(
        "vidsr.media.read.pictures.read_exr", lambda data: type(whole)(further_channels=("Z",), num_missing_chunks=0)
    )
    assert probe(tmp_path).unkept == ("EXR channels Z",)
