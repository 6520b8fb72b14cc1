"""Tags, languages and dispositions: what a container keeps is kept, what it cannot keep has a line."""

from __future__ import annotations

import av
import pytest

from vidsr.events import Notice
from vidsr.media.containers import CONTAINERS
from vidsr.media.read.probe import probe
from vidsr.media.write.copies import plan_copies
from vidsr.media.write.tags import Labels, lost_tags, plan_tags
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")
Flag = av.stream.Disposition


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


def labels(disposition=0, **tags):
    return Labels(tags=tags, disposition=int(disposition))


@pytest.mark.parametrize(
    ("container", "language", "written", "lost"),
    [
        ("mp4", "swe", "swe", []),
        ("mp4", "en-US", "en-US", ["language en-US"]),
        ("mov", "eng", "eng", []),
        ("mov", "fre", "fra", []),
        ("mov", "deu", "ger", []),
        ("mov", "swe", "swe", ["language swe"]),
        ("mov", "und", "und", []),
        ("matroska", "en-US", "en-US", []),
        ("webm", "fre", "fre", []),
    ],
)
def test_languages(container, language, written, lost):
    plan = plan_tags(CONTAINERS[container], {}, {3: labels(language=language, title="T")})
    assert plan.labels[3].tags["language"] == written
    assert list(plan.lost_labels.get(3, ())) == lost


@pytest.mark.parametrize(
    ("container", "lost"),
    [
        ("mp4", ["foo", "original"]),
        ("mov", ["foo", "original", "comment", "forced"]),
        ("matroska", []),
        ("webm", ["original", "comment"]),
    ],
)
def test_what_a_stream_loses(container, lost):
    given = labels(Flag.default | Flag.forced | Flag.original | Flag.comment, title="T", foo="bar", encoder="x")
    plan = plan_tags(CONTAINERS[container], {}, {0: labels(), 1: given})
    assert plan.lost_labels == ({1: tuple(lost)} if lost else {})


PHONE = {
    "major_brand": "qt  ",
    "compatible_brands": "qt  ",
    "encoder": "old",
    "make": "Maker",
    "make-fra": "Maker",
    "com.apple.quicktime.model": "Phone",
    "location": "+48.8789+002.3376+048.928/",
    "creation_time": "2013-11-29T12:19:32.000000Z",
}


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska"])
def test_tags_of_a_phone_are_kept(container):
    plan = plan_tags(CONTAINERS[container], PHONE, {0: labels()})
    assert set(plan.file_tags) == {"make", "com.apple.quicktime.model", "location", "creation_time"}
    assert plan.lost_file_tags == ()
    assert plan.keeps_any_tag is (container != "matroska")


def test_tags_that_players_look_for_come_before_others_in_mp4():
    plan = plan_tags(CONTAINERS["mp4"], {"title": "T", "foo": "bar"}, {0: labels()})
    assert not plan.keeps_any_tag and plan.lost_file_tags == ("foo",)
    assert not plan_tags(CONTAINERS["mp4"], {"title": "T", "comment": "c"}, {0: labels()}).lost_file_tags
    assert not plan_tags(CONTAINERS["mp4"], {"foo": "bar"}, {0: labels(), 1: labels()}, unchecked=[1]).keeps_any_tag


