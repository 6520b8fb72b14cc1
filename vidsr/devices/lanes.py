"""Frames across the bus: pinned host buffers that are reused, and copies that overlap the computation.

A lane is the seam between a device and the host; the CPU's lane copies in memory and keeps nothing in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from torch import Tensor

from vidsr.devices.stopwatch import Stopwatch


class Lane(Protocol):
    """Moves planes to a device and back."""

    pinned: bool
    depth: int  # batches that may be on their way at once
    one_shape: bool  # whether batches of another size cost more than to fill them up
    copy_in: Stopwatch
    compute: Stopwatch
    copy_out: Stopwatch

    def upload(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """Start copying host planes to the device; what `computing` runs afterwards sees them complete."""
        ...

    def computing(self) -> AbstractContextManager[object]:
        """Run the enclosed work after the uploads and before the downloads that were started around it."""
        ...

    def download(self, planes: Sequence[Tensor], into: Sequence[Tensor]) -> Callable[[], None]:
        """Start copying device planes to the host; the returned function waits until they are there."""
        ...


class HostLane:
    """The CPU's lane: the device is the host."""

    pinned = False
    depth = 0
    one_shape = False

    def __init__(self) -> None:
        self.copy_in, self.compute, self.copy_out = (Stopwatch(torch.device("cpu")) for _ in range(3))

    def upload(self, planes: Sequence[Tensor]) -> list[Tensor]:
        with self.copy_in.running():
            return list(planes)

    def computing(self) -> AbstractContextManager[object]:
        return self.compute.running()

    def download(self, planes: Sequence[Tensor], into: Sequence[Tensor]) -> Callable[[], None]:
        with self.copy_out.running():
            for plane, target in zip(planes, into, strict=True):
                target.copy_(plane)
        return _nothing_to_wait_for


class CudaLane:
    """A GPU's lane: one stream each for copying in, computing and copying out, ordered by events alone."""

    pinned = True
    depth = 2
    one_shape = True  # for each, cuDNN searches the fastest way of every layer, and graphs are recorded

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.copy_in, self.compute, self.copy_out = (Stopwatch(device) for _ in range(3))
        self._copy_in = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._compute = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._copy_out = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # All batches have one shape, so that cuDNN's search for the fastest way pays off.
        torch.backends.cudnn.benchmark = True

    def upload(self, planes: Sequence[Tensor]) -> list[Tensor]:
        with torch.cuda.stream(self._copy_in), self.copy_in.running():
            copies = [plane.to(self._device, non_blocking=True) for plane in planes]
        self._compute.wait_stream(self._copy_in)
        for copy in copies:
            # Else the allocator could hand the memory to the next upload while this one is still read.
            copy.record_stream(self._compute)
        return copies

    @contextmanager
    def computing(self) -> Iterator[None]:
        with torch.cuda.stream(self._compute), self.compute.running():
            yield

    def download(self, planes: Sequence[Tensor], into: Sequence[Tensor]) -> Callable[[], None]:
        self._copy_out.wait_stream(self._compute)
        with torch.cuda.stream(self._copy_out):
            with self.copy_out.running():
                for plane, target in zip(planes, into, strict=True):
                    target.copy_(plane, non_blocking=True)
                    plane.record_stream(self._copy_out)
            # Blocking: a host that spins while it waits would take a processor from the encoder.
            arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            arrived.record(self._copy_out)
        return arrived.synchronize


def open_lane(device: torch.device) -> Lane:
    return CudaLane(device) if device.type == "cuda" else HostLane()


def _nothing_to_wait_for() -> None:
    pass
