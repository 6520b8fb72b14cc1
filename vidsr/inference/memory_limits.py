"""What fitted into memory once it had run out: kept for the next run on the same device, network and size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from vidsr.cache import cache_folder, keep_entry, read_entries

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
        return Limit(**(read_entries(limits_path()) or {})[key])
    except (KeyError, TypeError, ValueError):
        return None


def remember(key: str, limit: Limit) -> None:
    """Keep a limit under a name. A folder that cannot be written to is let be: a run does not need the file."""
    keep_entry(limits_path(), key, asdict(limit), max_entries=_MAX_ENTRIES)
