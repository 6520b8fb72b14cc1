"""Which FFmpeg libraries PyAV brought along."""

from __future__ import annotations

import av


def ffmpeg_versions() -> dict[str, str]:
    """Library name to version, e.g. {"libavcodec": "62.11.100"}."""
    return {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
