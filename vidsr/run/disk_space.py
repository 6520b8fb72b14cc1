"""Disk space: what a run will take by estimate, and whether there is as much."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from vidsr.pipeline.journal import Record
from vidsr.run.prepare import Prepared

# Of the raw samples: what lossless encoders leave of film, and what the others leave at their default quality.
_LOSSLESS_SHARE, _LOSSY_SHARE = 0.5, 0.03
_LOSSLESS = frozenset({"ffv1", "png", "tiff", "exr", "dpx"})
_PRORES_SHARE = 0.15


def expected_bytes(prepared: Prepared, finished: Iterable[Record] = ()) -> int:
    """Bytes that a run will still write: the segments that are left, and all of them once more when they are joined.

    By the finished segments where there are any; before that by what such encoders usually leave.
    """
    records = [record for record in finished if record.num_frames]
    num_done = sum(record.num_frames for record in records)
    num_frames = prepared.plan.num_frames_expected
    if records:
        per_frame = sum(record.num_bytes for record in records) / num_done
    else:
        name = prepared.encoder.name
        share = _LOSSLESS_SHARE if name in _LOSSLESS else _PRORES_SHARE if name == "prores_ks" else _LOSSY_SHARE
        per_frame = share * prepared.picture.num_bytes
    num_copies = 1 if prepared.pictures is None else 0  # pictures are linked, not copied
    return round(per_frame * (num_frames - num_done + num_copies * num_frames))


def shortage(prepared: Prepared, finished: Iterable[Record] = ()) -> str | None:
    """A line for the user if the target's disk has less room than the run is expected to take; None if it has."""
    needed, free = expected_bytes(prepared, finished), _free_bytes(prepared.target.parent)
    if free >= needed:
        return None
    return (
        f"about {_in_words(needed)} more are needed in {prepared.target.parent}, {_in_words(free)} are free; "
        "if the disk fills up, make space and run the same command again"
    )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():  # of an image sequence, made later
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{max(num_bytes / 1e6, 0.1):.1f} MB"
