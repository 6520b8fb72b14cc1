"""What fitted into memory once it had run out: kept for the next run on the same device, network and size."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from vidsr.store import cache_folder

# The oldest go when there are more.
_MAX_ENTRIES = 200


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What fits, and the memory that was free when more did not."""

    num_frames: int  # at once
    tile_px: int  # side; 0 is whole frames
    free_bytes: int

    def __post_init__(self) -> None:
        for value, smallest in ((self.num_frames, 1), (self.tile_px, 0), (self.free_bytes, 0)):
            if type(value) is not int or value < smallest:
                raise ValueError(f"{self}: not a limit")

    def holds(self, free_bytes: int) -> bool:
        """Whether more would not fit now either: not where a neighbour has gone that had taken the memory."""
        return free_bytes <= self.free_bytes + self.free_bytes // 4


def limits_path() -> Path:
    """The file; beside the weights, as VIDSR_CACHE names that folder and no other."""
    return cache_folder() / "limits.json"


def recall(key: str) -> Limit | None:
    """What was remembered under a name; None if nothing was, or the file cannot be read."""
    try:
        return Limit(**_read()[key])
    except (KeyError, TypeError, ValueError):
        return None


def remember(key: str, limit: Limit) -> None:
    """Keep a limit under a name. A folder that cannot be written to is let be: a run does not need the file.

    Of two processes that write at the same time one may overwrite the other's entry, but never the file with half.
    """
    path = limits_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = _read()
        entries.pop(key, None)
        entries[key] = asdict(limit)  # the newest last
        kept = dict(list(entries.items())[-_MAX_ENTRIES:])
        handle, part = tempfile.mkstemp(prefix=".limits", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=1)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise


def _read() -> dict[str, dict[str, int]]:
    """All entries; none where the file is missing, damaged or not to be read."""
    try:
        entries = json.loads(limits_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}
