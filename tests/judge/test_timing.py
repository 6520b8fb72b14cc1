"""Matching frames by their times: what rounding excuses, what is missing, what moved."""

from __future__ import annotations

from array import array
from fractions import Fraction

import pytest

from vidsr.judge.timing import Part, Times, align, find_part, tolerance, track_shift
from vidsr.media.survey.survey import Track

MS = Fraction(1, 1000)


def times(pts, base=MS):
    return Times(array("q", pts), base)


def whole(source):
    return Part(first=0, stop=len(source), start_seconds=None, stop_seconds=None)


def aligned(source, output, **more):
    return align(source, output, whole(source), **more)


def test_rounding_is_half_a_tick_of_the_coarser_clock_and_never_more_than_half_a_millisecond():
    assert tolerance(Fraction(1, 90000), MS) == Fraction(1, 2000)
    assert tolerance(Fraction(1, 90000), Fraction(1, 30000)) == Fraction(1, 60000)
    assert tolerance(Fraction(1, 25), Fraction(1, 25)) == Fraction(1, 2000)


def test_ntsc_times_in_milliseconds_are_the_same_times():
    exact = times([n * 1001 for n in range(100)], Fraction(1, 24000))
    rounded = times([round(n * 1001 * 1000 / 24000) for n in range(100)])
    result = aligned(exact, rounded)
    assert (result.missing, result.extra, result.shift) == ((), (), 0)
    assert 0 < result.error <= MS / 2


def test_a_constant_rate_is_not_a_variable_one():
    source = times([0, 40, 80, 200, 240, 280, 400])
    result = aligned(source, times([round(n * 400 / 6) for n in range(7)]))
    assert result.error > MS and not result.missing
    assert result.worst in range(7)


@pytest.mark.parametrize("lost", [0, 1, 5, 8, 9])
def test_a_missing_frame_is_named(lost):
    source = times([n * 40 for n in range(10)])
    result = aligned(source, times([n * 40 for n in range(10) if n != lost]))
    assert (result.missing, result.extra, result.error) == ((lost,), (), 0)


def test_a_missing_first_frame_of_a_moved_file_is_named_by_the_shift_of_its_sound():
    source = times([n * 40 for n in range(10)])
    output = times([n * 40 + 500 for n in range(1, 10)])
    assert aligned(source, output, hints=[Fraction(1, 2)]).missing == (0,)
    assert aligned(source, output).missing == (9,)  # all that the picture alone can tell


def test_one_missing_and_one_too_many_do_not_cancel_out():
    source = times([n * 40 for n in range(20)])
    result = aligned(source, times(sorted([*(n * 40 for n in range(20) if n != 4), 500])))
    assert (result.missing, result.extra) == ((4,), (12,))


def test_a_shift_that_all_share_is_no_error():
    result = aligned(times([5, 45, 85]), times([0, 40, 80]))
    assert (result.shift, result.error) == (Fraction(-5, 1000), 0)


def test_no_frames_at_all():
    source = times([0, 40, 80])
    assert aligned(source, times([])).missing == (0, 1, 2)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (None, None, (0, 10)),
        (3, 7, (3, 7)),
        (Fraction(1, 10), None, (3, 10)),  # 100 ms: the first frame at or after it is at 120
        (Fraction(2, 25), Fraction(4, 25), (2, 4)),  # the end is not in it
        (None, 100, (0, 10)),
        (20, None, (10, 10)),
    ],
)
def test_a_part_is_found_by_frames_or_seconds(start, stop, expected):
    part = find_part(times([1000 + n * 40 for n in range(10)]), 10, Fraction(1), start, stop)
    assert (part.first, part.stop) == expected
    assert part.is_whole == (start is None and stop is None)


def track(pts, base=MS):
    return Track(
        index=1,
        kind="audio",
        codec="flac",
        language=None,
        name=None,
        flags=frozenset(),
        tags={},
        sample_rate=48000,
        time_base=base,
        pts=array("q", pts),
        packets=array("Q", range(len(pts))),
        texts=array("Q"),
        payload="",
    )


def test_how_a_track_moved():
    source = track([n * 1024 for n in range(50)], Fraction(1, 48000))
    moved = track([round(n * 1024 / 48) + 20 for n in range(50)])
    shift, error = track_shift(source, moved)
    assert abs(shift - Fraction(20, 1000)) < MS and error <= MS / 2
    assert track_shift(source, track([]), 0) is None
    late, _ = track_shift(source, track([n * 1024 for n in range(10, 50)], Fraction(1, 48000)), skipped=10)
    assert late == 0


def test_many_frames_take_no_fractions_each():
    source = times(range(0, 8_000_000, 40))
    result = aligned(source, times(range(0, 8_000_000, 40)))
    assert (result.error, len(source)) == (0, 200_000)
