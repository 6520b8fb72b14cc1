"""Small JSON files beside the weights that remember what was found out about this machine; a run can do without."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidsr.files import appearing


def read_entries(path: Path) -> dict[str, Any] | None:
    """All entries by their key; empty where there is no file, None where it cannot be read or is damaged."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return entries if isinstance(entries, dict) else None


def keep_entry(path: Path, key: str, value: object, *, max_entries: int) -> None:
    """Put an entry under its key, as the newest; the oldest go where there are more than `max_entries`.

    A folder that cannot be written to is let be. Of two processes that write at the same time one may overwrite the
    other's entry, but never the file with half.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = read_entries(path) or {}
        entries.pop(key, None)
        entries[key] = value
        _write(path, dict(list(entries.items())[-max_entries:]))


def _write(path: Path, entries: Mapping[str, object]) -> None:
    handle, own_part = tempfile.mkstemp(prefix=f".{path.stem}", suffix=".part", dir=path.parent)
    os.close(handle)
    with appearing(path, Path(own_part)) as part:
        part.write_text(json.dumps(entries, indent=1), encoding="utf-8")


def cache_folder() -> Path:
    """The user's folder for weights: VIDSR_CACHE, or the place that the system has for such files."""
    if chosen := os.environ.get("VIDSR_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        # The XDG specification has relative paths ignored.
        named = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = named if named.is_absolute() else Path.home() / ".cache"
    return base / "vidsr" / "weights"