def test_case_and_rounding_are_no_loss():
    assert lost_tags({"foo": "1", "location": "+40.680-074.500/"}, {"FOO": "1", "location": "+40.6800-074.5000/"}) == []
    assert lost_tags({"title": "T"}, {"name": "T"}) == []
    assert lost_tags({"location": "+40.680-074.500/", "a": "b"}, {"location": "+41.0-074.5/"}) == ["location", "a"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("given", [".mp4", ".mov", ".mkv"])
def test_titles_and_languages_go_from_any_to_any(make_clip, look, tmp_path, given, suffix):
    clip = make_clip(
        f"in{given}", audio="aac", video_metadata={"title": "Bild"}, audio_metadata={"title": "Ton", "language": "ger"}
    )
    assert upscale(clip.path, tmp_path / f"out{suffix}") == []
    video, audio = look.facts(tmp_path / f"out{suffix}")["streams"]
    assert [s[2].get("title") or s[2].get("name") for s in (video, audio)] == ["Bild", "Ton"]
    assert audio[2]["language"] == "ger"


def test_what_was_true_of_the_old_pictures_only_is_not_said_of_the_new(make_clip, look, tmp_path):
    tags = {"encoder": "Camera", "BPS": "123", "DURATION-eng": "00:00:09.0", "_STATISTICS_TAGS": "BPS", "scene": "7"}
    clip = make_clip("in.mkv", video_metadata=tags)
    assert upscale(clip.path, tmp_path / "out.mkv") == []
    tags = {key.lower(): value for key, value in look.facts(tmp_path / "out.mkv")["streams"][0][2].items()}
    assert set(tags) == {"scene", "duration"} and tags["duration"].startswith("00:00:00.4")


def test_one_line_for_each_stream_and_one_for_the_file(make_clip, tmp_path):
    clip = make_clip("in.mkv", audio="aac", metadata={"title": "T", "note": "n"}, audio_metadata={"take": "3"})
    assert upscale(clip.path, tmp_path / "out.mp4") == [
        "left out: TAKE of stream 1 (audio, aac): mp4 has no place for it",
        "left out: tags of the file: NOTE: mp4 has no place for them",
    ]


@pytest.mark.parametrize(
    ("name", "container", "words"),
    [
        ("08_mkv_attachment.mkv", "mp4", "mp4 cannot hold attachments"),
        ("08_mkv_rich.mkv", "mov", "mov cannot hold cover pictures"),
    ],
)
def test_lines_of_real_files(shared_media, name, container, words):
    assert [line for line in plan_copies(probe(shared_media / name), CONTAINERS[container]).losses if words in line]


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("19_gopro_karma_tmcd.mp4", "mp4"),
        ("02_vfr_phone_rot-90_gps_mebx.mov", "mov"),
        ("02_vfr_phone_portrait_rot-90.mov", "mp4"),
        ("12_empty_second_video_track.mp4", "mp4"),
        ("20_pcm_twos_audio.mp4", "mov"),
        ("20_stereo3d_left_right.webm", "matroska"),
        ("08_mkv_rich.mkv", "matroska"),
    ],
)
def test_no_tag_of_these_files_is_lost(shared_media, name, container):
    plan = plan_copies(probe(shared_media / name), CONTAINERS[container]).tags
    assert plan.lost_file_tags == () and plan.lost_labels == {}


# Each was read back bit-identical from the container, or is refused by its header.
SOUND = [
    ("eac3", ".mkv", "mp4", None),
    ("pcm_s24le", ".mkv", "mp4", None),
    ("pcm_mulaw", ".mov", "mp4", "mp4 cannot hold pcm_mulaw"),
    ("libopus", ".mkv", "mov", "mov cannot hold it"),
    ("flac", ".mkv", "webm", "webm cannot hold flac"),
    ("adpcm_ms", ".avi", "matroska", "matroska cannot hold adpcm_ms"),
]


@pytest.mark.parametrize(("codec", "given", "container", "reason"), SOUND)
def test_sound_is_copied_or_refused_never_changed(make_clip, look, tmp_path, codec, given, container, reason):
    clip = make_clip(f"in{given}", audio=codec)
    plan = plan_copies(probe(clip.path), CONTAINERS[container])
    if reason is not None:
        assert plan.streams == () and len(plan.losses) == 1 and reason in plan.losses[0]
        return
    assert plan.losses == () and plan.streams == (1,)
    upscale(clip.path, tmp_path / f"out.{container}")
    assert look.payload(tmp_path / f"out.{container}", "audio") == look.payload(clip.path, "audio")
