"""`vidsr upscale`: files and folders in, larger files out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.cli.arguments import takes_options
from vidsr.cli.exits import exits, report
from vidsr.cli.interrupts import INTERRUPTED, stops_on_interrupt
from vidsr.cli.machine_output import json_line
from vidsr.cli.progress import make_drawer
from vidsr.errors import RunStoppedError, SourceMissingError, TargetError, TargetExistsError, UsageError, VidsrError
from vidsr.events import one_at_a_time
from vidsr.media.sequence import count_pictures
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.targets.video import default_target

if TYPE_CHECKING:
    from vidsr.inference.upscaler import Upscaler
    from vidsr.run.upscale import Run

# What a folder is searched for. A file that is named is read whatever its suffix.
_VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "avi", "dv", "flv", "gif", "ivf", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg"),
        *("mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv", "y4m"),
    )
)


@exits
@takes_options()
def command(
    *,
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Video files, folders of them, or image sequences: a folder or shot.%04d.png.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, or a folder where there are several sources; unset: clip_2x.mp4 beside clip.mp4",
            show_default=False,
        ),
    ] = None,
    options: UpscaleOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace targets that exist.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, whatever an interrupted run has finished.")
    ] = False,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="If stopped early, join what is finished into clip_2x.partial.mp4.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing; estimate the time from one measured frame."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Upscale videos; sound, subtitles, chapters and tags come along unchanged."""
    from vidsr.run.upscale import Run  # torch takes seconds to import

    jobs = list(_jobs(sources, output, options))
    drawer = make_drawer(as_json=as_json)
    on_event = one_at_a_time(drawer)  # an upscaler that serves several runs tells it, too
    upscaler: Upscaler | None = None
    failures: list[tuple[Path, int]] = []
    owners: dict[Path, Path] = {}
    num_done = 0
    for source, target in jobs:
        try:
            prepared = prepare(source, target, options, overwrite=overwrite)
            _claim(prepared.target, source, owners)
            run = Run(prepared, on_event, upscaler=upscaler, restart=restart, keep_partial=keep_partial)
            upscaler = run.upscaler
            if dry_run:
                _print_estimate(run, as_json)
            else:
                with stops_on_interrupt(run.request_stop):
                    run.execute()
                num_done += 1
        except RunStoppedError as error:
            drawer.close()
            failures.append((source, report(error, as_json=as_json)))
            print(f"vidsr: to go on: {_same_command()}", file=sys.stderr)
            break
        except VidsrError as error:
            drawer.close()
            failures.append((source, report(error, as_json=as_json)))
        except BaseException:
            drawer.close()
            raise
    drawer.close()
    if len(jobs) > 1 and not as_json:
        _print_summary(len(jobs), None if dry_run else num_done, failures)
    if failures:
        raise typer.Exit(failures[0][1])


def _same_command() -> str:
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--restart", "--keep-partial")]
    return shlex.join([Path(sys.argv[0]).name, *arguments])


def _jobs(sources: list[Path], output: Path | None, options: UpscaleOptions) -> Iterator[tuple[Path, Path | None]]:
    """(source, target) of each file to do; the target may be a folder, or None: beside its source."""
    if len(sources) == 1 and (not sources[0].is_dir() or _is_sequence(sources[0])):
        yield sources[0], output
        return
    if output is not None and output.suffix and not output.is_dir():
        raise UsageError(f"{output}: with several sources the output is a folder")
    for source in sources:
        if not source.is_dir():
            yield source, _make_folder(output) if output else None
            continue
        folder_name = default_target(source.resolve(), options).with_suffix("").name
        if _is_sequence(source):
            yield source, _make_folder(output) / folder_name if output else None
            continue
        videos = _videos(source)
        if not videos:
            raise SourceMissingError(
                f"{source}: no videos and no pictures in this folder; name files of other suffixes one by one"
            )
        folder = _make_folder(output or source.resolve().with_name(folder_name))
        for video in videos:
            yield video, folder


def _claim(target: Path, source: Path, owners: dict[Path, Path]) -> None:
    """Note whose target this is: clip.avi and clip.flv would both become clip_2x.mkv, and replace each other."""
    other = owners.setdefault(target.resolve(), source)
    if other != source:
        raise TargetExistsError(f"{target}: is the target of {other} too; upscale {source} by itself, with -o")


def _videos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _VIDEO_SUFFIXES and p.is_file())


def _is_sequence(folder: Path) -> bool:
    """Whether a folder is one source, an image sequence; posters beside videos make none."""
    videos, (num_pictures, num_numbered) = _videos(folder), count_pictures(folder)
    if videos and num_numbered > 1:
        raise UsageError(
            f"{folder}: holds videos and numbered pictures; name what you mean, such as {folder / '*.mp4'} or "
            f"{folder / 'shot.%04d.png'}"
        )
    return num_pictures > 0 and not videos


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise TargetError(f"{folder}: the output folder cannot be made ({error.strerror})") from error
    return folder


def _print_estimate(run: Run, as_json: bool) -> None:
    estimate = run.estimate()
    if as_json:
        fields = {
            "event": "estimate",
            "source": run.prepared.source.path,
            "target": run.prepared.target,
            "target_size": estimate.target_size,
            "num_frames": estimate.num_frames,
            "seconds_per_frame": round(estimate.seconds_per_frame, 4),
            "seconds": round(estimate.seconds, 1),
            "losses": run.prepared.losses(),
            "notes": run.prepared.notes(),
        }
        print(json_line(fields), flush=True)
        return
    width, height = estimate.target_size
    print(f"{run.prepared.source.path} -> {run.prepared.target} ({width}x{height}, {run.prepared.encoder.name})")
    print(f"model {run.upscaler.model.name} ({run.upscaler.model.reason})")
    if run.upscaler.engine_reason:
        print(f"engine {run.upscaler.engine_info.engine} ({run.upscaler.engine_reason})")
    for text in [*run.prepared.notes(), *run.prepared.losses()]:
        print(f"note: {text}")
    print(
        f"{estimate.num_frames} frames at {1 / estimate.seconds_per_frame:.2f} fps by one measured frame: "
        f"about {_duration(estimate.seconds)}; nothing was written"
    )


def _print_summary(num_jobs: int, num_done: int | None, failures: list[tuple[Path, int]]) -> None:
    """Args: num_done: None where nothing was to be done."""
    if num_done is not None:
        print(f"{num_done} of {num_jobs} files done")
    for source, code in failures:
        print(f"{'stopped' if code == INTERRUPTED else 'failed'}: {source}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
