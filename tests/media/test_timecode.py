"""Time codes count frames as SMPTE ST 12-1 does, with dropped numbers where they belong."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidsr.media.timecode import advance, rate_of, timecode_of

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "num_frames", "rate", "expected"),
    [
        ("01:00:00:00", 0, Fraction(25), "01:00:00:00"),
        ("01:00:00:00", 25, Fraction(25), "01:00:01:00"),
        ("00:59:59:24", 1, Fraction(25), "01:00:00:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("10:00:00:00", 24 * 3600, Fraction(24000, 1001), "11:00:00:00"),
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),
        ("00:01:59;29", 1, NTSC, "00:02:00;02"),
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),
        ("01:00:00;00", 107892, NTSC, "02:00:00;00"),
        ("00:00:59.29", 1, NTSC, "00:01:00;02"),
        ("23:59:59;29", 1, NTSC, "00:00:00;00"),
        ("00:00:59;59", 1, 2 * NTSC, "00:01:00;04"),
        ("00:00:59:29", 1, NTSC, "00:01:00:00"),
        ("19:26:48:04", 90, NTSC, "19:26:51:04"),
    ],
)
def test_advance(timecode, num_frames, rate, expected):
    assert advance(timecode, num_frames, rate) == expected


def test_no_number_comes_twice_and_the_dropped_ones_never():
    codes = [timecode_of(n, 30, drop_frame=True) for n in range(3 * 17982)]
    assert codes == sorted(set(codes))
    dropped = [code for code in codes if code[6:] in ("00;00", "00;01") and code[4] != "0"]
    assert not dropped
    assert codes[-1] == "00:29:59;29"


def test_one_step_at_a_time_or_all_at_once():
    code = "00:08:58;10"
    for step in range(4000):
        assert advance("00:08:58;10", step, NTSC) == code
        code = advance(code, 1, NTSC)


@pytest.mark.parametrize("timecode", ["", "1:2:3:4", "01:00:00", "01:60:00:00", "abc"])
def test_what_is_no_time_code(timecode):
    with pytest.raises(ValueError, match="no time code"):
        advance(timecode, 1, Fraction(25))


def test_dropped_numbers_need_their_rate():
    with pytest.raises(ValueError, match=r"29\.97"):
        advance("00:00:00;00", 1, Fraction(25))


@pytest.mark.parametrize(
    ("timecode", "frame_rate", "expected"),
    [
        ("01:00:00:00", Fraction(24000, 1001), Fraction(24000, 1001)),
        ("01:00:00;00", NTSC, NTSC),
        ("01:00:00;00", Fraction(29), NTSC),
        ("01:00:00;00", Fraction(55), 2 * NTSC),
        ("01:00:00:00", Fraction(1, 10), Fraction(25)),
        ("01:00:00:00", Fraction(1000), Fraction(25)),
    ],
)
def test_the_rate_of_a_time_code(timecode, frame_rate, expected):
    assert rate_of(timecode, frame_rate) == expected
