"""A file appears whole, on the disk together with its name, or not at all."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What systems say that cannot put a folder on the disk, or not for this user: they order renames on their own, or
# nobody can. Anything else, such as EIO and ENOSPC, is a name that may be gone after a power cut.
_NO_FOLDER_SYNC = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)


def part_path(path: Path) -> Path:
    """Where a file is written until it is complete: beside its place, so that giving it its name moves no bytes."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def appearing(path: Path, part: Path | None = None) -> Iterator[Path]:
    """A name to write a file under, which becomes `path` when the block ends well; the part goes if it does not.

    What is at `path` stays until then, and forever if anything fails before the new file takes its place.

    Args:
        path: the file to be.
        part: the name to write under, on the same file system; None is `part_path(path)`. Where others may write the
            same file at the same time each needs its own.

    Raises:
        OSError: the file cannot be put on the disk, or not get its name.
    """
    part = part_path(path) if part is None else part
    try:
        yield part
        publish(part, path)
    except BaseException:
        with suppress(OSError):  # the failure that led here is the one to report
            part.unlink(missing_ok=True)
        raise


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, on the same file system: first its bytes are on the disk, at the end its name.

    Raises:
        OSError: one of the steps failed. Unless it was the last, what was at `path` is there as before.
    """
    give_name(part, path)
    sync_folder(path.parent)


def give_name(part: Path, path: Path) -> None:
    """`publish` for one of many files: their names are on the disk after one `sync_folder` for all of them."""
    sync(part)
    part.replace(path)


def append(path: Path, data: bytes) -> None:
    """Put bytes at the end of a file, which is made if there is none; they are on the disk when this returns.

    A crash may leave any number of the bytes, from the first on.
    """
    with path.open("ab") as file:
        is_new = file.tell() == 0
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


def sync(path: Path) -> None:
    """Put the bytes of a file on the disk."""
    with path.open("rb+") as file:  # some systems want it open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system knows how to.

    Raises:
        OSError: it knows, and failed.
    """
    if sys.platform == "win32":  # opens no folders
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
