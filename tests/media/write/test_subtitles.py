"""Text subtitles in another container: the same words at the same times, as FFmpeg's own readers see them."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction

import av
import pytest

from vidsr.events import Notice
from vidsr.media.containers import CONTAINERS, PICTURES
from vidsr.media.write.subtitles import Cue, converted_codec, without_overlaps
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

CODECS = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "srt", ".webm": "webvtt"}
# Milliseconds from, to, text as SubRip has it.
PLAIN = [
    (40, 160, "One"),
    (160, 240, "<i>Zwei</i> Wörter\nund eine <b>Zeile</b>"),
    (320, 400, "日本 5 > 4 & 3 < 4"),
]


def upscale(source, target, **given):
    found = []
    codec = "libvpx-vp9" if target.suffix == ".webm" else "libx264"
    preset = "8" if codec == "libvpx-vp9" else "ultrafast"
    values = {"model": "nearest", "scale": 1, "device": "cpu", "codec": codec, "preset": preset} | given
    upscale_video(
        source,
        target,
        UpscaleOptions(**values),
        on_event=lambda event: found.append(event.text) if isinstance(event, Notice) else None,
    )
    return found


@pytest.fixture
def cues(ffmpeg_program):
    """(from, to, text) of a file's subtitle stream as the ffmpeg program turns it into SubRip."""

    def milliseconds(stamp):
        hours, minutes, seconds, rest = map(int, re.split("[:,]", stamp))
        return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest

    def read(path, number=0):
        arguments = ["-v", "error", "-copyts", "-i", str(path), "-map", f"0:s:{number}", "-f", "srt", "-"]
        text = subprocess.run([ffmpeg_program, *arguments], check=True, capture_output=True, encoding="utf-8").stdout
        found = []
        for block in re.split(r"\n\n(?=\d+\n)", text.strip()):
            _, times, *lines = block.split("\n")
            start, stop = times.split(" --> ")
            found.append((milliseconds(start), milliseconds(stop), "\n".join(lines).strip()))
        return found

    return read


def with_subtitles(make_clip, given):
    return make_clip("in.mkv", subtitles=[(start, stop - start, text) for start, stop, text in given])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_words_and_times(make_clip, look, tmp_path, cues, suffix):
    clip, target = with_subtitles(make_clip, PLAIN), tmp_path / f"out{suffix}"
    assert upscale(clip.path, target) == [
        f"stream 1 (subtitle, srt, ger) becomes {CODECS[suffix]}: text, times, bold and italics stay"
    ]
    assert cues(target) == PLAIN
    kind, codec, tags, _ = look.facts(target)["streams"][1]
    assert (kind, codec, tags["language"]) == ("subtitle", CODECS[suffix], "ger")
    assert look.video(target).count == 12


@pytest.mark.parametrize(("way", "back"), [(".mp4", ".mkv"), (".webm", ".mkv"), (".mov", ".webm"), (".webm", ".mp4")])
def test_there_and_back(make_clip, look, tmp_path, cues, way, back):
    clip = with_subtitles(make_clip, PLAIN)
    upscale(clip.path, tmp_path / f"way{way}")
    upscale(tmp_path / f"way{way}", tmp_path / f"back{back}")
    assert cues(tmp_path / f"back{back}") == PLAIN
    if (way, back) != (".webm", ".mkv"):  # Matroska holds WebVTT as it is
        assert look.facts(tmp_path / f"back{back}")["streams"][1][1] == CODECS[back]


