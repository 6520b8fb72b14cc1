"""What is fixed before the first frame: the work folder, the segments, where a run starts and stops."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vidsr.pipeline.plan import Segment, make_plan, point_to_ticks


def test_a_plan_is_one_segment_beside_the_target():
    target = Path("videos") / "clip_2x.mp4"
    plan = make_plan(target, 100, 10, None)
    assert plan.segments == (Segment(index=0, start=10, stop=None),)
    assert plan.num_frames_expected == 100
    assert plan.work_folder.parent == target.parent
    assert plan.segment_path(plan.segments[0]) == plan.work_folder / "000000.segment"


def test_the_work_folder_belongs_to_the_target():
    folders = {make_plan(Path(name), 1, None, None).work_folder for name in ("a.mp4", "a.mkv", "b.mp4")}
    assert len(folders) == 3
    # The same in the next process: that is how a later run finds it.
    assert make_plan(Path("a.mp4"), 1, None, None).work_folder == Path(".vidsr-e6d48eabd560")
    assert make_plan(Path("a.mp4"), 9, 1, 2).work_folder == make_plan(Path("a.mp4"), 1, None, None).work_folder


@pytest.mark.parametrize("name", ["x" * 251 + ".mkv", "字" * 80 + ".mp4", "caf\udce9.mp4"])
def test_any_name_that_a_file_can_have_gets_a_short_folder(name):
    assert len(make_plan(Path(name), 1, None, None).work_folder.name) == len(".vidsr-") + 12


STAMPS = [100, 140, 180, 300]  # in 1/1000 s; the clock reads 0 at 100


def ticks(point):
    return point_to_ticks(point, STAMPS, Fraction(1, 10), Fraction(1, 1000))


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (None, None),
        (0, 100),
        (3, 300),
        (4, 301),  # past the end, so that `stop` excludes nothing and `start` everything
        (400, 301),
        (Fraction(0), 100),
        (Fraction("0.04"), 140),  # the very moment of a frame is that frame
        (Fraction("0.0401"), 141),  # 140.1: the first tick that is not before
        (Fraction("0.0399"), 140),
        (Fraction(2), 2100),
    ],
)
def test_a_point_becomes_a_time_stamp(point, expected):
    assert ticks(point) == expected


def test_frames_are_those_that_start_at_or_after_a_time():
    start, stop = ticks(Fraction("0.04")), ticks(Fraction("0.2"))
    assert [t for t in STAMPS if start <= t < stop] == [140, 180]


def test_time_stamps_may_be_negative():
    assert point_to_ticks(Fraction(0), [-512, 0, 512], Fraction(-512, 12800), Fraction(1, 12800)) == -512
    assert point_to_ticks(Fraction(1, 30), [-1, 0], Fraction(-1), Fraction(1, 24)) == -23  # -23.2


def test_thirds_of_a_second_are_exact():
    base = Fraction(1001, 30000)
    for frame in range(0, 3000, 7):
        assert point_to_ticks(frame * base, [0], Fraction(0), base) == frame
