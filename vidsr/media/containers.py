"""Containers by what people call them: suffixes and options."""

from __future__ import annotations

from pathlib import Path

from vidsr.errors import UsageError

CONTAINERS_BY_OPTION = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}


def container_of(target: Path) -> str:
    """FFmpeg's name of the format that a suffix means.

    Raises:
        UsageError: no container has that suffix.
    """
    if target.suffix.lower() not in CONTAINERS:
        raise UsageError(f"{target}: the suffix says the container; use one of {', '.join(CONTAINERS)}")
    return CONTAINERS[target.suffix.lower()]
