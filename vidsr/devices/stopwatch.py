"""How long a device was at a piece of work: by the clock on the CPU, by events on CUDA."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the time of the enclosed work on one device; nothing waits for it. Belongs to one thread.

    On CUDA that is the time between two events on the stream that is current, so that what other streams do
    meanwhile does not count.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._on_their_way: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the work that the enclosed block starts."""
        if self._device.type != "cuda":
            began = time.perf_counter()
            try:
                yield
            finally:
                self._seconds += time.perf_counter() - began
            return
        stream = torch.cuda.current_stream(self._device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record(stream)
        yield
        end.record(stream)
        self._on_their_way.append((begin, end))
        while self._on_their_way and self._on_their_way[0][1].query():  # type: ignore[no-untyped-call]
            self._add_oldest()

    @property
    def seconds(self) -> float:
        """All of it so far; on CUDA this waits for what is still running."""
        while self._on_their_way:
            self._on_their_way[0][1].synchronize()
            self._add_oldest()
        return self._seconds

    def _add_oldest(self) -> None:
        begin, end = self._on_their_way.popleft()
        self._seconds += begin.elapsed_time(end) / 1000
