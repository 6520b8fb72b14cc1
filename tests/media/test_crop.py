"""What a container hides of the picture, clean aperture or PixelCrop, is cut off, as the ffmpeg program does it."""

from __future__ import annotations

import json
import struct
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vidsr.cli.main import app
from vidsr.events import Notice
from vidsr.media.read.probe import probe
from vidsr.media.read.video import Window, read_frames
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")


def add_clean_aperture(path, size, offset):
    """Put a clap box into the first track: its size, and by how much its middle is off the picture's, in halves."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4sIIIIiIiI", 40, b"clap", size[0], 1, size[1], 1, offset[0], 2, offset[1], 2)
    places, position = [], 0
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        position = data.index(name, position)
        places.append(position - 4)
    end = places[-1] + struct.unpack_from(">I", data, places[-1])[0]
    data[end:end] = box  # the media data lie before, so that no offset changes
    for place in places:
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(box))
    path.write_bytes(data)


def seen_by_ffmpeg(ffmpeg_program, path, pix_fmt, size):
    """Luma planes as the ffmpeg program shows them."""
    command = [ffmpeg_program, "-v", "error", "-i", path, "-pix_fmt", pix_fmt, "-f", "rawvideo", "-"]
    data = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)
    luma = size[0] * size[1]
    return [frame[:luma].reshape(size[1], size[0]) for frame in data.reshape(-1, luma * 3 // 2)]


@pytest.fixture
def apertured(make_clip):
    """64x48, of which 40x32 are shown: 10 to the left and 14 to the right are hidden, 12 above and 4 below."""
    clip = make_clip("clean.mp4", frames=3, noise=True)
    add_clean_aperture(clip.path, (40, 32), (-4, 8))
    return clip


def as_matroska(path):
    target = path.with_suffix(".mkv")
    with av.open(str(path)) as given, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_hidden_part_is_cut_off(apertured, look, ffmpeg_program, suffix):
    path = apertured.path if suffix == ".mp4" else as_matroska(apertured.path)
    source = probe(path)
    assert (source.video.picture.width, source.video.picture.height) == (40, 32)
    frames = [frame.planes for frame in read_frames(source, Window(), print)]
    coded = look.planes(path)
    for (luma, cb, cr), (whole, whole_cb, whole_cr), wanted in zip(
        frames, coded, seen_by_ffmpeg(ffmpeg_program, path, "yuv420p", (40, 32)), strict=True
    ):
        assert whole.shape == (48, 64), "the decoder does it now"
        assert np.array_equal(luma, whole[12:44, 10:50]) and np.array_equal(luma, wanted)
        assert np.array_equal(cb, whole_cb[6:22, 5:25]) and np.array_equal(cr, whole_cr[6:22, 5:25])


def test_chroma_samples_are_not_split(make_clip, look):
    clip = make_clip("odd.mp4", frames=1, noise=True)
    add_clean_aperture(clip.path, (39, 31), (-3, 5))  # 11 to the left, 11 above
    source = probe(clip.path)
    (frame,) = read_frames(source, Window(), print)
    (whole, whole_cb, _) = look.planes(clip.path)[0]
    assert np.array_equal(frame.planes[0], whole[10:41, 10:49])
    assert np.array_equal(frame.planes[1], whole_cb[5:21, 5:25])


def test_the_cut_is_announced_and_the_target_whole(apertured, look, tmp_path):
    notes = []
    options = UpscaleOptions(model="nearest", scale=Fraction(2), codec="ffv1", device="cpu")
    upscale_video(apertured.path, tmp_path / "out.mkv", options, on_event=notes.append)
    texts = [note.text for note in notes if isinstance(note, Notice)]
    assert [text for text in texts if "of its 64x48 pixels the source shows 40x32 (clean aperture)" in text]
    assert look.video(tmp_path / "out.mkv").sizes == {(80, 64)}
    assert probe(tmp_path / "out.mkv").crop is None


def test_a_clean_aperture_of_nothing_is_no_crop(make_clip):
    clip = make_clip("broken.mp4", frames=1)
    add_clean_aperture(clip.path, (2, 2), (400, 0))
    source = probe(clip.path)
    assert source.crop is None and source.video.picture.width == 64


def test_probe_tells_of_it(apertured, make_clip):
    told = CliRunner().invoke(app, ["probe", str(apertured.path), "--json"])
    assert json.loads(told.stdout)["cropped"] == {"left": 10, "right": 14, "top": 12, "bottom": 4}
    told = CliRunner().invoke(app, ["probe", str(make_clip("plain.mp4", frames=1).path), "--json"])
    assert json.loads(told.stdout)["cropped"] is None


def test_the_log_stays_as_it_was(apertured):
    before = av.logging.get_level()
    probe(apertured.path)
    assert av.logging.get_level() == before
