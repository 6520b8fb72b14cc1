"""The judge: a good pair passes, and every way in which an output can be less than its source is found and named."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction

import av
import pytest

from vidsr.errors import SourceError, SourceMissingError, UsageError
from vidsr.judge.verify import verify
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

BT709_LIMITED = (1, 1, 1, 1)
BT601_LIMITED = (6, 1, 6, 6)
FRAMES = 24
PTS = [n * 40 for n in range(FRAMES)]
SAME = {
    "size": (96, 64),
    "pts": PTS,
    "time_base": Fraction(1, 1000),
    "tags": BT709_LIMITED,
    "sar": Fraction(4, 3),
    "audio": "flac",
    "metadata": {"title": "A title", "ARTIST": "Someone"},
    "audio_metadata": {"language": "fre", "title": "VF"},
    "chapters": [(0, 400, "One"), (400, 960, "Two")],
    "attachment": b"no font at all",
    "subtitles": [(100, 300, "first"), (500, 300, "second")],
    "options": {"crf": "18", "preset": "ultrafast"},
}


@pytest.fixture
def source(make_clip):
    return make_clip("source.mkv", **SAME).path


def found(verdict, outcome):
    return {check.name.split(" (")[0]: str(check) for check in verdict.checks if check.outcome == outcome}


def line(verdict, name):
    return next(check for check in verdict.checks if check.name == name)


@pytest.mark.parametrize("quick", [True, False])
def test_a_good_pair_passes(source, make_clip, quick):
    verdict = verify(source, make_clip("output.mkv", **SAME).path, quick=quick)
    assert verdict.passes(strict=True), [str(check) for check in verdict.checks if check.outcome != "ok"]
    names = {check.name.split(" (")[0] for check in verdict.checks}
    assert names >= {
        *("frames", "times", "sound offset", "stream 1", "stream 2", "stream 3", "chapters", "tags"),
        *("colour", "shape", "rotation", "pixel format", "picture"),
    }
    assert ("decoding" in names) is not quick
    assert (verdict.num_frames, verdict.time_error_seconds, verdict.sound_error_seconds) == (FRAMES, 0, 0)
    assert str(verdict).startswith("24 frames, 3 streams, times, ")


WRONG = {
    "a frame dropped": ({"pts": PTS[:7] + PTS[8:]}, "frames", "missing 7 (first at 0.280 s)"),
    "the last frame dropped": ({"pts": PTS[:-1]}, "frames", "missing 23"),
    "the first frame dropped": ({"pts": PTS[1:]}, "frames", "23 frames, missing 0"),
    "a frame twice": ({"pts": sorted([*PTS, 300])}, "frames", "too many 8"),
    "a frame late": ({"pts": [*PTS[:9], 363, *PTS[10:]]}, "times", "error 3 ms (frame 9)"),
    "a slower clock": ({"pts": [n * 42 for n in range(FRAMES)]}, "times", "23 ms"),
    "late sound": ({"audio_start": Fraction(1, 10)}, "sound offset", "+100 ms"),
    "a little late sound": ({"audio_start": Fraction(2, 1000)}, "sound offset", "+2 ms"),
    "another matrix": ({"tags": BT601_LIMITED}, "colour", "matrix smpte170m instead of bt709"),
    "no colour tags": ({"tags": (2, 0, 2, 2)}, "colour", "matrix not stated"),
    "another range": ({"tags": (1, 2, 1, 1)}, "colour", "full range instead of limited"),
    "another transfer": ({"tags": (1, 1, 1, 16)}, "colour", "transfer 16 instead of 1"),
    "square pixels": ({"sar": Fraction(1)}, "shape", "1.5000:1; expected: 2.0000:1"),
    "another picture": ({"noise": True}, "picture", "differs by"),
    "another language": ({"audio_metadata": {"language": "eng"}}, "stream 1", "language eng instead of fre"),
    "other chapters": ({"chapters": [(0, 400, "One"), (400, 960, "Three")]}, "chapters", "One, Three"),
    "moved chapters": ({"chapters": [(0, 500, "One"), (500, 960, "Two")]}, "chapters", "0.100 s off"),
    "another subtitle": ({"subtitles": [(100, 300, "first"), (500, 300, "zweiter")]}, "stream 2", "not the same"),
    "a moved subtitle": ({"subtitles": [(120, 300, "first"), (520, 300, "second")]}, "stream 2", "+20 ms"),
}


@pytest.mark.parametrize("damage", WRONG)
def test_what_is_wrong_is_found_and_named(source, make_clip, damage):
    how, name, words = WRONG[damage]
    verdict = verify(source, make_clip("output.mkv", **(SAME | how)).path, quick=name != "times")
    assert not verdict.passes()
    assert words in found(verdict, "wrong")[name]


LOST = {
    "no sound": ({"audio": None}, "stream 1", "not there; expected: "),
    "no subtitles": ({"subtitles": ()}, "stream 2", "not there; expected: 2 packets"),
    "no attachment": ({"attachment": None}, "stream 3", "not there; expected: font.ttf"),
    "no chapters": ({"chapters": ()}, "chapters", "none; expected: 2 chapters"),
    "a tag less": ({"metadata": {"title": "A title"}}, "tags", "1 of 2 kept, without ARTIST"),
    "another title": ({"metadata": {"title": "B", "ARTIST": "Someone"}}, "tags", "without title"),
    "no language": ({"audio_metadata": {"title": "VF"}}, "stream 1", "language not stated instead of fre"),
    "no name": ({"audio_metadata": {"language": "fre"}}, "stream 1", "without title"),
    "sound encoded anew": ({"audio": "libopus"}, "stream 1", "encoded anew as opus"),
}


@pytest.mark.parametrize("damage", LOST)
def test_what_is_lost_is_found_and_fails_only_if_strict(source, make_clip, damage):
    how, name, words = LOST[damage]
    verdict = verify(source, make_clip("output.mkv", **(SAME | how)).path, quick=True)
    assert words in found(verdict, "lost")[name]
    assert verdict.passes() and not verdict.passes(strict=True)
    assert "not all kept: " in str(verdict)


DEEP = {"pix_fmt": "yuv444p10le", "codec": "ffv1"}


@pytest.mark.parametrize(
    ("pix_fmt", "words"),
    [("yuv444p", "8 instead of 10 bits"), ("yuv420p10le", "fewer chroma samples"), ("yuv444p12le", None)],
)
def test_depth_and_chroma(make_clip, pix_fmt, words):
    source = make_clip("source.mkv", **DEEP).path
    check = line(
        verify(source, make_clip("output.mkv", **(DEEP | {"pix_fmt": pix_fmt})).path, quick=True), "pixel format"
    )
    assert check.outcome == ("lost" if words else "ok")
    assert words is None or words in check.found


def test_gray_is_colour_lost_and_not_another_picture(make_clip):
    source = make_clip("source.mkv", codec="ffv1", pix_fmt="yuv444p", tags=(1, 2, 1, 1)).path
    gray = make_clip("gray.mkv", codec="ffv1", pix_fmt="gray", tags=(2, 2, 1, 1)).path
    verdict = verify(source, gray)
    assert "no colour" in line(verdict, "pixel format").found
    assert line(verdict, "picture").outcome == "ok" and verdict.passes()


def test_rotation(make_clip):
    source = make_clip("source.mp4", rotation=90).path
    assert verify(source, make_clip("kept.mp4", rotation=90).path, quick=True).passes(strict=True)
    for rotation in (0, 180, -90):
        wrong = found(verify(source, make_clip("output.mp4", rotation=rotation).path, quick=True), "wrong")
        assert "rotation" in wrong or "shape" in wrong, rotation


def rewrite(source, target, change, options=None):
    """Copy video and sound packet by packet, each as `change` makes it (None: left out)."""
    with av.open(str(source)) as original, av.open(str(target), "w", options=options or {}) as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in original.streams}
        for number, packet in enumerate(original.demux()):
            if packet.size:
                packet.stream = streams[packet.stream.index]
                packet = change(number, packet)
                if packet is not None:
                    out.mux_one(packet)
    return target


def test_a_packet_of_sound_less(make_clip, tmp_path):
    how = {"frames": 20, "tags": BT709_LIMITED, "audio": "flac", "pix_fmt": "yuv420p"}
    source = make_clip("source.mkv", **how).path
    same = rewrite(source, tmp_path / "same.mkv", lambda number, packet: packet)
    assert verify(source, same, quick=True).passes(strict=True)
    sounds = []

    def drop(number, packet):
        if packet.stream.type == "audio":
            sounds.append(number)
            return None if len(sounds) == 3 else packet
        return packet

    wrong = found(verify(source, rewrite(source, tmp_path / "less.mkv", drop), quick=True), "wrong")
    assert "the first other one is 2" in wrong["stream 1"]
    sounds.clear()

    def drop_first(number, packet):
        if packet.stream.type == "audio":
            sounds.append(number)
            return None if len(sounds) == 1 else packet
        return packet

    wrong = found(verify(source, rewrite(source, tmp_path / "late.mkv", drop_first), quick=True), "wrong")
    assert "1 at the beginning not there" in wrong["stream 1"] and "sound offset" not in wrong

    def shift_by_one(number, packet):
        if packet.stream.type == "audio":
            packet.pts = packet.dts = packet.pts + round(Fraction(4608, 48000) / packet.time_base)
        return packet

    wrong = found(verify(source, rewrite(source, tmp_path / "moved.mkv", shift_by_one), quick=True), "wrong")
    assert wrong.keys() == {"sound offset", "stream 1"} and "+96 ms" in wrong["sound offset"]


def test_all_streams_may_move_together(make_clip, tmp_path):
    source = make_clip("source.mkv", frames=12, tags=BT709_LIMITED, audio="flac", options={"bf": "0"}).path

    def later(number, packet):
        packet.pts = packet.dts = packet.pts + 700
        return packet

    verdict = verify(source, rewrite(source, tmp_path / "later.mkv", later), quick=True)
    assert verdict.passes(strict=True)
    assert "all moved by +0.7 s" in line(verdict, "times").found


def test_a_file_that_is_cut_off(source, make_clip):
    output = make_clip("output.mkv", **(SAME | {"noise": True})).path
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    wrong = found(verify(source, output, quick=True), "wrong")
    assert "missing" in wrong["frames"] and "stream 1" in wrong


def test_flipped_bytes_that_the_decoder_only_logs(make_clip):
    how = {"codec": "ffv1", "noise": True, "options": {"slicecrc": "1", "g": "1"}, "tags": BT709_LIMITED}
    source, output = make_clip("source.mkv", **how).path, make_clip("output.mkv", **how).path
    assert verify(source, output).passes(strict=True)
    data = bytearray(output.read_bytes())
    data[len(data) // 2] ^= 0xFF
    output.write_bytes(data)
    wrong = found(verify(source, output), "wrong")
    assert "CRC mismatch" in wrong["decoding"]
    # The other way round it is the source that is damaged, and nothing that the output could help.
    assert "decoding" not in found(verify(output, source), "wrong")


@pytest.mark.usefixtures("one_thread")
def test_frames_that_a_damaged_source_never_yields_are_not_missing(shared_media, make_clip, tmp_path):
    source = shared_media / "12_invalid_nalu.mp4"
    output = tmp_path / "output.mkv"
    upscale_video(source, output, UpscaleOptions(scale=1, model="nearest", preset="ultrafast", device="cpu"))
    verdict = verify(source, output, quick=True)
    assert verdict.passes(), str(verdict)
    assert line(verdict, "frames").found == "29 frames"


def test_a_part(make_clip, tmp_path):
    # A keyframe every frame, so that the part decodes wherever it begins.
    source = make_clip("source.mkv", frames=50, audio="flac", tags=BT709_LIMITED, options={"g": "1"}).path
    part = tmp_path / "part.mkv"

    def cut(number, packet):
        time, length = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
        inside = time < Fraction(3, 2) and (
            time >= Fraction(1, 2) if packet.stream.type == "video" else time + length > Fraction(1, 2)
        )
        if not inside:
            return None
        packet.pts = packet.dts = packet.pts - 500
        return packet

    rewrite(source, part, cut, {"avoid_negative_ts": "disabled"})
    by_time = verify(source, part, start=Fraction(1, 2), stop=Fraction(3, 2))
    assert by_time.passes(), str(by_time)
    assert line(by_time, "frames").found == "25 frames"
    by_frame = verify(source, part, start=12, stop=37, quick=True)
    assert found(by_frame, "wrong").keys() == {"sound offset", "stream 1"}  # it begins with frame 13
    assert verify(source, part, start=13, stop=38, quick=True).passes()
    assert not verify(source, part, quick=True).passes()


def test_a_part_of_sound_whose_packets_are_all_the_same(shared_media, tmp_path):
    source, target = shared_media / "09_mp4_editlist_video_starts_at_1s.mp4", tmp_path / "out.mkv"
    how = {"model": "nearest", "preset": "ultrafast", "device": "cpu", "scale": 1}
    upscale_video(source, target, UpscaleOptions(**how, start=Fraction(2), stop=Fraction(5, 2)))
    assert verify(source, target, quick=True, start=Fraction(2), stop=Fraction(5, 2)).passes()


def test_other_frames_by_intent(make_clip):
    source = make_clip("source.mkv", **SAME).path
    doubled = SAME | {"pts": [n * 20 for n in range(2 * FRAMES)]}
    output = make_clip("output.mkv", **doubled).path
    for quick in (True, False):
        verdict = verify(source, output, quick=quick, frame_ratio=Fraction(2))
        # Of sound and chapters there are as many as the picture is long.
        assert {check.name for check in verdict.of("wrong")} <= {"stream 1 (audio, flac, fre)"}, str(verdict)
        assert line(verdict, "frames").found == "48 frames"
    assert "frames" in found(verify(source, output, quick=True), "wrong")
    assert "frames" in found(verify(source, source, quick=True, frame_ratio=Fraction(2)), "wrong")
    late = SAME | {"audio_start": Fraction(1, 5)}
    assert "sound offset" in found(
        verify(source, make_clip("late.mkv", **late).path, quick=True, frame_ratio=Fraction(23, 24)), "wrong"
    )


def test_what_cannot_be_read_is_an_error_of_its_own(source, tmp_path):
    with pytest.raises(SourceMissingError, match="no such file"):
        verify(source, tmp_path / "missing.mkv")
    empty = tmp_path / "empty.mkv"
    empty.write_bytes(b"")
    with pytest.raises(SourceError, match="not a readable media file"):
        verify(source, empty)
    with pytest.raises(UsageError, match="no frame lies between"):
        verify(source, source, start=100)


def test_text_subtitles_may_change_their_format(tmp_path, shared_media, ffmpeg_program):
    source = shared_media / "08_mkv_srt_eng.mkv"
    other = tmp_path / "out.mp4"
    arguments = ["-c", "copy", "-c:s", "mov_text", "-map", "0", str(other)]
    command = [ffmpeg_program, "-v", "error", "-i", str(source), *arguments]
    subprocess.run(command, check=True, timeout=60)
    verdict = verify(source, other, quick=True)
    assert "texts, as mov_text" in next(c for c in verdict.checks if "subtitle" in c.name).found
    assert verdict.passes()


def test_another_tool_at_a_constant_rate_without_tags(shared_media, tmp_path, ffmpeg_program):
    """As most programs do it: variable rate made constant, colours untagged, subtitles and data gone."""
    source, output = shared_media / "02_vfr_select_pattern.mkv", tmp_path / "out.mp4"
    arguments = ["-r", "24", "-an", "-c:v", "libx264", "-preset", "ultrafast", "-colorspace", "unspecified"]
    subprocess.run([ffmpeg_program, "-v", "error", "-i", str(source), *arguments, str(output)], check=True, timeout=60)
    verdict = verify(source, output, quick=True)
    assert "frames" in found(verdict, "wrong")
    assert "stream 1" in found(verdict, "lost")


def test_the_same_file_is_itself(shared_media, tmp_path):
    for name in (
        "02_rot180_3frames.mov",
        "03_hlg_dovi84_iphone_rot-90.mov",
        "09_ts_scte35_data.ts",
        "11_gif_transparent_tiny.gif",
    ):
        copy = shutil.copy(shared_media / name, tmp_path)
        verdict = verify(shared_media / name, copy)
        assert verdict.passes(strict=True), f"{name}: {verdict}"


def test_what_neither_says_is_right_where_a_player_guesses_the_same(make_clip):
    source = make_clip("source.mp4", frames=1).path  # 64x48: BT.601
    small = verify(source, make_clip("small.mp4", frames=1, size=(96, 72)).path, quick=True)
    assert line(small, "colour").found == "matrix unspecified, as before, range unspecified, as before"
    large = verify(source, make_clip("large.mp4", frames=1, size=(800, 600)).path, quick=True)
    assert line(large, "colour").found == "matrix not stated"


def test_a_converted_matrix_is_told_from_a_false_one(shared_media, tmp_path, ffmpeg_program):
    source = shared_media / "04_fullrange_bt601_240p.mp4"
    how = {"model": "nearest", "preset": "ultrafast", "device": "cpu", "scale": 1, "stop": 3, "matrix": "bt709"}
    upscale_video(source, tmp_path / "converted.mkv", UpscaleOptions(**how))
    verdict = verify(source, tmp_path / "converted.mkv", stop=3)
    assert "matrix bt709" in line(verdict, "colour").found and verdict.passes()
    retag = ["-frames:v", "3", "-c", "copy", "-bsf:v", "h264_metadata=matrix_coefficients=1"]
    arguments = ["-v", "error", "-i", str(source), *retag, str(tmp_path / "false.mkv")]
    subprocess.run([ffmpeg_program, *arguments], check=True, timeout=60)
    check = line(verify(source, tmp_path / "false.mkv", quick=True), "colour")
    assert check.found == "matrix bt709 instead of smpte170m"
