"""What is fixed before the first frame: the work folder, the segments, where a run starts and stops."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import pytest

from vidsr.pipeline.plan import Segment, make_plan, point_to_ticks, work_folder


def plan_of(stamps, keyframes=(), start=None, stop=None, **limits):
    return make_plan(Path("videos") / "clip_2x.mp4", stamps, keyframes, start, stop, **limits)


def lengths(plan):
    return [segment.num_frames for segment in plan.segments]


def test_a_short_run_is_one_segment_beside_the_target():
    plan = plan_of(range(100), start=10)
    assert plan.segments == (Segment(index=0, start=10, stop=None, num_frames=90),)
    assert plan.num_frames_expected == 90
    assert plan.work_folder.parent == Path("videos")
    assert plan.segment_path(plan.segments[0]) == plan.work_folder / "000000.segment"


def test_segments_end_at_the_latest_keyframe_in_reach():
    assert lengths(plan_of(range(30), [0, 4, 7, 9, 15, 26], min_frames=5, max_frames=10)) == [9, 6, 10, 5]


def test_without_keyframes_they_are_as_long_as_may_be():
    assert lengths(plan_of(range(25), min_frames=5, max_frames=10)) == [10, 10, 5]
    assert lengths(plan_of(range(20), min_frames=5, max_frames=10)) == [10, 10]
    assert lengths(plan_of(range(10), min_frames=5, max_frames=10)) == [10]


@pytest.mark.parametrize("seed", range(20))
def test_segments_tile_the_frames(seed):
    generator = random.Random(seed)
    stamps = sorted(generator.sample(range(-500, 20000), generator.randrange(1, 1500)))
    keyframes = sorted(generator.sample(stamps, generator.randrange(len(stamps) + 1)))
    start, stop = generator.choice([None, stamps[len(stamps) // 5]]), generator.choice([None, stamps[-1], 10**6])
    low = generator.randrange(1, 60)
    high = low + generator.randrange(60)
    plan = plan_of(stamps, keyframes, start, stop, min_frames=low, max_frames=high)
    inside = [pts for pts in stamps if (start is None or pts >= start) and (stop is None or pts < stop)]
    found = []
    for segment in plan.segments:
        own = [
            pts
            for pts in stamps
            if (segment.start is None or pts >= segment.start) and (segment.stop is None or pts < segment.stop)
        ]
        assert len(own) == segment.num_frames <= high
        assert segment.num_frames >= low or segment is plan.segments[-1]
        found += own
    assert found == inside
    assert (plan.segments[0].start, plan.segments[-1].stop) == (start, stop)
    assert [segment.index for segment in plan.segments] == list(range(len(plan.segments)))


def test_the_work_folder_belongs_to_the_target():
    assert len({work_folder(Path(name)) for name in ("a.mp4", "a.mkv", "b.mp4")}) == 3
    # The same in the next process: that is how a later run finds it.
    assert work_folder(Path("a.mp4")) == Path(".vidsr-e6d48eabd560")


@pytest.mark.parametrize("name", ["x" * 251 + ".mkv", "字" * 80 + ".mp4", "caf\udce9.mp4"])
def test_any_name_that_a_file_can_have_gets_a_short_folder(name):
    assert len(work_folder(Path(name)).name) == len(".vidsr-") + 12


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
