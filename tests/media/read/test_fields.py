"""Interlaced and telecined material is recognised, by flags and by content, and nothing else is taken for it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidsr.media.read.fields import recognise_fields
from vidsr.media.read.probe import probe

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("how", "kind", "order", "found_by", "warning"),
    [
        ({}, "interlaced", "tff", "content", None),
        ({"order": "bff", "flag": "bff"}, "interlaced", "bff", "content", None),
        ({"flag": None, "container_flag": "tff"}, "interlaced", "tff", "content", None),
        ({"pix_fmt": "yuv422p10le"}, "interlaced", "tff", "content", None),
        ({"pix_fmt": "gbrp10le", "flag": None}, "interlaced", "tff", "content", "flagged as progressive"),
        ({"flag": None}, "interlaced", "tff", "content", "flagged as progressive, but its content is interlaced"),
        ({"order": "bff", "flag": None}, "interlaced", "bff", "content", "flagged as progressive"),
        ({"order": "bff"}, "interlaced", "bff", "content", "as top field first, but its content is bottom field first"),
        ({"material": "frames", "flag": None}, "progressive", None, "content", None),
        ({"material": "frames"}, "progressive", None, "content", "flagged as interlaced, but its content is prog"),
        ({"material": "film", "rate": NTSC, "frames": 25}, "telecined", "tff", "content", None),
        (
            {"material": "film", "rate": NTSC, "frames": 25, "order": "bff", "flag": "bff"},
            *("telecined", "bff", "content", None),
        ),
        ({"material": "film", "frames": 25, "flag": None}, "telecined", "tff", "content", "but its content is telec"),
        # Nothing moves, or too little is there to tell: the flags count.
        ({"still_from": 1}, "interlaced", "tff", "flags", None),
        ({"still_from": 1, "flag": None}, "progressive", None, "flags", None),
        ({"still_from": 1, "flag": None, "container_flag": "bff"}, "interlaced", "bff", "flags", None),
        ({"material": "frames", "frames": 72, "still_from": 20}, "interlaced", "tff", "flags", None),
        ({"material": "frames", "frames": 16, "still_from": 5}, "interlaced", "tff", "flags", None),
        ({"frames": 1}, "interlaced", "tff", "flags", None),
        ({"frames": 3, "flag": None}, "progressive", None, "flags", None),
        # Parts of either kind.
        ({"flag": "half"}, "mixed", "tff", "flags", None),
        ({"material": "hybrid", "frames": 72}, "mixed", "tff", "content", "some of its content is progressive and"),
        ({"material": "hybrid", "frames": 72, "flag": None}, "mixed", "tff", "content", "flagged as progressive, but"),
        # No standard has fields so short or so many.
        ({"size": (64, 24), "flag": None}, "progressive", None, "flags", None),
        ({"rate": 50, "flag": None}, "progressive", None, "flags", None),
    ],
)
def test_what_a_video_is_made_of(make_fields, how, kind, order, found_by, warning):
    scan = recognise_fields(probe(make_fields(**how).path))
    assert (scan.kind, scan.field_order, scan.found_by) == (kind, order, found_by)
    if warning is None:
        assert scan.warning is None
    else:
        assert scan.warning is not None and warning in scan.warning


def test_video_with_a_still_in_it_is_no_film(make_fields):
    # Interlaced video that stops for good has fields that repeat, but not in a cadence.
    assert recognise_fields(probe(make_fields(frames=25, still_from=22).path)).kind == "interlaced"


@pytest.mark.parametrize(
    ("name", "kind", "order"),
    [
        ("05_dv_pal_16x9_bff.dv", "interlaced", "bff"),
        ("05_mpeg2_ntsc_480i_tff.ts", "interlaced", "tff"),
        ("05_telecine_hard_tff.mkv", "telecined", "tff"),
        # Drawn and test pictures that move by whole lines: idet alone takes them for interlaced.
        ("04_fullrange_bt601_240p.mp4", "progressive", None),
        ("04_fullrange_bt709_720p.mp4", "progressive", None),
        ("07_odd_161x121_vp9.webm", "progressive", None),
        ("09_mkv_audio_delayed_500ms.mkv", "progressive", None),
        ("10_mp4_discard_first_keyframe.mp4", "progressive", None),
        ("11_anime_on_threes_24fps.mp4", "progressive", None),
        ("18_resolution_change.h264", "progressive", None),
        # Damaged ones are looked at as far as they go.
        ("12_corrupted_decord.mp4", "progressive", None),
        ("12_bitflip.mp4", "progressive", None),
    ],
)
def test_real_files(shared_media, name, kind, order):
    scan = recognise_fields(probe(shared_media / name))
    assert (scan.kind, scan.field_order, scan.warning) == (kind, order, None)


def test_a_verdict_in_words(make_fields):
    scan = recognise_fields(probe(make_fields(order="bff", flag="bff").path))
    assert str(scan) == "interlaced, bottom field first (by its content)"
