"""Signals to a run: SIGTERM and Ctrl-C become exceptions, and end the program even where none can be raised."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143

# From a signal that asks for the end to the end, whatever the device or a library is doing. A segment that is being
# written is lost then, as after a power cut; those that are finished are not.
GRACE_SECONDS = 4.0


class TerminatedError(BaseException):
    """SIGTERM arrived. Not an Exception, so that nothing on the way mistakes it for a failure."""


@contextmanager
def ends_when_told() -> Iterator[None]:
    """Let SIGTERM raise TerminatedError, and see that it and a second Ctrl-C end the program while the block runs.

    Python runs its handlers between two steps of its own, and one call into a network may take minutes, or for ever on
    a device that hangs. A thread that hears of each signal at once ends the program if nothing else has after
    GRACE_SECONDS. Outside the main thread, where Python takes no handlers, the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    wakeup_before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(receiver, ended), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup_before)
        sender.close()
        watcher.join()
        receiver.close()
        signal.signal(signal.SIGTERM, before)


def _watch(receiver: socket.socket, ended: threading.Event) -> None:
    num_interrupts = 0
    while numbers := receiver.recv(16):  # nothing: the block has ended
        num_interrupts += numbers.count(signal.SIGINT)
        if signal.SIGTERM in numbers or num_interrupts > 1:
            code = TERMINATED if signal.SIGTERM in numbers else INTERRUPTED
            if not ended.wait(GRACE_SECONDS):
                print("vidsr: ended at once: the call that was running did not return", file=sys.stderr, flush=True)
                os._exit(code)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise TerminatedError


@contextmanager
def stops_on_interrupt(request_stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C ask for a stop, and the second one stop at once, while the block runs."""

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        request_stop()
        print("vidsr: stops after this segment; Ctrl-C again stops now", file=sys.stderr)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
