"""Caption data put into coded pictures is what FFmpeg's decoders find there, frame by frame; .scc files read back."""

from __future__ import annotations

import io
import random
from fractions import Fraction

import av
import numpy as np
import pytest

from vidsr.media.captions import captions_of, embed, kinds_of, scan_packet, triplets
from vidsr.media.write.encoders import carries_captions
from vidsr.media.write.scc import read_record, scc_text, write_record

QUICK = {
    "libx264": {"preset": "medium", "x264-params": "b-adapt=0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=error:bframes=3:b-adapt=0"},
    "libsvtav1": {"preset": "12"},
}


def random_captions(generator, most):
    """Triplets with many zeros, which H.264 and HEVC must escape."""
    pick = generator.choice
    return bytes(
        byte
        for _ in range(pick([1, 2, 20, most]))
        for byte in (0xF8 | 4 | pick([0, 1, 2, 3]), pick([0, 1, 2, 3, 0x80, 0x94]), pick([0, 0, 1, 3, 0x80, 0x2C]))
    )


def encode(path, codec, captions):
    """24 frames with the given captions, by frame number; returns whether packets were out of order."""
    stamps = []
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=QUICK[codec])
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for number in [*range(24), None]:
            frame = None
            if number is not None:
                frame = av.VideoFrame(96, 80, "yuv420p")
                for plane in frame.planes:
                    noise = np.random.default_rng(number // 12).integers(0, 255, plane.buffer_size, np.uint8)
                    plane.update(noise.tobytes())
                frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in stream.encode(frame):
                data = bytes(packet)
                if packet.pts in captions:
                    data = embed(stream.codec_context.codec.canonical_name, data, captions[packet.pts])
                    assert scan_packet(data) == captions[packet.pts][:93]
                twin = av.Packet(data)
                twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
                twin.is_keyframe, twin.duration, twin.stream = packet.is_keyframe, packet.duration, stream
                stamps.append(packet.pts)
                out.mux(twin)
    return stamps != sorted(stamps)


def decoded(path):
    with av.open(str(path)) as container:
        return {round(frame.time * 25): captions_of(frame) for frame in container.decode(video=0)}


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", "mp4"), ("libx264", "mkv"), ("libx265", "mp4"), ("libx265", "mkv"), ("libsvtav1", "webm")],
)
def test_what_is_put_in_is_what_decoders_find(tmp_path, codec, suffix):
    generator = random.Random(5)
    most = 31 if codec == "libsvtav1" else 40  # more than fit into one message
    captions = {n: random_captions(generator, most) for n in range(24) if n % 3 != 1}
    is_reordered = encode(tmp_path / f"out.{suffix}", codec, captions)
    assert is_reordered or codec == "libsvtav1"
    assert decoded(tmp_path / f"out.{suffix}") == {n: captions.get(n) for n in range(24)}


def test_the_pictures_stay_the_same(tmp_path):
    for name, captions in (("with.mp4", {3: b"\xfc\x94\x2c"}), ("without.mp4", {})):
        encode(tmp_path / name, "libx264", captions)
    pictures = []
    for name in ("with.mp4", "without.mp4"):
        with av.open(str(tmp_path / name)) as container:
            pictures.append([frame.to_ndarray() for frame in container.decode(video=0)])
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True))


@pytest.mark.parametrize(("codec", "data"), [("h264", b"\x00\x00\x01\x67abc"), ("av1", b"\x12\x00"), ("av1", b"\x10")])
def test_what_is_no_picture_is_refused(codec, data):
    with pytest.raises(ValueError, match="without"):
        embed(codec, data, b"\xfc\x94\x2c")


def test_kinds_and_padding():
    assert list(triplets(b"\xfc\x80\x80\xf8\x94\x2c\xfc\x94\x2c\xfd\x15\x2c\xfe\x01\x02\xfa\x00\x00")) == [
        (0, b"\x94\x2c"),
        (1, b"\x15\x2c"),
        (2, b"\x01\x02"),
    ]
    assert kinds_of(b"\xfc\x94\x2c") == {"CEA-608 field 1"}
    assert kinds_of(b"\xfd\x94\x2c\xff\x01\x02") == {"CEA-608 field 2", "CEA-708"}
    assert kinds_of(b"\xfc\x80\x80\xf9\x80\x80") == set()


@pytest.mark.parametrize(
    "data", [b"", b"GA94", b"GA94\x03", b"GA94\x03\x00\xff\xfc\x94\x2c", b"GA93\x03\xc1\xff\xfc\x94\x2c"]
)
def test_a_packet_without_captions(data):
    assert scan_packet(data) is None


def test_who_carries_captions():
    wanted = {
        "libx264": True,
        "libx265": True,
        "libsvtav1": True,
        "libvpx-vp9": False,
        "ffv1": False,
        "prores_ks": False,
    }
    assert {name: carries_captions(name) for name in wanted} == wanted


def pairs_and_times(text):
    """(seconds, pair) as FFmpeg's own reader of the format sees them; it reckons a frame as 33 ms."""
    found = []
    with av.open(io.BytesIO(text.encode()), format="scc") as container:
        for packet in container.demux():
            data = bytes(packet)
            found += [(packet.pts * packet.time_base, data[n + 1 : n + 3]) for n in range(0, len(data), 3)]
    return found


def frame(*pairs, kind=0):
    return b"".join(bytes([0xFC | kind]) + pair for pair in pairs)


def test_scc_is_what_the_reader_of_ffmpeg_reads():
    times = [Fraction(n * 1001, 30000) for n in (0, 1, 2, 40, 1799, 1800, 17982, 107892)]
    pairs = [bytes([0x94, 0x20 + n]) for n in range(len(times))]
    text = scc_text((time, frame(pair)) for time, pair in zip(times, pairs, strict=True))
    assert text is not None
    assert text.startswith(
        "Scenarist_SCC V1.0\n\n00:00:00;00\t9420 9421 9422\n\n00:00:01;10\t9423\n\n00:00:59;29\t9424 9425\n"
    )
    assert text.endswith("00:10:00;00\t9426\n\n01:00:00;00\t9427\n")
    read = pairs_and_times(text)
    assert [pair for _, pair in read] == pairs
    # A packet is a line; dropped numbers keep within two frames of 33 ms of the clock.
    starts = {pair: time for time, pair in read}
    for number in (0, 3, 4, 6, 7):
        assert abs(starts[pairs[number]] - times[number]) < Fraction(1, 12)


def test_scc_of_slower_pictures_spreads_their_pairs():
    pairs = [bytes([0x94, 0x20 + n]) for n in range(60)]
    frames = [(Fraction(2), frame(*pairs)), (Fraction(5), frame(b"\x94\x2f") + frame(b"\x15\x2c", kind=1))]
    text = scc_text(frames)
    assert text is not None
    lines = text.splitlines()[2::2]
    assert [line.split("\t")[0] for line in lines] == ["00:00:02;00", "00:00:03;02", "00:00:05;00"]
    assert [pair for _, pair in pairs_and_times(text)] == [*pairs, b"\x94\x2f"]


def test_scc_of_nothing_for_it_is_none():
    assert scc_text([]) is None
    assert scc_text([(Fraction(0), frame(b"\x80\x80") + frame(b"\x94\x2c", kind=2))]) is None


def test_records_keep_captions(tmp_path):
    wanted = [(0, b"\xfc\x94\x2c"), (3003, b"\xfc\x94\x2c\xfd\x15\x2c")]
    write_record(tmp_path / "one", wanted)
    assert list(read_record(tmp_path / "one")) == wanted
    assert list(read_record(tmp_path / "none")) == []
