"""What of a run is done: the plan in one file, written once, and a line for each finished segment in another."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vidsr.errors import ResumeError
from vidsr.files import appearing, append, sync_folder
from vidsr.pipeline.plan import Plan, Segment
from vidsr.pipeline.tally import Tally

_FORMAT = 2
_PLAN_NAME, _RECORDS_NAME = "plan.json", "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished segment, as it was when it was finished."""

    index: int
    tally: Tally  # of no frames: a damaged source yielded none, and there is no file
    num_bytes: int
    sha256: str
    seconds: float  # that it took
    tile_px: int  # side of the tiles that its last frame was computed in; 0 is whole

    @property
    def num_frames(self) -> int:
        return self.tally.num_frames


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the run of a work folder has come."""

    num_segments: int
    num_segments_done: int
    num_frames: int
    num_frames_done: int
    num_bytes_done: int
    frames_per_second: float | None  # of the segments that are done


class Journal:
    """The journal of one work folder; segments may be added from several threads.

    Args:
        plan: of this run. What the folder already holds must be of the same run.
        identity: everything that decides the pixels and the file, in words: the source, the weights, the options.

    Raises:
        ResumeError: the folder holds another run; the differences are named. OSError: it cannot be read or written.
    """

    def __init__(self, plan: Plan, identity: Mapping[str, str]) -> None:
        self._folder, self._plan = plan.work_folder, plan
        self._lock = threading.Lock()
        content = {"format": _FORMAT, "identity": dict(identity), "segments": [asdict(s) for s in plan.segments]}
        stored = read_plan(self._folder)
        if stored is None:  # nothing here, or a crash before anything could be done
            with appearing(self._folder / _PLAN_NAME) as part:
                part.write_text(json.dumps(content, indent=1), encoding="utf-8")
            sync_folder(self._folder.parent)  # the work folder is new as well
            (self._folder / _RECORDS_NAME).unlink(missing_ok=True)
        elif stored != content:
            raise ResumeError(_difference(stored, content, self._folder))
        self.records = self._sound_records()

    def _sound_records(self) -> dict[int, Record]:
        """Records whose segment file is still what it was; the others are to be made again."""
        found = read_records(self._folder)
        return {
            segment.index: found[segment.index]
            for segment in self._plan.segments
            if segment.index in found and _is_sound(self._plan.segment_path(segment), found[segment.index])
        }

    @property
    def remaining(self) -> list[Segment]:
        return [segment for segment in self._plan.segments if segment.index not in self.records]

    @property
    def num_frames(self) -> int:
        """Frames of all finished segments."""
        return sum(record.num_frames for record in self.records.values())

    @property
    def tally(self) -> Tally:
        """Of all finished segments, in their order: sums of floats depend on it."""
        return sum((self.records[index].tally for index in sorted(self.records)), Tally())

    def tile_px_near(self, segment: Segment) -> int | None:
        """Side of the tiles that the finished segment before one was made in, or else the first; None without any."""
        finished = [index for index in self.records if self.records[index].num_frames]
        earlier = [index for index in finished if index < segment.index]
        return self.records[max(earlier) if earlier else min(finished)].tile_px if finished else None

    def add(self, segment: Segment, tally: Tally, seconds: float, tile_px: int) -> None:
        """Note that a segment's file is complete and under its name; on disk when this returns."""
        path = self._plan.segment_path(segment)
        num_bytes, digest = _measure(path) if tally.num_frames else (0, "")
        record = Record(
            index=segment.index,
            tally=tally,
            num_bytes=num_bytes,
            sha256=digest,
            seconds=round(seconds, 3),
            tile_px=tile_px,
        )
        with self._lock:
            # A line that a crash cut short must not swallow this one.
            append(self._folder / _RECORDS_NAME, b"\n" + json.dumps(asdict(record)).encode() + b"\n")
            self.records = {**self.records, segment.index: record}  # whoever is reading the old one may go on


def clear(folder: Path) -> None:
    """Forget a work folder's run. Its files stay until they are written anew, but count no longer."""
    for name in (_PLAN_NAME, _RECORDS_NAME):
        (folder / name).unlink(missing_ok=True)


def read_plan(folder: Path) -> dict[str, object] | None:
    """The stored plan of a work folder; None if there is none that is whole."""
    try:
        content = json.loads((folder / _PLAN_NAME).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("format") == _FORMAT else None


def read_identity(folder: Path) -> dict[str, str]:
    """What the run of a work folder was begun with, in the words that `Journal` was given; empty if there is none."""
    stored = read_plan(folder)
    words = stored.get("identity") if stored is not None else None
    return {key: str(word) for key, word in words.items()} if isinstance(words, dict) else {}


def read_progress(folder: Path) -> Progress | None:
    """How far a work folder's run has come; None if there is none."""
    stored = read_plan(folder)
    segments = stored.get("segments") if stored is not None else None
    if not isinstance(segments, list):
        return None
    records = read_records(folder).values()
    num_frames, seconds = sum(record.num_frames for record in records), sum(record.seconds for record in records)
    return Progress(
        num_segments=len(segments),
        num_segments_done=len(records),
        num_frames=sum(segment["num_frames"] for segment in segments),
        num_frames_done=num_frames,
        num_bytes_done=sum(record.num_bytes for record in records),
        frames_per_second=num_frames / seconds if seconds else None,
    )


def read_records(folder: Path) -> dict[int, Record]:
    """All records of a work folder by segment; what a crash cut short is not one."""
    try:
        lines = (folder / _RECORDS_NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    records = {}
    for line in lines:
        try:
            fields = json.loads(line)
            tally = Tally(**{**fields["tally"], "drift_sum": tuple(fields["tally"]["drift_sum"])})
            record = Record(**{**fields, "tally": tally})
        except (ValueError, TypeError, KeyError):
            continue
        records[record.index] = record
    return records


def _is_sound(path: Path, record: Record) -> bool:
    if record.num_frames == 0:
        return True
    try:
        return _measure(path) == (record.num_bytes, record.sha256)
    except FileNotFoundError:
        return False


def _measure(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256) of a segment: a file, or a folder of pictures."""
    num_bytes, digest = 0, hashlib.sha256()
    for file_path in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file_path.open("rb") as file:
            digest.update(f"{file_path.name} ".encode() + hashlib.file_digest(file, "sha256").digest())
        num_bytes += file_path.stat().st_size
    return num_bytes, digest.hexdigest()


def _difference(stored: Mapping[str, object], wanted: Mapping[str, object], folder: Path) -> str:
    before, now = stored.get("identity"), wanted["identity"]
    assert isinstance(now, dict)
    before = before if isinstance(before, dict) else {}
    changed = [
        f"{key} was {before.get(key, 'not given')}, is {now.get(key, 'not given')}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    what = "; ".join(changed) or "its frames are cut otherwise"
    # Of what `auto` decides, the engine: it may be gone from this machine, or another was asked for by name.
    how = f" (--engine {before['engine']})" if before.get("engine", now.get("engine")) != now.get("engine") else ""
    return (
        f"{folder}: holds a run that was begun differently: {what}. "
        f"Run it as it was begun{how}, choose another target, or start over with --restart"
    )
