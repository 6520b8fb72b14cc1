"""`vidsr probe`: what was read from a file and what was guessed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.exits import exits
from vidsr.cli.machine_output import json_line, plain
from vidsr.frames import MATRIX_NAMES, PRIMARIES_NAMES, TRANSFER_NAMES
from vidsr.media.hdr import HdrMetadata
from vidsr.media.read.fields import Scan
from vidsr.media.read.probe import SourceInfo
from vidsr.media.read.source import probe, recognise_fields


@exits
def command(
    source: Annotated[Path, typer.Argument(help="A video file, or an image sequence.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a file holds, as vidsr reads it, and what it had to guess."""
    info = probe(source)
    scan = recognise_fields(info)
    values = _values(info, scan)
    if as_json:
        print(json_line(values))
        return
    for name, value in _facts(info, scan, values).items():
        if name == "scan_warning" and value is None:
            continue
        for line in value if isinstance(value, list) else [value]:
            print(f"{name.replace('_', ' '):<18} {line}")


def _origin_of_times(info: SourceInfo) -> str:
    if info.sequence is None:
        return "from the file" if info.has_timestamps else "by the order of frames: the file has none of its own"
    sequence = info.sequence
    missing = sequence.missing(sequence.first, sequence.numbers[-1] + 1)
    numbers = f"numbers {sequence.first} to {sequence.numbers[-1]} of {sequence.pattern.path.name}"
    return numbers if missing is None else f"{numbers}; {missing}"


def _values(info: SourceInfo, scan: Scan) -> dict[str, object]:
    """What programs get: numbers and words, and nothing to be parsed."""
    video, sequence = info.video, info.sequence
    picture, color = video.picture, video.picture.color
    return {
        "kind": "probe",
        "file": info.path,
        "container": info.container,
        "stream": video.stream_index,
        "codec": video.codec,
        "width": picture.width,
        "height": picture.height,
        "pix_fmt": video.source_pix_fmt,
        "read_as": picture.layout.name,
        "matrix": MATRIX_NAMES.get(color.matrix, str(color.matrix)),
        "range": "full" if color.full_range else "limited",
        "chroma_siting": color.siting,
        "primaries": PRIMARIES_NAMES.get(color.primaries, str(color.primaries)),
        "transfer": TRANSFER_NAMES.get(color.transfer, str(color.transfer)),
        "guessed": color.guessed,
        "sample_aspect": video.sample_aspect_ratio,
        "cropped": info.crop,
        "rotation_degrees": video.rotation_degrees,
        "scan": scan,
        "hdr10": info.hdr,
        "stereo": info.stereo,
        "spherical": info.sphere is not None,
        "unkept": info.unkept,
        "captions": info.captions,
        "time_base": video.time_base,
        "rate_from_header": video.average_rate,
        "rate": _rate(info),
        "frames_from_index": video.num_frames_from_index,
        "first_time_seconds": None if video.first_pts is None else float(video.first_pts * video.time_base),
        "duration_seconds": None if video.duration_seconds is None else round(video.duration_seconds, 4),
        "has_time_stamps": info.has_timestamps,
        "first_number": None if sequence is None else sequence.first,
        "last_number": None if sequence is None else sequence.numbers[-1],
        "other_streams": [
            {key: getattr(stream, key) for key in ("index", "kind", "codec", "language", "title")}
            for stream in info.others
        ],
        "num_chapters": info.num_chapters,
        "tags": info.tags,
    }


def _rate(info: SourceInfo) -> str:
    deltas = {b - a for a, b in zip(info.pts, info.pts[1:], strict=False)}
    # A millisecond clock cannot tell 33 from 34; more than one tick apart is another matter.
    return "constant" if not deltas or max(deltas) - min(deltas) <= 1 else "variable"


def _facts(info: SourceInfo, scan: Scan, values: Mapping[str, object]) -> dict[str, object]:
    """The same for people: sentences where a value alone says little."""
    video, guessed = info.video, info.video.picture.color.guessed

    def said(name: str, short: str | None = None) -> str:
        return f"{values[name]} (guessed: the file does not say)" if (short or name) in guessed else str(values[name])

    def as_it_is(*names: str) -> dict[str, object]:
        return {name: values[name] for name in names}

    return {
        **as_it_is("file", "container", "stream"),
        "video": "{codec}, {width}x{height}, {pix_fmt}".format_map(values),
        **as_it_is("read_as"),
        "matrix": said("matrix"),
        "range": said("range"),
        "chroma_siting": said("chroma_siting", "siting"),
        "primaries": said("primaries"),
        "transfer": said("transfer"),
        "sample_aspect": f"{video.sample_aspect_ratio.numerator}:{video.sample_aspect_ratio.denominator}",
        "cropped": plain(info.crop),
        **as_it_is("rotation_degrees"),
        "scan": scan,
        "scan_warning": scan.warning,
        "flagged_as": scan.flagged if scan.flagged_order is None else f"{scan.flagged} {scan.flagged_order}",
        "hdr10": _hdr_lines(info.hdr),
        "views": _view_lines(info),
        "unkept": list(info.unkept),
        "captions": sorted(info.captions),
        "time_base": video.time_base,
        "rate_from_header": None if video.average_rate is None else round(float(video.average_rate), 4),
        **as_it_is("rate", "frames_from_index", "first_time_seconds", "duration_seconds"),
        "time_stamps": _origin_of_times(info),
        "other_streams": [
            f"{stream.index}: {stream.kind}, {stream.codec}"
            + "".join(f", {word}" for word in (stream.language, stream.title) if word)
            for stream in info.others
        ],
        "chapters": info.num_chapters,
        "tags": [f"{key}={value}" for key, value in info.tags.items()],
    }


def _hdr_lines(hdr: HdrMetadata | None) -> list[str]:
    if hdr is None:
        return []
    lines = []
    if hdr.primaries is not None:
        colours = (hdr.primaries.red, hdr.primaries.green, hdr.primaries.blue, hdr.primaries.white)
        values = " ".join(f"({float(x):.5g}, {float(y):.5g})" for x, y in colours)
        lines.append(f"mastering display: red, green, blue, white at {values}")
    if hdr.luminance is not None:
        darkest, brightest = map(float, hdr.luminance)
        lines.append(f"mastering display: {darkest:g} to {brightest:g} cd/m2")
    if hdr.max_cll is not None:
        lines.append(f"content light level: {hdr.max_cll} cd/m2 at most, {hdr.max_fall} in the mean of a frame")
    return lines


def _view_lines(info: SourceInfo) -> list[str]:
    lines = []
    if info.stereo is not None:
        lines.append(f"stereo, {info.stereo.kind}, {'right' if info.stereo.right_first else 'left'} eye first")
    if info.sphere is not None:
        lines.append("spherical, equirectangular")
    return lines