def test_what_is_shown_together_shares_the_one_place_of_mp4(make_clip, tmp_path, cues):
    clip = with_subtitles(make_clip, [(0, 300, "long"), (100, 200, "<i>short</i>"), (200, 400, "last")])
    upscale(clip.path, tmp_path / "out.mp4")
    assert cues(tmp_path / "out.mp4") == [
        (0, 100, "long"),
        (100, 200, "long\n<i>short</i>"),
        (200, 300, "long\nlast"),
        (300, 400, "last"),
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_part_has_its_part_of_a_text(make_clip, look, tmp_path, cues, suffix):
    clip = with_subtitles(
        make_clip, [(0, 40, "before"), (40, 200, "over the edge"), (240, 320, "in"), (360, 480, "out")]
    )
    target = tmp_path / f"out{suffix}"
    upscale(clip.path, target, start=3, stop=10)  # 120 to 400 ms
    assert look.video(target).times[0] == 0
    assert cues(target) == [(0, 80, "over the edge"), (120, 200, "in"), (240, 280, "out")]


def test_a_text_without_end_lasts_until_the_next(make_clip, tmp_path, cues):
    clip = with_subtitles(make_clip, [(40, 40, "first"), (200, 300, "next")])
    upscale(clip.path, tmp_path / "out.mp4")
    assert cues(tmp_path / "out.mp4") == [(40, 200, "first"), (200, 300, "next")]


def test_a_title_and_a_disposition_stay(make_clip, look, tmp_path):
    clip = with_subtitles(make_clip, PLAIN)
    source = tmp_path / "tagged.mkv"
    with av.open(str(clip.path)) as given, av.open(str(source), "w") as out:
        copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in given.streams}
        copies[1].metadata.update({"language": "fre", "title": "Signs"})
        copies[1].disposition = av.stream.Disposition.forced
        for packet in given.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    upscale(source, tmp_path / "out.webm")
    _, _, tags, disposition = look.facts(tmp_path / "out.webm")["streams"][1]
    assert (tags["language"], tags["title"]) == ("fre", "Signs")
    assert disposition & av.stream.Disposition.forced


def test_what_says_more_than_text_is_not_converted():
    assert converted_codec("ass", CONTAINERS["mp4"]) is None
    assert converted_codec("hdmv_pgs_subtitle", CONTAINERS["mp4"]) is None
    assert converted_codec("subrip", PICTURES) is None
    assert converted_codec("subrip", CONTAINERS["mp4"]) == converted_codec("webvtt", CONTAINERS["mov"]) == "mov_text"
    assert converted_codec("mov_text", CONTAINERS["matroska"]) == "subrip"


@pytest.mark.parametrize(
    ("name", "suffix", "words"),
    [
        ("08_mkv_ass_subs.mkv", ".mp4", "mp4 cannot hold ass"),
        ("08_mkv_pgs_subs.mkv", ".mov", "mov cannot hold hdmv_pgs_subtitle"),
        ("08_mkv_vobsub.mkv", ".mov", "mov cannot hold dvd_subtitle"),
    ],
)
def test_styled_and_drawn_subtitles_are_named_as_lost(shared_media, tmp_path, name, suffix, words):
    notes = upscale(shared_media / name, tmp_path / f"out{suffix}", stop=1)
    assert [note for note in notes if note.startswith("left out") and words in note]


def test_of_a_real_file(shared_media, look, tmp_path, cues):
    upscale(shared_media / "08_mp4_movtext.mp4", tmp_path / "out.mkv")
    delay = look.video(tmp_path / "out.mkv").times[0] * 1000  # sound begins before zero, so all is moved
    wanted = [(start + delay, stop + delay, text) for start, stop, text in cues(shared_media / "08_mp4_movtext.mp4")]
    assert cues(tmp_path / "out.mkv") == wanted


def test_overlaps_by_hand():
    second = [Fraction(n) for n in range(9)]
    a, b, c = Cue(second[0], second[4], b"a"), Cue(second[1], second[2], b"b"), Cue(second[6], second[8], b"c")
    assert without_overlaps([a, b, c]) == [
        Cue(second[0], second[1], b"a"),
        Cue(second[1], second[2], b"a\\Nb"),
        Cue(second[2], second[4], b"a"),
        c,
    ]
    assert without_overlaps([]) == []
