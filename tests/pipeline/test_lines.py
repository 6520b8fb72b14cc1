"""Lines of stages side by side: they fail together, end on their own, and no thread outlives them."""

from __future__ import annotations

import itertools
import threading
import time
import traceback

import pytest

from vidsr.pipeline.stage import Channel, StageTimes, StoppedError, run_side_by_side, run_stages

NUM_ITEMS = 20


class BrokenError(Exception):
    pass


class Line:
    """Numbers through three stages and a ring, as frames go."""

    def __init__(self, items, fail_at=None, where="work"):
        self.ring = Channel(4, range(4))
        self.come = []
        self.ended = False
        self._items, self._fail_at, self._where = items, fail_at, where

    def _check(self, where, item):
        if where == self._where and item == self._fail_at:
            raise BrokenError(where)

    def run(self):
        def source():
            for item in self._items:
                self._check("source", item)
                yield item, self.ring.get()

        def work(pairs):
            for pair in pairs:
                self._check("work", pair[0])
                yield pair

        def sink(pairs):
            for item, token in pairs:
                self._check("sink", item)
                self.come.append(item)
                self.ring.put(token)

        run_stages(source, work, sink, capacity=2, rings=[self.ring])
        self.ended = True


def run(*lines):
    before = threading.active_count()
    rescue = threading.Timer(60, lambda: [line.ring.stop() for line in lines])
    rescue.start()
    try:
        run_side_by_side([line.run for line in lines], [line.ring for line in lines])
    finally:
        assert rescue.is_alive(), "deadlock"
        rescue.cancel()
        rescue.join()
        assert threading.active_count() == before


@pytest.mark.parametrize("num_lines", [1, 2, 5])
def test_each_does_all_of_its_own(num_lines):
    lines = [Line(range(n, n + NUM_ITEMS)) for n in range(num_lines)]
    run(*lines)
    assert [line.come for line in lines] == [list(range(n, n + NUM_ITEMS)) for n in range(num_lines)]


@pytest.mark.parametrize("where", ["source", "work", "sink"])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_the_first_failure_ends_all_and_is_raised_with_its_traceback(where, broken):
    lines = [Line(itertools.count(), fail_at=7 if n == broken else None, where=where) for n in range(3)]
    with pytest.raises(BrokenError, match=where) as caught:
        run(*lines)
    assert "_check" in "".join(traceback.format_tb(caught.tb))
    assert not any(line.ended for line in lines)


def test_a_line_that_is_done_does_not_end_the_others():
    short, long = Line(range(1)), Line(range(50))
    run(short, long)
    assert short.come == [0] and long.come == list(range(50))


def test_a_ring_that_is_stopped_from_outside_ends_every_stage():
    """Also those that wait on another channel: the source here waits for the ring, the others for the source."""
    ring = Channel(1)
    timer = threading.Timer(0.05, ring.stop)
    timer.start()

    def source():
        yield ring.get()

    with pytest.raises(StoppedError):
        run_stages(source, lambda items: items, list, capacity=1, rings=[ring])
    timer.join()


def test_times_side_by_side():
    def times(seconds, busy):
        return StageTimes(
            seconds=seconds, source_busy_seconds=busy, work_busy_seconds=2 * busy, sink_busy_seconds=4 * busy
        )

    assert StageTimes.side_by_side([times(10, 1), times(6, 3)]) == times(10, 2)
    assert StageTimes.side_by_side([times(7, 1)]) == times(7, 1)
    assert StageTimes.side_by_side([]).seconds == 0


def test_lines_really_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=30)

    def meet():
        meeting.wait()
        time.sleep(0)

    run_side_by_side([meet] * 3, [])
