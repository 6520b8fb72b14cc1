"""Runs a folder of real files through upscale and verify, and says case by case what came of each.

    python benchmarks/compatibility.py --media FOLDER --write docs/compatibility.md

The folder has an INDEX.json that says what another reader (ffprobe) saw of each file. Every readable file must come
out as verify and the index want it; every unreadable one must get an error of one line. The exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidsr.errors import SourceError, VidsrError
from vidsr.frames import UNSPECIFIED
from vidsr.judge.verdict import Verdict
from vidsr.judge.verify import verify
from vidsr.media.survey.survey import survey
from vidsr.media.versions import ffmpeg_versions
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.targets.video import default_target
from vidsr.run.upscale import upscale_video

Entry = dict[str, Any]
_SMALL_WIDTH = 400  # what is larger is not enlarged: the whole run should take minutes
_INDEX_ROUNDING = Fraction(1, 10**6)  # its times have six decimals
_NO_TIMES = ("h264", "image2")  # formats whose times are made up

_PEERS = """Other programs fail rows of these tables too; what is known of them, by version:

- **F**: framelift-video 2.1 writes H.264 in MP4 with 8 bits, at a constant frame rate, without colour tags, sample
  aspect ratio or subtitles. Marked: variable rate, more than 8 bits, stated colours, non-square pixels, subtitles.
- **V**: video2x 6.4 never flushes its decoder and loses the last frames (23 of 25). Marked: files with B-frames,
  whose last frames come out of the decoder only then.
