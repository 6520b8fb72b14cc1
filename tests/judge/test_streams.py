"""Small rules of what stands beside the picture."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidsr.judge.streams import advance, lost_tags

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "frames", "rate", "expected"),
    [
        ("01:00:00:00", 0, Fraction(25), "01:00:00:00"),
        ("00:59:59:20", 10, Fraction(25), "01:00:00:05"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),  # 00 and 01 are left out each minute
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),  # but every tenth
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),  # an hour of 29.97 frames a second
        ("00:00:00:00", 107892, NTSC, "00:59:56:12"),
        ("no timecode", 5, NTSC, "no timecode"),
    ],
)
def test_timecodes_advance_by_frames(timecode, frames, rate, expected):
    assert advance(timecode, frames, rate) == expected


def test_tags_are_compared_whatever_their_case_and_without_what_muxers_write():
    source = {"title": "A", "ENCODER": "x", "DURATION": "1", "BPS-eng": "5", "artist-eng": "B", "artist": "B"}
    assert lost_tags(source, {"TITLE": "A", "ARTIST": "B"}) == []
    assert lost_tags(source, {"title": "C"}) == ["title", "artist"]
    created = {"creation_time": "2020-01-02T03:04:05.000000Z"}
    assert lost_tags(created, {}, {"creation_time": "2020-01-02T03:04:05Z"}) == []
    assert lost_tags(created, {}) == ["creation_time"]
    assert lost_tags({"creation_time": "1970-01-01T00:00:00.000000Z"}, {}) == []


def test_a_place_is_the_same_with_zeros_at_its_end():
    assert lost_tags({"location": "+40.680-074.500/"}, {"location": "+40.6800-074.5000/"}) == []
    assert lost_tags({"location": "+40.680-074.500/"}, {"location": "+40.6800-074.5010/"}) == ["location"]
