"""The disk's space is reckoned before and during a run, and a run that will not fit says so once."""

from __future__ import annotations

import shutil
from fractions import Fraction
from types import SimpleNamespace

import pytest

from vidsr.events import Notice
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.journal import Record
from vidsr.pipeline.tally import Tally
from vidsr.run.disk_space import expected_bytes, shortage
from vidsr.run.prepare import prepare
from vidsr.run.upscale import upscale_video

HOW = {"model": "nearest", "scale": Fraction(2), "device": "cpu"}


def prepared(make_clip, tmp_path, **given):
    clip = make_clip("in.mp4", frames=40)
    return prepare(clip.path, tmp_path / "out.mkv", UpscaleOptions(**(HOW | given)))


def record(num_frames, num_bytes):
    tally = Tally(num_frames=num_frames)
    return Record(index=0, tally=tally, num_bytes=num_bytes, sha256="", seconds=1.0, tile_px=0)


def test_before_the_first_frame_by_what_encoders_usually_leave(make_clip, tmp_path):
    raw = 128 * 96 * 3 // 2 * 40
    lossy, lossless = (expected_bytes(prepared(make_clip, tmp_path, codec=c)) for c in ("libx264", "ffv1"))
    assert 0.02 * raw < lossy < 0.2 * raw < 0.5 * raw < lossless < 2 * raw


def test_later_by_what_the_segments_took(make_clip, tmp_path):
    run = prepared(make_clip, tmp_path)
    assert expected_bytes(run, [record(10, 1000), record(0, 0)]) == 30 * 100 + 40 * 100


@pytest.fixture
def small_disk(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3000))


@pytest.mark.usefixtures("small_disk", "one_thread")
def test_too_little_space_is_said_once_and_stops_nothing(make_clip, look, tmp_path):
    run = prepared(make_clip, tmp_path)
    assert "0.0" not in shortage(run) and "more are needed in" in shortage(run)
    notices = []
    upscale_video(run.source.path, run.target, run.options, on_event=notices.append)
    assert len([note for note in notices if isinstance(note, Notice) and "more are needed" in note.text]) == 1
    assert look.video(run.target).count == 40


def test_enough_space_is_not_worth_a_word(make_clip, tmp_path):
    assert shortage(prepared(make_clip, tmp_path)) is None
