"""What FFmpeg and the file system raise, as errors that name the target."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from vidsr.errors import DiskFullError, TargetError, VidsrError


@contextmanager
def target_errors(path: Path) -> Iterator[None]:
    """Turn what FFmpeg and the file system raise into errors that name the target."""
    try:
        yield
    except VidsrError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"{path.parent}: the disk is full; make space there and run the same command again"
            ) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise TargetError(f"{path}: cannot be written ({reason})") from error
