"""Three stages at once: a source thread, the work in the calling thread, a sink thread, bounded queues between."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class StoppedError(Exception):
    """Raised in a stage that waits on a channel when another stage has failed; never leaves `run_stages`."""


class Channel(Generic[T]):
    """A bounded queue that two stages share. Closing ends its iteration; stopping ends it at once, for both."""

    def __init__(self, capacity: int, items: Iterable[T] = ()) -> None:
        self._items = deque(items)
        self._capacity = max(capacity, len(self._items))
        self._changed = threading.Condition()
        self._closed = False
        self._stopped = False
        self.seconds_waiting_to_put = 0.0
        self.seconds_waiting_to_get = 0.0

    def put(self, item: T) -> None:
        """Add an item, waiting for room. Raises StoppedError after `stop`."""
        with self._changed:
            started = time.perf_counter()
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            self.seconds_waiting_to_put += time.perf_counter() - started
            if self._stopped:
                raise StoppedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Take the oldest item, waiting for one. Raises StoppedError after `stop`, EOFError after `close`."""
        with self._changed:
            started = time.perf_counter()
            self._changed.wait_for(lambda: self._stopped or self._items or self._closed)
            self.seconds_waiting_to_get += time.perf_counter() - started
            if self._stopped:
                raise StoppedError
            if not self._items:
                raise EOFError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Say that no more items come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake and end both sides."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                item = self.get()
            except EOFError:
                return
            yield item


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Where the time of a run went. A stage that is busy all the time is the one to speed up."""

    seconds: float
    source_busy_seconds: float
    work_busy_seconds: float
    sink_busy_seconds: float


def run_stages(
    source: Callable[[], Iterable[A]],
    work: Callable[[Iterator[A]], Iterator[B]],
    sink: Callable[[Iterator[B]], None],
    *,
    capacity: int,
    rings: Iterable[Channel[Any]] = (),
) -> StageTimes:
    """Run all three stages until the source is dry and the sink has taken everything.

    Args:
        source: makes the items, in a thread of its own.
        work: turns items into results, in the calling thread; it may hold several in flight.
        sink: consumes the results, in a thread of its own.
        capacity: items each of the two queues may hold.
        rings: further channels that stages wait on, to be stopped with the rest.

    Raises:
        The first exception of any stage, with its traceback, after all threads have ended.
    """
    items: Channel[A] = Channel(capacity)
    results: Channel[B] = Channel(capacity)
    channels: list[Channel[Any]] = [items, results, *rings]
    failures: list[BaseException] = []

    def guarded(stage: Callable[[], None]) -> None:
        try:
            stage()
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001, re-raised in the caller below
            failures.append(error)
            for channel in channels:
                channel.stop()

    def feed() -> None:
        for item in source():
            items.put(item)
        items.close()

    def labour() -> None:
        for result in work(iter(items)):
            results.put(result)
        results.close()

    busy: dict[str, float] = {}
    ended = {name: threading.Event() for name in ("source", "work", "sink")}

    def timed(name: str, stage: Callable[[], None]) -> None:
        began = time.perf_counter()
        guarded(stage)
        busy[name] = time.perf_counter() - began
        ended[name].set()

    threads = [
        threading.Thread(target=timed, args=("source", feed), name="vidsr-decode", daemon=True),
        threading.Thread(target=timed, args=("sink", lambda: sink(iter(results))), name="vidsr-encode", daemon=True),
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    timed("work", labour)
    for name, thread in zip(("source", "sink"), threads, strict=True):
        _join(thread, ended[name], failures, channels)
    if failures:
        raise failures[0]
    return StageTimes(
        seconds=time.perf_counter() - began,
        source_busy_seconds=busy["source"] - items.seconds_waiting_to_put,
        work_busy_seconds=busy["work"] - items.seconds_waiting_to_get - results.seconds_waiting_to_put,
        sink_busy_seconds=busy["sink"] - results.seconds_waiting_to_get,
    )


def _join(
    thread: threading.Thread, ended: threading.Event, failures: list[BaseException], channels: Iterable[Channel[Any]]
) -> None:
    """Wait for a thread's end; an interrupt while waiting stops all stages and is reported like a failure."""
    while not ended.is_set():
        try:
            # Not `join`: in Python 3.11 and 3.12 one that is interrupted takes the thread for dead.
            ended.wait()
        except BaseException as error:  # noqa: BLE001, a KeyboardInterrupt or what a signal handler raises
            failures.append(error)
            for channel in channels:
                channel.stop()
    thread.join()
