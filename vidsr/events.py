"""What a run tells its caller while it works; the command line draws it, a library user may ignore it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Started:
    """The plan of one run, before its first frame."""

    source: Path
    target: Path
    source_size: tuple[int, int]  # width, height in pixels
    target_size: tuple[int, int]
    num_frames_expected: int | None  # from the packets, None where the source does not tell
    model: str
    model_reason: str  # why this model: asked for, or how `auto` chose
    device: str
    engine: str  # what runs the network; none for classical models
    engine_reason: str  # why this engine: asked for, or how `auto` chose; empty for none
    codec: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Frames that have left the encoder's queue so far."""

    num_frames_done: int
    num_frames_expected: int | None
    seconds_elapsed: float
    num_frames_before: int = 0  # of those done, by earlier runs that were interrupted

    @property
    def frames_per_second(self) -> float:
        num_frames = self.num_frames_done - self.num_frames_before
        return num_frames / self.seconds_elapsed if self.seconds_elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        if not self.num_frames_expected or not self.frames_per_second:
            return None
        return max(self.num_frames_expected - self.num_frames_done, 0) / self.frames_per_second


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One line the user should see: something guessed, changed, damaged or left out."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Downloading:
    """Bytes of a weights file that have arrived."""

    name: str
    num_bytes_done: int
    num_bytes_total: int


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The target is complete under its final name."""

    target: Path
    num_frames: int
    seconds_elapsed: float
    color_drift: tuple[float, float, float]  # mean R', G', B' of the result less the source's, in levels of 255
    num_recomputed: int  # frames that were no picture at first and were computed again in fp32
    num_repeated: int  # frames that equal the one before and took its result
    num_partly: int  # frames of which only what differs from the one before was computed


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The target was read again and compared with its source, without decoding all of it."""

    target: Path
    passed: bool
    text: str  # what was compared, or what is wrong


Event = Started | Progress | Notice | Downloading | Finished | Checked
OnEvent = Callable[[Event], None]


def one_at_a_time(on_event: OnEvent) -> OnEvent:
    """The same callback, which threads that come at the same time enter one after the other."""
    lock = threading.Lock()

    def call(event: Event) -> None:
        with lock:
            on_event(event)

    return call


def ignore(event: Event) -> None:
    """The callback of callers who want no events."""
