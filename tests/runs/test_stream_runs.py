"""Time codes, chapters and data tracks of a run: kept, moved along with a part, or named as lost."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from vidsr.events import Notice
from vidsr.media.write.chapters import move_chapters
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")
NTSC = Fraction(30000, 1001)
SUFFIXES = (".mp4", ".mov", ".mkv")


def upscale(source, target, **given):
    found = []
    values = {"model": "nearest", "scale": 1, "device": "cpu", "preset": "ultrafast"} | given
    upscale_video(
        source,
        target,
        UpscaleOptions(**values),
        on_event=lambda event: found.append(event.text) if isinstance(event, Notice) else None,
    )
    return found


def timecodes(path):
    """Of the video stream, and of the time code track if there is one."""
    with av.open(str(path)) as container:
        found = [{k.lower(): v for k, v in s.metadata.items()}.get("timecode") for s in container.streams]
        return [timecode for timecode in found if timecode is not None]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("timecode", "rate", "start", "expected"),
    [
        ("01:02:03:04", Fraction(25), None, "01:02:03:04"),
        ("01:02:03:24", Fraction(25), 2, "01:02:04:01"),
        ("00:00:59;28", NTSC, None, "00:00:59;28"),
        ("00:00:59;28", NTSC, 3, "00:01:00;03"),
        ("00:00:59;58", 2 * NTSC, 3, "00:01:00;05"),
    ],
)
def test_time_codes(make_clip, tmp_path, suffix, timecode, rate, start, expected):
    clip = make_clip("in.mov", rate=rate, time_base=1 / rate, video_metadata={"timecode": timecode})
    assert set(timecodes(clip.path)) == {timecode}
    target = tmp_path / f"out{suffix}"
    assert upscale(clip.path, target, start=start) == []
    assert set(timecodes(target)) == {expected}
    assert len(timecodes(target)) == (1 if suffix == ".mkv" else 2)


def test_a_time_code_comes_back_from_matroska(make_clip, tmp_path):
    clip = make_clip("in.mkv", video_metadata={"timecode": "10:00:00:00"})
    upscale(clip.path, tmp_path / "out.mov", start=5)
    assert timecodes(tmp_path / "out.mov") == ["10:00:00:05"] * 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_variable_rate_and_dropped_numbers_do_not_fail_the_file(make_clip, tmp_path, suffix):
    stamps = [0, 1, 2, 5, 9, 10, 11, 30, 31, 40, 41, 43]
    clip = make_clip("in.mkv", pts=stamps, time_base=Fraction(1, 30), video_metadata={"timecode": "00:00:59;20"})
    assert upscale(clip.path, tmp_path / f"out{suffix}", start=7) == []
    assert set(timecodes(tmp_path / f"out{suffix}")) == {"00:01:00;22"}  # a second later


@pytest.mark.parametrize("rate", [Fraction(1, 4), Fraction(1000)], ids=str)
def test_rates_that_no_time_code_has_do_not_fail_the_file(make_clip, tmp_path, rate):
    clip = make_clip("in.mkv", rate=rate, time_base=1 / rate, video_metadata={"timecode": "10:00:00:00"})
    assert upscale(clip.path, tmp_path / "out.mov") == []
    assert set(timecodes(tmp_path / "out.mov")) == {"10:00:00:00"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_time_code_is_named_and_costs_nothing_else(make_clip, look, tmp_path, suffix):
    clip = make_clip("in.mkv", video_metadata={"timecode": "noon"})
    (note,) = upscale(clip.path, tmp_path / f"out{suffix}")
    assert "time code 'noon'" in note
    assert look.video(tmp_path / f"out{suffix}").count == 12
    assert timecodes(tmp_path / f"out{suffix}") == []


CHAPTERS = [(0, 200, "One"), (200, 300, "Two"), (300, 480, "Three")]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("given", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ({}, [(0, 200, "One"), (200, 300, "Two"), (300, 480, "Three")]),
        ({"start": 6}, [(0, 60, "Two"), (60, 240, "Three")]),
        ({"stop": 6}, [(0, 200, "One"), (200, 240, "Two")]),
        ({"start": 3, "stop": 7}, [(0, 80, "One"), (80, 160, "Two")]),
        ({"start": 8, "stop": 10}, [(0, 80, "Three")]),
    ],
    ids=str,
)
def test_chapters(make_clip, look, tmp_path, given, suffix, cut, expected):
    clip = make_clip(f"in{given}", chapters=CHAPTERS)
    assert upscale(clip.path, tmp_path / f"out{suffix}", **cut) == []
    found = look.facts(tmp_path / f"out{suffix}")["chapters"]
    assert [title for _, _, title in found] == [title for _, _, title in expected]
    half = Fraction(1, 2)
    assert all(abs(a * 1000 - b) <= half for (a, _, _), (b, _, _) in zip(found, expected, strict=True))
    # The last end is also the video's in MP4.
    assert all(abs(a * 1000 - b) <= half for (_, a, _), (_, b, _) in zip(found[:-1], expected[:-1], strict=True))


def test_chapters_keep_to_half_a_tick():
    chapter = {"id": 1, "start": 1001, "end": 5000, "time_base": Fraction(1, 1000), "metadata": {"title": "x"}}
    (moved,) = move_chapters([chapter], Fraction(1, 3), Fraction(4), Fraction(1, 3))
    assert moved == {**chapter, "start": 668, "end": 3667}
    assert move_chapters([chapter], Fraction(5), None, Fraction(5)) == []
    assert move_chapters([chapter], None, Fraction(1), Fraction(0)) == []


def data_packets(path):
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == "data" and s.name == "bin_data"]
        packets = [packet for packet in container.demux(streams) if packet.size]
        return [(bytes(p), p.pts * p.time_base, p.duration * p.time_base) for p in packets]


def test_telemetry_and_time_code_of_an_action_camera(shared_media, tmp_path):
    source = shared_media / "19_gopro_karma_tmcd.mp4"
    notes = upscale(source, tmp_path / "out.mp4", stop=31)
    assert [note for note in notes if note.startswith("left out")] == [
        "left out: stream 4 (data, unknown, eng): mp4 as FFmpeg writes it cannot hold this kind of data"
    ]
    before = [packet for packet in data_packets(source) if packet[1] < Fraction(31031, 30000)]
    assert len(before) == 2
    assert data_packets(tmp_path / "out.mp4") == before
    assert set(timecodes(tmp_path / "out.mp4")) == {"19:26:48:04"}
    with av.open(str(tmp_path / "out.mp4")) as container:
        (track,) = [s for s in container.streams if s.type == "data" and s.name == "bin_data"]
        assert track.metadata["handler_name"] == "\tGoPro MET"


def test_telemetry_of_a_part_keeps_its_time(shared_media, tmp_path):
    source = shared_media / "19_gopro_karma_tmcd.mp4"
    upscale(source, tmp_path / "out.mp4", start=45, stop=65)
    start, stop = Fraction(45045, 30000), Fraction(65065, 30000)
    inside = [(data, pts - start, duration) for data, pts, duration in data_packets(source) if start <= pts < stop]
    assert [data for data, _, _ in inside] == [data for data, _, _ in data_packets(tmp_path / "out.mp4")] != []
    times = [[time for _, time, _ in packets] for packets in (inside, data_packets(tmp_path / "out.mp4"))]
    assert all(abs(a - b) <= Fraction(1, 1000) for a, b in zip(*times, strict=True))
    assert set(timecodes(tmp_path / "out.mp4")) == {"19:26:49:19"}


def test_drawn_subtitles_that_mp4_holds(shared_media, look, tmp_path):
    source = shared_media / "08_mkv_vobsub.mkv"
    assert upscale(source, tmp_path / "out.mp4", stop=1) == []
    assert look.packets(tmp_path / "out.mp4", "subtitle") == look.packets(source, "subtitle")


def test_a_drawn_subtitle_that_is_shown_as_a_part_begins(shared_media, look, tmp_path):
    source = shared_media / "08_mkv_pgs_subs.mkv"  # shown from 0 to 1.24 s, as two packets without duration
    (before,) = look.packets(source, "subtitle")
    upscale(source, tmp_path / "out.mkv", start=20, stop=21)
    (after,) = look.packets(tmp_path / "out.mkv", "subtitle")
    assert [digest for digest, _ in after] == [before[0][0]]
    assert after[0][1] - look.video(tmp_path / "out.mkv").times[0] < Fraction(2, 1000)


@pytest.mark.parametrize(
    ("name", "suffix", "num_lines"),
    [
        ("03_hlg_dovi84_iphone_rot-90.mov", ".mov", 3),
        ("09_ts_scte35_data.ts", ".mp4", 1),
        ("09_ts_scte35_data.ts", ".mkv", 1),
        ("19_gopro_karma_tmcd.mp4", ".mkv", 2),
        ("08_mp4_chapters_texttrack.mp4", ".mp4", 0),
        ("08_mp4_chapters_texttrack.mp4", ".mkv", 0),
        ("14_prores422hq_10bit_tmcd.mov", ".mkv", 0),
    ],
)
def test_a_line_for_each_data_track_that_is_lost_and_none_for_others(shared_media, tmp_path, name, suffix, num_lines):
    notes = upscale(shared_media / name, tmp_path / f"out{suffix}", stop=2, codec="libx265")
    lines = [note for note in notes if "(data, " in note]
    assert len(lines) == num_lines
    assert all(note.startswith("left out: stream ") for note in lines)


def test_chapters_of_a_real_file(shared_media, look, tmp_path):
    source = shared_media / "08_mp4_chapters_texttrack.mp4"
    upscale(source, tmp_path / "out.mp4", stop=25)
    before, after = (look.facts(path)["chapters"] for path in (source, tmp_path / "out.mp4"))
    assert [(a, c) for a, _, c in after] == [(a, c) for a, _, c in before]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [s.type for s in container.streams] == ["video", "audio", "data"]


@pytest.mark.parametrize("cut", [{}, {"start": 10}], ids=["whole", "part"])
def test_chapters_stay_with_their_pictures_in_matroska(make_clip, look, tmp_path, cut):
    clip = make_clip("in.mp4", audio="aac", frames=24, chapters=[(0, 480, "One"), (480, 960, "Two")])
    target = tmp_path / "out.mkv"
    upscale(clip.path, target, **cut)
    first = look.video(target).times[0]
    assert first > 0, "the sound should begin before the picture here"
    chapters = look.facts(target)["chapters"]
    assert abs(chapters[1][0] - first - Fraction(480, 1000) + Fraction(cut.get("start", 0), 25)) <= Fraction(1, 1000)