- **R**: Real-ESRGAN's own video script (2024) writes a constant frame rate. Marked: variable rate.
"""


@dataclass
class Row:
    """What came of one file."""

    entry: Entry
    target: str = ""
    verdict: Verdict | None = None
    refusal: str = ""  # the error's one line
    faults: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="a folder with an INDEX.json")
    parser.add_argument("--write", type=Path, help="the page to write")
    parser.add_argument("--only", nargs="*", help="parts of file names")
    arguments = parser.parse_args()
    entries = json.loads((arguments.media / "INDEX.json").read_text(encoding="utf-8"))
    if arguments.only:
        entries = [entry for entry in entries if any(part in entry["file"] for part in arguments.only)]
    tables: dict[str, list[Row]] = {}
    for model in ("nearest", "lanczos"):
        tables[model] = []
        for entry in entries:
            row = run(arguments.media, entry, model)
            tables[model].append(row)
            print(f"{'ok ' if row.is_right else 'BAD'} {model} {entry['file']}: {outcome(row)}", flush=True)
    wrong = [row for rows in tables.values() for row in rows if not row.is_right]
    total = sum(len(rows) for rows in tables.values())
    print(f"{total - len(wrong)} of {total} cases right")
    if arguments.write is not None:
        arguments.write.write_text(page(tables), encoding="utf-8")
        print(f"wrote {arguments.write}")
    sys.exit(1 if wrong else 0)


def run(media: Path, entry: Entry, model: str) -> Row:
    """Upscale and judge one file: with `nearest` to a file like itself, with `lanczos` to Matroska."""
    source = media / entry["file"]
    stated = entry.get("video0") or {}
    is_readable = bool(stated.get("frames_decoded"))
    scale = 2 if is_readable and _stated_size(entry)[0] <= _SMALL_WIDTH else 1
    options = UpscaleOptions(scale=Fraction(scale), model=model, device="cpu", preset="ultrafast", crf=24)
    row = Row(entry)
    with tempfile.TemporaryDirectory() as folder:
        suffix = default_target(source, options).suffix if model == "nearest" else ".mkv"
        target = Path(folder) / f"out{suffix}"
        row.target = f"{suffix} {scale}x"
        try:
            upscale_video(source, target, options)
            row.verdict = verify(source, target)
            if is_readable:
                row.faults += [str(check) for check in row.verdict.of("wrong")]
                row.faults += list(_against_index(entry, target, scale, row.verdict))
            else:
                row.faults.append("the index says that nothing is readable, but something came out")
        except VidsrError as error:
            row.refusal = str(error).replace(f"{source}: ", "").replace(str(media), "").replace(folder, "")
            if is_readable or not isinstance(error, SourceError) or "\n" in str(error):
                row.faults.append(f"{type(error).__name__}: {row.refusal}")
    return row


def _stated_size(entry: Entry) -> tuple[int, int]:
    width, height = next(iter(entry["video0"]["frame_sizes"])).split("@")[0].split("x")
    return int(width), int(height)


def _against_index(entry: Entry, target: Path, scale: int, verdict: Verdict) -> list[str]:
    """What the output has otherwise than the index says of the source."""
    stated = entry["video0"]
    faults = []
    found = survey(target)
    if verdict.num_frames != stated["frames_decoded"]:
        faults.append(f"{verdict.num_frames} frames; the index has {stated['frames_decoded']}")
    width, height = (side * scale for side in _stated_size(entry))
    if abs(found.picture.width - width) > width % 2 or abs(found.picture.height - height) > height % 2:
        faults.append(f"{found.picture.width}x{found.picture.height}; from the index {width}x{height}")
    if found.picture.matrix == UNSPECIFIED or found.picture.full_range is None:
        faults.append("the output does not say what its colours mean")
    aspect = next(iter(stated["frame_sizes"])).split("sar")[-1]
    if ":" in aspect and found.picture.sample_aspect_ratio != Fraction(aspect.replace(":", "/")):
        faults.append(f"pixels of {found.picture.sample_aspect_ratio}; the index has {aspect}")
    faults += _times_against_index(entry, [pts * found.picture.time_base for pts in found.picture.pts])
    judged = {check.name.split(" ")[1] for check in verdict.checks if check.name.startswith("stream ")}
    for stream in entry["streams"]:
        index, packets = stream["index"], int(stream.get("nb_read_packets", 0))
        # GoPro's fdsc has 943 samples, of which no reader makes packets.
        is_told_elsewhere = stream.get("codec_tag_string") in ("tmcd", "fdsc")
        if index != _main_index(entry) and packets and not is_told_elsewhere and str(index) not in judged:
            faults.append(f"stream {index} of the index was not judged")
    return faults


def _times_against_index(entry: Entry, times: list[Fraction]) -> list[str]:
    stated = entry["video0"]["pts_time"]
    if entry["format"]["format_name"] in _NO_TIMES or len(stated) != len(times):
        return []  # a wrong number is told already
    differences = [time - Fraction(text) for time, text in zip(times, stated, strict=True)]
    spread = max(differences) - min(differences)  # what moves all of them is judged with the sound
    allowed = Fraction(1, 1000) + 2 * _INDEX_ROUNDING
    return [f"times are uneven by {float(spread) * 1000:.2f} ms against the index"] if spread > allowed else []


def _main_index(entry: Entry) -> int:
    videos = [s for s in entry["streams"] if s["codec_type"] == "video" and not s["disposition"].get("attached_pic")]
    return int(videos[0]["index"])


def outcome(row: Row) -> str:
    """The last column."""
    if row.faults:
        return "**FAILED**: " + "; ".join(row.faults)
    if row.verdict is None:
        return f"refused: {row.refusal}"
    lost = row.verdict.of("lost")
    if not lost:
        return "passed, nothing lost"
    return "passed; lost: " + "; ".join(f"{check.name}: {check.found}" for check in lost)


def page(tables: dict[str, list[Row]]) -> str:
    """The whole page as Markdown."""
    rows = [row for table in tables.values() for row in table]
    right = sum(row.is_right for row in rows)
    parts = [
        "# Compatibility",
        "",
        "Real files, most of them odd, run through `vidsr upscale` and judged by `vidsr verify`, which decodes every "
        "frame of source and output again, and by what another program (ffprobe) saw of each source. This page is "
        "written by `python benchmarks/compatibility.py --media FOLDER --write docs/compatibility.md`.",
        "",
        f"{right} of {len(rows)} cases are right: a readable file passes, an unreadable one is refused with the "
        f"reason. FFmpeg: {', '.join(f'{k} {v}' for k, v in sorted(ffmpeg_versions().items()))}.",
        "",
        '"Time error" is the greatest of all frames after a move that all streams share; half a tick of the coarser '
        'clock (0.5 ms in Matroska) is rounding. "Sound" is the greatest move of a sound against the picture.',
        "",
        _PEERS,
    ]
    titles = {"nearest": "To a file like the source, with `nearest`", "lanczos": "To Matroska, with `lanczos`"}
    for model, table in tables.items():
        parts += [f"## {titles[model]}", ""]
        parts += ["| file | what is odd | target | frames | time error | sound | streams | result | peers that fail |"]
        parts += ["|---|---|---|---|---|---|---|---|---|"]
        parts += ["| " + " | ".join(cell.replace("|", "/") for cell in _cells(row)) + " |" for row in table]
        parts.append("")
    return "\n".join(parts)


def _cells(row: Row) -> list[str]:
    entry, verdict = row.entry, row.verdict
    odd = entry["stress"].split(" ", 1)[-1]
    if verdict is None:
        return [f"`{entry['file']}`", odd, "", "", "", "", "", outcome(row), ""]
    streams = [check for check in verdict.checks if check.name.startswith("stream ")]
    kept = sum(check.found != "not there" for check in streams)
    time_error = "" if verdict.time_error_seconds is None else f"{verdict.time_error_seconds * 1000:.3g} ms"
    sound = "" if verdict.sound_error_seconds is None else f"{verdict.sound_error_seconds * 1000:.3g} ms"
    return [
        f"`{entry['file']}`",
        odd,
        row.target,
        str(verdict.num_frames),
        time_error,
        sound,
        f"{kept} of {len(streams)}" if streams else "",
        outcome(row),
        _failing_peers(entry),
    ]


def _failing_peers(entry: Entry) -> str:
    stream = entry["streams"][[s["index"] for s in entry["streams"]].index(_main_index(entry))]
    steps = [int(step) for step in entry["video0"].get("pts_deltas", {})]
    variable = bool(steps) and max(steps) - min(steps) > 1
    deep = any(depth in stream.get("pix_fmt", "") for depth in ("10", "12", "16", "48", "f32"))
    tagged = stream.get("color_space", "unknown") != "unknown"
    shape = stream.get("sample_aspect_ratio", "1:1") not in ("1:1", "0:1")
    texts = any(other["codec_type"] == "subtitle" for other in entry["streams"])
    letters = ["F"] * (variable or deep or tagged or shape or texts)
    letters += ["V"] * (stream.get("has_b_frames", 0) > 0) + ["R"] * variable
    return " ".join(letters)


if __name__ == "__main__":
    main()
