"""One process per target: a lock that the system takes back when its owner dies."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vidsr.errors import TargetBusyError


@contextmanager
def only_one(lock_path: Path, target: Path) -> Iterator[None]:
    """Hold the lock of a target while the block runs.

    Args:
        lock_path: the lock's file, made if missing. It stays: removing it would let two owners in.
        target: for the message.

    Raises:
        TargetBusyError: another process has it; says which, on which host.
    """
    with lock_path.open("a+b") as file:
        try:
            _take(file)
        except OSError:
            file.seek(0)
            owner = file.read(200).decode("utf-8", "replace").strip() or "another process"
            raise TargetBusyError(
                f"{target}: is being written by {owner}; wait for it, or choose another name"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


if sys.platform == "win32":
    import msvcrt

    def _take(file: BinaryIO) -> None:
        file.seek(1 << 30)  # a locked byte cannot be read by others: one far behind the text
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
