"""Handing out segments: each once, in order, in runs that shrink, and one taker reads on without a seek."""

from __future__ import annotations

import threading

import pytest

from vidsr.pipeline.handout import Handout
from vidsr.pipeline.plan import Segment


def segments(*indices):
    return [Segment(index=index, start=10 * index, stop=10 * index + 10, num_frames=10) for index in indices]


def runs_of(indices, num_takers):
    handout, runs = Handout(segments(*indices), num_takers), []
    while run := handout.take():
        runs.append([segment.index for segment in run])
    return runs


def test_one_taker_gets_neighbours_whole():
    assert runs_of(range(9), 1) == [[*range(9)]]
    assert runs_of([0, 1, 4, 5, 6, 9], 1) == [[0, 1], [4, 5, 6], [9]]


@pytest.mark.parametrize("num_takers", [2, 3, 8])
@pytest.mark.parametrize("indices", [[0], range(5), range(100), [0, 1, 4, 5, 6, 9], range(0, 40, 2), []])
def test_every_segment_is_handed_out_once_in_order_and_in_runs(indices, num_takers):
    runs = runs_of(indices, num_takers)
    assert [index for run in runs for index in run] == list(indices)
    for run in runs:
        assert run == list(range(run[0], run[0] + len(run)))


def test_runs_shrink_to_one_segment_so_that_all_end_together():
    lengths = [len(run) for run in runs_of(range(100), 2)]
    assert lengths[:4] == [13, 11, 10, 9]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-3:] == [1, 1, 1]
    assert len(runs_of(range(2000), 2)) < 60  # each costs a seek


@pytest.mark.parametrize("speeds", [(1, 1), (1, 3), (1, 1, 1, 4), (2, 3, 5, 7, 11)])
def test_takers_of_any_speed_end_at_about_the_same_time(speeds):
    handout, clocks = Handout(segments(*range(200)), len(speeds)), [0.0] * len(speeds)
    while True:
        taker = min(range(len(speeds)), key=lambda n: clocks[n])  # whoever is free first
        run = handout.take()
        if not run:
            break
        clocks[taker] += len(run) / speeds[taker]
    assert max(clocks) <= 1.1 * 200 / sum(speeds) + 1 / min(speeds)


def test_threads_that_take_at_once_never_get_the_same():
    handout, taken = Handout(segments(*range(3000)), 8), []

    def take():
        while run := handout.take():
            taken.extend(segment.index for segment in run)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(3000))
