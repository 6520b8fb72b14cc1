"""Closed captions of real files: the same bytes at the same frames of the target, or a file beside it."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from vidsr.errors import TargetExistsError
from vidsr.events import Notice
from vidsr.media.captions import embed
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

FILES = ("15_cea608_h264_bbb.ts", "15_cea608_fragmented.mp4", "15_hdr10_h264_cea608.ts")
QUICK = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "12"}

pytestmark = pytest.mark.usefixtures("one_thread")


def upscale(source, target, codec, *, overwrite=False, **given):
    found = []
    values = {"model": "nearest", "scale": 1, "device": "cpu", "codec": codec, "preset": QUICK.get(codec)}
    upscale_video(
        source,
        target,
        UpscaleOptions(**values | given),
        on_event=lambda event: found.append(event.text) if isinstance(event, Notice) else None,
        overwrite=overwrite,
    )
    return [text for text in found if "caption" in text]


def captions(path):
    """(seconds after the first frame, bytes) of each frame with captions, as plain PyAV reads them."""
    found, first = [], None
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            time = frame.pts * frame.time_base
            first = time if first is None else first
            data = frame.side_data.get("A53_CC")
            if data is not None:
                found.append((time - first, bytes(data)))
    return found


def agree(after, before):
    assert [data for _, data in after] == [data for _, data in before]
    assert all(abs(a - b) <= Fraction(1, 1000) for (a, _), (b, _) in zip(after, before, strict=True))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mkv"), ("libsvtav1", ".mp4")])
def test_the_same_bytes_at_the_same_frames(shared_media, tmp_path, name, codec, suffix):
    source, target = shared_media / name, tmp_path / f"out{suffix}"
    assert upscale(source, target, codec) == []
    before = captions(source)
    assert len(before) >= 2
    agree(captions(target), before)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_part_has_the_captions_of_its_frames(shared_media, tmp_path):
    source = shared_media / FILES[0]
    with av.open(str(source)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    start, stop = times[12] - times[0], times[40] - times[0]
    upscale(source, tmp_path / "out.mp4", "libx264", start=12, stop=40)
    before = captions(source)
    inside = [(time - start, data) for time, data in before if start <= time < stop]
    assert 0 < len(inside) < len(before)
    agree(captions(tmp_path / "out.mp4"), inside)


def scc_pairs(path):
    with av.open(str(path), format="scc") as container:
        return [(p.pts * p.time_base, bytes(p)[n + 1 : n + 3]) for p in container.demux() for n in range(0, p.size, 3)]


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", ".mkv"), ("prores_ks", ".mov"), ("libvpx-vp9", ".webm")])
def test_a_file_beside_the_target(shared_media, tmp_path, codec, suffix):
    source = shared_media / FILES[1]
    target = tmp_path / f"out{suffix}"
    given = {"preset": "8"} if codec == "libvpx-vp9" else {}
    (note,) = upscale(source, target, codec, **given)
    assert "out.scc" in note and "left out" not in note
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, "out.scc"])
    before = captions(source)
    wanted = [(time, data[n + 1 : n + 3]) for time, data in before for n in range(0, len(data), 3)]
    read = scc_pairs(tmp_path / "out.scc")
    assert [pair for _, pair in read] == [pair for _, pair in wanted]
    starts = {time for time, _ in wanted}
    assert all(any(abs(time - start) < Fraction(1, 20) for time, _ in read) for start in starts)
    assert captions(target) == []


def test_a_caption_file_is_not_replaced_unasked(shared_media, tmp_path):
    source, scc = shared_media / FILES[1], tmp_path / "out.scc"
    scc.write_text("mine")
    with pytest.raises(TargetExistsError, match="captions would go there"):
        upscale(source, tmp_path / "out.mkv", "ffv1")
    assert [path.name for path in tmp_path.iterdir()] == ["out.scc"] and scc.read_text() == "mine"
    upscale(source, tmp_path / "out.mkv", "ffv1", overwrite=True, stop=2)
    assert scc.read_text().startswith("Scenarist_SCC V1.0")


def test_no_file_for_a_part_without_captions(shared_media, tmp_path):
    notes = upscale(shared_media / FILES[0], tmp_path / "out.mkv", "ffv1", start=2, stop=4)
    assert "no out.scc is written" in notes[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def with_captions(clip, path, captions):
    """The clip with captions put into its packets, by frame number."""
    with av.open(str(clip.path), format="h264") as given, av.open(str(path), "w", format="h264") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in given.demux() if p.size):
            data = bytes(packet)
            twin = av.Packet(embed("h264", data, captions[number]) if number in captions else data)
            twin.stream, twin.pts, twin.dts = stream, number, number
            out.mux(twin)
    return path


def test_captions_that_begin_later_are_known_before_the_work(make_clip, tmp_path):
    clip = make_clip("plain.h264", options={"bf": "0", "preset": "ultrafast"})
    both = b"\xfc\x94\x2c\xfd\x15\x2c\xff\x02\x21"
    source = with_captions(clip, tmp_path / "in.h264", {9: both, 10: both})
    folder = tmp_path / "out"
    folder.mkdir()
    notes = upscale(source, folder / "out.mkv", "ffv1")
    assert any("go into out.scc" in note for note in notes)
    assert any(note.startswith("left out") and "field 2" in note and "CEA-708" in note for note in notes)
    assert [pair for _, pair in scc_pairs(folder / "out.scc")] == [b"\x94\x2c"] * 2
    assert upscale(source, folder / "again.mp4", "libx264") == []
    assert [data for _, data in captions(folder / "again.mp4")] == [both, both]


@pytest.mark.parametrize("is_there", [False, True])
def test_captions_that_only_the_decoder_finds(make_clip, tmp_path, monkeypatch, is_there):
    clip = make_clip("plain.h264", options={"bf": "0", "preset": "ultrafast"})
    source = with_captions(clip, tmp_path / "in.h264", {9: b"\xfc\x94\x2c"})
    monkeypatch.setattr("vidsr.media.read.probe.scan_packet", lambda data: None)
    scc = tmp_path / "out.scc"
    if is_there:
        scc.write_text("mine")
    (note,) = upscale(source, tmp_path / "out.mkv", "ffv1")
    assert "found in the pictures" in note and note.startswith("left out") is is_there
    assert (scc.read_text() == "mine") is is_there
