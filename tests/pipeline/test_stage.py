"""Stages: order, bounds, and that nothing is left running when one fails. A deadlock fails, it does not hang."""

from __future__ import annotations

import signal
import threading
import time
import traceback

import pytest

from vidsr.pipeline.stage import Channel, StoppedError, run_side_by_side, run_stages

TIMEOUT_SECONDS = 20  # far above the milliseconds that a test takes, on a busy machine too


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert [t for t in threading.enumerate() if t not in before] == []


def guarded(call):
    """Run `call` in a thread with a time limit; its result, or its exception."""
    outcome = {}

    def body():
        try:
            outcome["result"] = call()
        except BaseException as error:  # noqa: BLE001, handed to the test
            outcome["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    assert not thread.is_alive(), "deadlock"
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def run(source, work, sink, capacity=2, rings=()):
    return guarded(lambda: run_stages(source, work, sink, capacity=capacity, rings=rings))


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def unchanged(items):
    yield from items


def drain(items):
    for _ in items:
        pass


def endless():
    number = 0
    while True:
        yield number
        number += 1


@pytest.mark.parametrize("capacity", [1, 2, 7])
@pytest.mark.parametrize("num_items", [0, 1, 2, 50])
def test_everything_arrives_in_order(num_items, capacity):
    arrived = []
    run(lambda: range(num_items), lambda items: (i * 10 for i in items), arrived.extend, capacity)
    assert arrived == [i * 10 for i in range(num_items)]


def test_work_may_hold_items_back():
    def pairs(items):
        held = []
        for item in items:
            held.append(item)
            if len(held) == 3:
                yield held.pop(0)
        yield from held

    arrived = []
    run(lambda: range(20), pairs, arrived.extend)
    assert arrived == list(range(20))


def test_the_work_is_done_by_the_caller_and_the_rest_is_not():
    where = {}

    def source():
        where["source"] = threading.current_thread()
        yield 1

    def work(items):
        where["work"] = threading.current_thread()
        yield from items

    def sink(items):
        where["sink"] = threading.current_thread()
        drain(items)

    run_stages(source, work, sink, capacity=1)
    assert where["work"] is threading.current_thread()
    assert len(set(where.values())) == 3


@pytest.mark.parametrize("capacity", [1, 3])
def test_a_slow_sink_bounds_how_far_the_source_runs_ahead(capacity):
    num_made = 0
    seen, go = [], threading.Event()

    def source():
        nonlocal num_made
        for number in range(100):
            num_made += 1
            yield number

    def sink(items):
        for item in items:
            seen.append(item)
            assert go.wait(TIMEOUT_SECONDS)

    def watch():
        # One in each stage's hands and both queues full.
        wait_until(lambda: num_made == 2 * capacity + 3)
        time.sleep(0.05)  # were there no bound, a hundred would be made in this time
        counts.append(num_made)
        go.set()

    counts = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    run(source, unchanged, sink, capacity)
    watcher.join()
    assert counts == [2 * capacity + 3]
    assert seen == list(range(100))


class BrokenError(Exception):
    pass


def explode():
    raise BrokenError("here")


def failing_source():
    yield 0
    yield 1
    explode()


def failing_work(items):
    for item in items:
        if item == 2:
            explode()
        yield item


def failing_sink(items):
    for item in items:
        if item == 1:
            explode()


@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.parametrize(
    ("source", "work", "sink"),
    [
        (failing_source, unchanged, drain),
        (endless, failing_work, drain),
        (endless, unchanged, failing_sink),
        (lambda: explode(), unchanged, drain),
        (endless, lambda items: explode(), drain),
        (endless, unchanged, lambda items: explode()),
    ],
    ids=["source", "work", "sink", "source-at-once", "work-at-once", "sink-at-once"],
)
def test_an_error_of_any_stage_reaches_the_caller_with_its_traceback(source, work, sink, capacity):
    with pytest.raises(BrokenError, match="here") as caught:
        run(source, work, sink, capacity)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "explode"
    assert "run_stages" in frames


def test_the_first_error_is_the_one_that_counts():
    ring = Channel(1)

    def source():
        yield from range(3)
        try:
            ring.get()
        except StoppedError:
            raise OSError("while closing") from None  # what a reader may do that is torn down

    with pytest.raises(BrokenError):
        run(source, unchanged, failing_sink, rings=[ring])


def test_an_interrupt_in_the_work_stops_everything():
    def work(items):
        for item in items:
            if item == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        run(endless, work, drain)


@pytest.mark.parametrize("who_waits", ["source", "work", "sink"])
@pytest.mark.parametrize("who_fails", ["source", "work", "sink"])
def test_stages_that_wait_on_a_ring_are_woken(who_fails, who_waits):
    if who_fails == who_waits:
        return
    ring = Channel(1)
    waiting = threading.Event()

    def act(name):
        if name == who_waits:
            waiting.set()
            ring.get()  # nobody will ever put something in
        elif name == who_fails:
            assert waiting.wait(TIMEOUT_SECONDS)
            explode()

    def source():
        act("source")
        yield from endless()

    def work(items):
        act("work")
        yield from items

    def sink(items):
        act("sink")
        drain(items)

    with pytest.raises(BrokenError):
        run(source, work, sink, rings=[ring])
    with pytest.raises(StoppedError):
        ring.get()


def test_a_source_that_waits_for_room_is_woken():
    num_made = 0

    def source():
        nonlocal num_made
        for number in endless():
            num_made += 1
            yield number

    def work(items):
        wait_until(lambda: num_made == 2)  # one in the queue, one that finds no room
        explode()
        yield from items

    with pytest.raises(BrokenError):
        run(source, work, drain, capacity=1)


def test_a_sink_that_waits_for_items_is_woken():
    got = []

    def work(items):
        yield next(items)
        wait_until(lambda: got)  # the sink has it, and is about to wait for another
        explode()

    with pytest.raises(BrokenError):
        run(endless, work, lambda results: got.extend(results) or drain(results))
    assert got == [0]


def test_a_stopped_source_is_closed():
    closed = threading.Event()

    def source():
        try:
            yield from endless()
        finally:
            closed.set()

    with pytest.raises(BrokenError):
        run(source, failing_work, drain)
    assert closed.wait(TIMEOUT_SECONDS)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to a thread on this system")
@pytest.mark.parametrize("num_granted", [0, 1])
def test_threads_that_cannot_be_started_end_the_stages(monkeypatch, num_granted):
    start, num_started = threading.Thread.start, 0

    def start_some(thread):
        nonlocal num_started
        if thread.name.startswith("vidsr-"):
            num_started += 1
            if num_started > num_granted:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        guarded(lambda: run_stages(lambda: iter(range(9)), iter, list, capacity=1))
    assert num_started == num_granted + 1


def test_lines_that_cannot_be_started_end_the_others(monkeypatch):
    start, ring = threading.Thread.start, Channel(1)

    def start_no_third(thread):
        if thread.name == "vidsr-line-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_no_third)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        guarded(lambda: run_side_by_side([ring.get, ring.get, ring.get], [ring]))


def test_an_interrupt_while_only_the_sink_still_works_stops_it():
    ring = Channel(1)
    rescue = threading.Timer(TIMEOUT_SECONDS, ring.stop)
    rescue.daemon = True
    main = threading.main_thread()
    assert threading.current_thread() is main

    is_cleared_up = threading.Event()

    def sink(items):
        drain(items)
        time.sleep(0.05)  # until the caller waits for this thread
        signal.pthread_kill(main.ident, signal.SIGINT)
        try:
            ring.get()
        finally:
            time.sleep(0.05)  # the caller waits for this as well
            is_cleared_up.set()

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    rescue.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_stages(lambda: range(3), unchanged, sink, capacity=2, rings=[ring])
        assert is_cleared_up.is_set()
        assert rescue.is_alive(), "it was the rescue that ended it"
    finally:
        signal.signal(signal.SIGINT, previous)
        rescue.cancel()
        rescue.join()


def test_the_times_tell_who_is_busy():
    def slowly(items):
        for item in items:
            time.sleep(0.02)
            yield item

    times = run(lambda: slowly(range(10)), unchanged, drain)
    assert times.source_busy_seconds >= 0.2
    assert times.seconds >= times.source_busy_seconds
    # The others do nothing but wait for it.
    assert 0 <= times.work_busy_seconds < times.source_busy_seconds / 2
    assert 0 <= times.sink_busy_seconds < times.source_busy_seconds / 2


def test_a_channel_hands_out_in_order_and_ends_when_closed():
    channel = Channel(3)
    for number in range(3):
        channel.put(number)
    channel.close()
    assert channel.get() == 0
    assert list(channel) == [1, 2]
    with pytest.raises(EOFError):
        channel.get()


def test_a_channel_that_starts_full_has_room_for_all_that_it_held():
    channel = Channel(1, "abc")
    assert [channel.get() for _ in range(3)] == ["a", "b", "c"]
    guarded(lambda: [channel.put(x) for x in "abc"])
    assert channel.get() == "a"


def test_a_channel_without_room_waits_for_some():
    channel = Channel(1)
    channel.put("first")
    late = threading.Thread(target=lambda: channel.put("second"), daemon=True)
    late.start()
    time.sleep(0.02)
    assert late.is_alive()
    assert channel.get() == "first"
    late.join(TIMEOUT_SECONDS)
    assert channel.get() == "second"
    assert channel.seconds_waiting_to_put > 0.01


def test_a_stopped_channel_gives_and_takes_nothing():
    channel = Channel(2, "a")
    channel.stop()
    with pytest.raises(StoppedError):
        channel.get()
    with pytest.raises(StoppedError):
        channel.put("b")
    with pytest.raises(StoppedError):
        list(channel)
