"""What is decided before the first frame: the target's name and container, the encoder's options, what is lost."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidsr.errors import LossError, TargetExistsError, UsageError
from vidsr.media.write.encoders import find_encoder
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.targets.video import possible_targets


def options(**given):
    return UpscaleOptions(**({"model": "nearest"} | given))


@pytest.mark.parametrize(
    ("codec", "name", "given", "expected"),
    [
        ("libx264", "a.mp4", {}, ["a_2x.mp4"]),
        ("libx264", "a.avi", {}, ["a_2x.mkv"]),
        ("ffv1", "a.mp4", {}, ["a_2x.mkv"]),  # MP4 does not hold it
        ("prores_ks", "a.mp4", {}, ["a_2x.mov"]),
        ("libsvtav1", "a.mov", {}, ["a_2x.mp4"]),
        ("libx264", "a.mp4", {"container": "mkv"}, ["a_2x.mkv"]),
        ("libx264", "a.mov", {"container": "auto"}, ["a_2x.mov", "a_2x.mp4", "a_2x.mkv"]),
        ("libvpx-vp9", "a.webm", {"container": "auto"}, ["a_2x.mkv", "a_2x.mp4", "a_2x.webm"]),
    ],
)
def test_targets_that_come_into_question(tmp_path, codec, name, given, expected):
    source = tmp_path / name
    found = possible_targets(source, None, find_encoder(codec), options(**given))
    assert found == [tmp_path / wanted for wanted in expected]


def test_a_folder_as_target_takes_the_default_name(tmp_path, make_clip):
    (tmp_path / "out").mkdir()
    assert prepare(make_clip("in.mp4").path, tmp_path / "out", options()).target == tmp_path / "out" / "in_2x.mp4"


def test_a_container_that_contradicts_the_suffix_is_refused(tmp_path, make_clip):
    with pytest.raises(UsageError, match=r"out\.mp4: its suffix and container mkv contradict"):
        prepare(make_clip("in.mp4").path, tmp_path / "out.mp4", options(container="mkv"))
    prepare(make_clip("in.mp4").path, tmp_path / "out.mp4", options(container="auto"))


def test_a_container_that_does_not_hold_the_codec_is_refused(make_clip):
    with pytest.raises(UsageError, match=r"\.mp4 does not hold ffv1; use \.mkv"):
        prepare(make_clip("in.mp4").path, None, options(codec="ffv1", container="mp4"))


def test_auto_takes_the_container_that_holds_everything(make_clip):
    with_font = make_clip("in.mkv", attachment=b"font" * 100).path.rename
    source = with_font(make_clip("other.mp4").path.with_name("named.mp4"))  # its suffix would say MP4
    assert prepare(source, None, options()).losses()
    kept = prepare(source, None, options(container="auto"))
    assert kept.target.suffix == ".mkv"
    assert not kept.losses()


def test_auto_stays_with_the_source_where_nothing_is_lost(make_clip):
    assert prepare(make_clip("in.mov").path, None, options(container="auto")).target.suffix == ".mov"


def test_strict_refuses_a_loss_and_names_it(make_clip, tmp_path):
    clip = make_clip("in.mkv", attachment=b"font" * 100)
    with pytest.raises(LossError, match=r"in\.mkv: would lose something.*attachment"):
        prepare(clip.path, tmp_path / "out.mp4", options(strict=True))
    assert prepare(clip.path, tmp_path / "out.mkv", options(strict=True)).target == tmp_path / "out.mkv"


def test_an_existing_target_is_refused_whatever_chose_it(make_clip, tmp_path):
    (tmp_path / "in_2x.mp4").write_bytes(b"precious")
    with pytest.raises(TargetExistsError):
        prepare(make_clip("in.mp4").path, None, options(container="auto"))


@pytest.mark.parametrize(
    ("codec", "pairs", "words"),
    [
        ("libx264", {"foo": "1"}, "libx264 has no option 'foo'"),
        ("libx264", {"tune": "bogus"}, "bogus"),
        ("libx264", {"x264-params": "bogus=1"}, "Error parsing option 'bogus = 1'"),
        ("libx265", {"x265-params": "bogus=1"}, "Unknown option: bogus"),
        ("libx265", {"x265-params": "aq-mode=bogus"}, "Invalid value for aq-mode: bogus"),
        ("libsvtav1", {"svtav1-params": "bogus=1"}, "Error parsing option bogus"),
    ],
)
def test_an_encoder_option_that_is_not_known_is_told_before_the_work(make_clip, codec, pairs, words):
    with pytest.raises(UsageError, match=words):
        prepare(make_clip("in.mp4").path, None, options(codec=codec, encoder_options=pairs))


def test_encoder_options_overrule_the_table_and_add_to_its_lists():
    encoder = find_encoder("libx265")
    chosen = encoder.options(None, "slow", (("crf", "30"), ("x265-params", "keyint=5")))
    assert chosen == {"x265-params": "log-level=error:keyint=5", "crf": "30", "preset": "slow"}


@pytest.mark.parametrize(("codec", "key"), [("libx264", "b"), ("libx264", "qp"), ("libvpx-vp9", "lossless")])
def test_another_rate_control_takes_the_default_quality_away(codec, key):
    encoder = find_encoder(codec)
    assert "crf" not in encoder.options(None, None, ((key, "1"),))
    assert encoder.options(9, None, ((key, "1"),))["crf"] == "9"


def test_encoder_options_reach_the_encoder(make_clip, tmp_path):
    import av

    from vidsr.run.upscale import upscale_video

    clip = make_clip("in.mp4", frames=9)
    how = options(scale=Fraction(1), encoder_options={"g": "3", "x264-params": "scenecut=0"})
    upscale_video(clip.path, tmp_path / "out.mp4", how)
    with av.open(str(tmp_path / "out.mp4")) as out:
        keys = [packet.is_keyframe for packet in out.demux(video=0) if packet.size]
    assert sum(keys) == 3
