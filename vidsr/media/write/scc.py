"""Captions in a file beside the video, where its codec has no place for them: Scenarist Closed Caption V1.0.

The format holds the CEA-608 pairs of field 1, one pair for each frame of 29.97 Hz video whatever the rate of the
picture. Times are written with dropped frame numbers, as only these keep up with the clock: readers that know the
mark and readers that do not then agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from vidsr.files import appearing
from vidsr.media.captions import CAPTION_KINDS, triplets
from vidsr.media.timecode import timecode_of

SCC_KIND = CAPTION_KINDS[0]  # all that the format holds

_HEADER = "Scenarist_SCC V1.0"
_RATE = Fraction(30000, 1001)
_PAIRS_PER_LINE = 32  # readers have line buffers


def scc_text(frames: Iterable[tuple[Fraction, bytes]]) -> str | None:
    """The file for the captions of frames in order; None if none of them is of field 1.

    Args:
        frames: (seconds on the player's clock, caption triplets) of each frame that has captions.
    """
    lines: list[str] = []
    line_length, next_slot = 0, -1
    for seconds, captions in frames:
        for kind, pair in triplets(captions):
            if kind != 0:
                continue
            # Slower pictures bring several pairs each, which follow each other in the file.
            slot = max(round(seconds * _RATE), next_slot, 0)
            if slot != next_slot or line_length == _PAIRS_PER_LINE:
                lines.append(f"{timecode_of(slot, 30, drop_frame=True)}\t{pair.hex()}")
                line_length = 1
            else:
                lines[-1] += f" {pair.hex()}"
                line_length += 1
            next_slot = slot + 1
    return "\n\n".join([_HEADER, *lines]) + "\n" if lines else None


def record_path(segment: Path) -> Path:
    """Where the captions of a segment are kept until the file is made."""
    return segment.with_suffix(".captions")


def write_record(path: Path, frames: Iterable[tuple[int, bytes]]) -> None:
    """Keep (pts, caption triplets) of a segment's frames, safely on the disk."""
    with appearing(path) as part, part.open("w", encoding="ascii") as file:
        file.writelines(f"{pts} {captions.hex()}\n" for pts, captions in frames)


def read_record(path: Path) -> Iterator[tuple[int, bytes]]:
    """What `write_record` kept; nothing if the segment had no captions."""
    if path.exists():
        with path.open(encoding="ascii") as file:
            for line in file:
                pts, captions = line.split()
                yield int(pts), bytes.fromhex(captions)
