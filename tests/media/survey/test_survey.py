"""The second opinion on a file, held against what a third reader wrote down, and against what was put in."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from vidsr.errors import SourceError, SourceMissingError
from vidsr.media.survey.decoding import decode
from vidsr.media.survey.survey import survey

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media"
INDEX = json.loads((MEDIA / "INDEX.json").read_text("utf-8")) if (MEDIA / "INDEX.json").is_file() else []
READABLE = [entry for entry in INDEX if (entry.get("video0") or {}).get("frames_decoded")]
DAMAGED = {e["file"] for e in READABLE if e["video0"]["decode_error"] and "06_" not in e["file"]} | {
    "12_invalid_nalu.mp4"
}

pytestmark = pytest.mark.skipif(not INDEX, reason="no folder shared/media beside the checkout")


@pytest.mark.parametrize("entry", READABLE, ids=[entry["file"] for entry in READABLE])
def test_packets_alone_tell_frames_and_times(entry):
    found = survey(MEDIA / entry["file"])
    stated = entry["video0"]
    lost = 1 if entry["file"] in DAMAGED else 0  # a packet that does not decode
    assert found.picture.num_packets == stated["frames_decoded"] + lost
    if found.picture.pts and not lost and None not in stated["pts_time"]:
        times = [float(pts * found.picture.time_base) for pts in found.picture.pts]
        assert times == pytest.approx([float(time) for time in stated["pts_time"]], abs=1e-6)
    main = found.picture.index
    packets = {s["index"]: int(s.get("nb_read_packets", 0)) for s in entry["streams"] if s["index"] != main}
    audio = {s["index"] for s in entry["streams"] if s["codec_type"] == "audio"}
    assert {t.index: len(t.packets) for t in found.tracks if t.kind == "audio"} == {n: packets[n] for n in audio}
    assert len(found.chapters) == len(entry["chapters"])


def test_decoding_counts_what_is_damaged():
    found = decode(MEDIA / "12_bitflip.mp4")
    assert found.num_frames == 63 and found.num_complaints and found.num_corrupt
    assert decode(MEDIA / "12_single_frame.mp4").complaints == ()


def test_captions_and_thumbnails():
    found = decode(MEDIA / "15_cea608_h264_bbb.ts", [0, 57, 58])
    assert found.has_captions and found.thumbnails.keys() == {0, 57}
    assert {len(data) for data in found.thumbnails.values()} == {16 * 16 * 3}


def test_a_rich_file():
    found = survey(MEDIA / "08_mkv_rich.mkv")
    assert [track.kind for track in found.tracks] == [*["audio"] * 3, *["subtitle"] * 3, "attachment", "cover"]
    assert [track.language for track in found.tracks[:3]] == ["eng", "fre", "jpn"]
    assert found.tracks[4].flags == {"forced"} and found.tracks[6].name == "DejaVuSansMono.ttf"
    assert [chapter.title for chapter in found.chapters][:1] == ["Intro"]
    assert survey(MEDIA / "19_gopro_karma_tmcd.mp4").timecode == "19:26:48:04"


def test_what_is_no_video_is_an_error(tmp_path):
    for name in ("12_audio_only.mp4", "12_text_file.mp4", "12_zero_frames_init_only.mp4", "12_fuzz_a4bbe8e0.mp4"):
        with pytest.raises(SourceError, match=name):
            survey(MEDIA / name)
    with pytest.raises(SourceMissingError):
        survey(tmp_path / "missing.%04d.png")
    with pytest.raises(SourceError, match="folder"):
        survey(tmp_path)


def test_what_was_put_in_is_found(make_clip):
    clip = make_clip("clip.mkv", pts=[0, 40, 95, 120], time_base=Fraction(1, 1000), sar=Fraction(4, 3), audio="flac")
    found = survey(clip.path)
    assert list(found.picture.pts) == clip.pts and found.picture.sample_aspect_ratio == Fraction(4, 3)
    assert found.picture.full_range is None and found.picture.matrix == 2
    assert [track.codec for track in found.tracks] == ["flac"]
