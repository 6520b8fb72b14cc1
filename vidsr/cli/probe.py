"""`vidsr probe`: what was read from a file and what was guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.exits import exits
from vidsr.frames import MATRIX_NAMES, PRIMARIES_NAMES, TRANSFER_NAMES
from vidsr.media.probe import SourceInfo
from vidsr.media.source import probe


@exits
def command(
    source: Annotated[Path, typer.Argument(help="A video file, or an image sequence.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a file holds, as vidsr reads it, and what it had to guess."""
    facts = _facts(probe(source))
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        for line in value if isinstance(value, list) else [value]:
            print(f"{name.replace('_', ' '):<18} {line}")


def _origin_of_times(info: SourceInfo) -> str:
    if info.sequence is None:
        return "from the file" if info.has_timestamps else "made up: the file has none"
    sequence = info.sequence
    missing = sequence.missing(sequence.first, sequence.numbers[-1] + 1)
    numbers = f"numbers {sequence.first} to {sequence.numbers[-1]} of {sequence.pattern.path.name}"
    return numbers if missing is None else f"{numbers}; {missing}"


def _facts(info: SourceInfo) -> dict[str, object]:
    video = info.video
    picture, color = video.picture, video.picture.color
    deltas = {b - a for a, b in zip(info.pts, info.pts[1:], strict=False)}
    base = video.time_base

    def said(name: str, value: str) -> str:
        return f"{value} (guessed: the file does not say)" if name in color.guessed else value

    return {
        "file": str(info.path),
        "container": info.container,
        "stream": video.stream_index,
        "video": f"{video.codec}, {picture.width}x{picture.height}, {video.source_pix_fmt}",
        "read_as": picture.layout.name,
        "matrix": said("matrix", MATRIX_NAMES.get(color.matrix, str(color.matrix))),
        "range": said("range", "full" if color.full_range else "limited"),
        "chroma_siting": said("siting", color.siting),
        "primaries": said("primaries", PRIMARIES_NAMES.get(color.primaries, str(color.primaries))),
        "transfer": said("transfer", TRANSFER_NAMES.get(color.transfer, str(color.transfer))),
        "sample_aspect": f"{video.sample_aspect_ratio.numerator}:{video.sample_aspect_ratio.denominator}",
        "rotation_degrees": video.rotation_degrees,
        "interlaced": info.is_interlaced,
        "unkept": list(info.unkept),
        "captions": sorted(info.captions),
        "time_base": str(base),
        "rate_from_header": None if video.average_rate is None else round(float(video.average_rate), 4),
        # A millisecond clock cannot tell 33 from 34; more than one tick apart is another matter.
        "rate": "constant" if not deltas or max(deltas) - min(deltas) <= 1 else "variable",
        "frames_from_index": video.num_frames_from_index,
        "first_time_seconds": None if video.first_pts is None else float(video.first_pts * base),
        "duration_seconds": None if video.duration_seconds is None else round(video.duration_seconds, 4),
        "time_stamps": _origin_of_times(info),
        "other_streams": [
            f"{stream.index}: {stream.kind}, {stream.codec}"
            + "".join(f", {word}" for word in (stream.language, stream.title) if word)
            for stream in info.others
        ],
        "chapters": info.num_chapters,
        "tags": [f"{key}={value}" for key, value in info.tags.items()],
    }
