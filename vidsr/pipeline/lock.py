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

_NAME = "lock"


@contextmanager
def only_one(folder: Path, target: Path) -> Iterator[None]:
    """Make a work folder and hold its lock while the block runs; the block may remove the folder.

    Args:
        folder: the work folder of the target.
        target: for the message.

    Raises:
        TargetBusyError: another process has it; says which, on which host.
    """
    with _open_locked(folder, target) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
        yield


def _open_locked(folder: Path, target: Path) -> BinaryIO:
    while True:
        folder.mkdir(exist_ok=True, parents=True)
        try:
            file = (folder / _NAME).open("a+b")
        except FileNotFoundError:  # the owner finished at this moment, and its folder went
            continue
        try:
            _take(file)
        except OSError:
            file.seek(0)
            owner = file.read(200).decode("utf-8", "replace").strip() or "another process"
            file.close()
            raise TargetBusyError(
                f"{target}: is being written by {owner}; wait for it, or choose another name"
            ) from None
        if _is_at(folder / _NAME, file):
            return file
        file.close()  # the lock of a folder that is gone


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _take(file: BinaryIO) -> None:
        file.seek(1 << 30)  # a locked byte cannot be read by others: one far behind the text
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
