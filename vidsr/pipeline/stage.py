"""Three stages at once: a source thread, the work in the calling thread, a sink thread, bounded queues between.

Several such lines can run side by side and fail together.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class StoppedError(Exception):
    """Raised in a stage that waits on a channel when another stage has failed.

    It leaves `run_stages` only where one of its rings was stopped from outside, as `run_side_by_side` does.
    """


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

    def require_end(self) -> None:
        """For a consumer that returns: raises RuntimeError if it left items behind, on which others would wait."""
        with self._changed:
            if not self._stopped and (self._items or not self._closed):
                raise RuntimeError("a stage returned before it had taken everything")

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
    # Of the work, on its device; on a GPU the copies lie beside the computing, on the CPU all is one after another.
    copy_in_busy_seconds: float = 0.0
    compute_busy_seconds: float = 0.0
    network_busy_seconds: float = 0.0  # of the computing
    copy_out_busy_seconds: float = 0.0

    @classmethod
    def total(cls, times: Iterable[StageTimes]) -> StageTimes:
        """The sums of several."""
        listed = list(times)
        return cls(**{field.name: sum(getattr(one, field.name) for one in listed) for field in fields(cls)})

    @classmethod
    def side_by_side(cls, times: Iterable[StageTimes]) -> StageTimes:
        """Of lines that ran at the same time: the longest of their times, and how busy each stage was on the mean."""
        listed = list(times)
        mean = {f.name: sum(getattr(one, f.name) for one in listed) / max(len(listed), 1) for f in fields(cls)}
        return cls(**{**mean, "seconds": max((one.seconds for one in listed), default=0.0)})


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
        The first exception of any stage, with its traceback, after all threads have ended. StoppedError: a ring was
        stopped by someone else.
    """
    items: Channel[A] = Channel(capacity)
    results: Channel[B] = Channel(capacity)
    crew = _Crew([items, results, *rings])

    def feed() -> None:
        for item in source():
            items.put(item)
        items.close()

    def labour() -> None:
        crew.start("source", feed)
        crew.start("sink", consume)
        for result in work(iter(items)):
            results.put(result)
        items.require_end()
        results.close()

    def consume() -> None:
        sink(iter(results))
        results.require_end()

    began = time.perf_counter()
    crew.run("work", labour)
    crew.join()
    return StageTimes(
        seconds=time.perf_counter() - began,
        source_busy_seconds=crew.seconds["source"] - items.seconds_waiting_to_put,
        work_busy_seconds=crew.seconds["work"] - items.seconds_waiting_to_get - results.seconds_waiting_to_put,
        sink_busy_seconds=crew.seconds["sink"] - results.seconds_waiting_to_get,
    )


def run_side_by_side(lines: Sequence[Callable[[], None]], rings: Iterable[Channel[Any]]) -> None:
    """Run several lines of stages at once, the first in the calling thread, the others in threads of their own.

    Args:
        lines: each calls `run_stages`.
        rings: of all lines, at least one of each; they are stopped when a line fails, and end the others.

    Raises:
        The first exception of any line, with its traceback, after all threads have ended.
    """
    crew = _Crew(list(rings))

    def lead() -> None:
        for number, line in enumerate(lines[1:], 1):
            crew.start(f"line-{number}", line)
        lines[0]()

    crew.run("line-0", lead)
    crew.join()


class _Crew:
    """Stages that fail together: the first failure stops every channel, and `join` raises it."""

    def __init__(self, channels: list[Channel[Any]]) -> None:
        self.seconds: dict[str, float] = {}  # how long each stage ran, waiting included
        self._channels = channels
        self._threads: list[tuple[threading.Thread, threading.Event]] = []
        self._failures: list[BaseException] = []
        self._was_stopped = False

    def start(self, name: str, stage: Callable[[], None]) -> None:
        """Run a stage in a thread of its own.

        Raises:
            RuntimeError: the system grants no more threads.
        """
        ended = threading.Event()

        def run_to_the_end() -> None:
            try:
                self.run(name, stage)
            finally:
                ended.set()

        thread = threading.Thread(target=run_to_the_end, name=f"vidsr-{name}", daemon=True)
        thread.start()
        self._threads.append((thread, ended))  # only now: one that did not start would be waited for without end

    def run(self, name: str, stage: Callable[[], None]) -> None:
        """Run a stage in the calling thread; its failure is kept for `join`."""
        began = time.perf_counter()
        try:
            stage()
        except StoppedError:
            self._was_stopped = True
            self._stop()  # of a ring that was stopped from outside, the other stages do not know
        except BaseException as error:  # noqa: BLE001, raised again by `join`
            self._fail(error)
        self.seconds[name] = time.perf_counter() - began

    def join(self) -> None:
        """Wait for all threads, then raise the first failure. An interrupt while waiting counts as one."""
        for thread, ended in self._threads:
            # Not Thread.join at once: interrupted, it takes a running thread for a finished one (Python 3.11).
            while not ended.is_set():
                try:
                    ended.wait()
                except BaseException as error:  # noqa: BLE001, a KeyboardInterrupt or what a signal handler raises
                    self._fail(error)
            thread.join()
        if self._failures:
            raise self._failures[0]
        if self._was_stopped:
            raise StoppedError

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self._stop()

    def _stop(self) -> None:
        for channel in self._channels:
            channel.stop()
