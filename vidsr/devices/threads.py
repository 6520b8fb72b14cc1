"""Threads of a process that several workers share on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_sharing = threading.local()  # num_workers: among how many the calling thread is


@contextmanager
def shared_threads(num_workers: int) -> Iterator[Callable[[], None]]:
    """Yields what each of several workers on the CPU calls in its own thread: together they use as many as one did."""
    before = torch.get_num_threads()

    def take_share() -> None:
        torch.set_num_threads(max(before // num_workers, 1))
        _sharing.num_workers = num_workers

    try:
        yield take_share
    finally:
        torch.set_num_threads(before)
        _sharing.num_workers = 1


def threads_of_engine(num_threads: int | None) -> int:
    """Threads for a call, from the calling thread, of an engine that has its own.

    Args:
        num_threads: that it was opened with, of which a worker that shares them gets its part; None: as many as
            PyTorch uses here, which is such a part already.
    """
    if num_threads is None:
        return torch.get_num_threads()
    return max(num_threads // getattr(_sharing, "num_workers", 1), 1)
