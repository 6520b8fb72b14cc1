"""A file appears whole, with its bytes on the disk, or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, once its bytes are on the disk."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
