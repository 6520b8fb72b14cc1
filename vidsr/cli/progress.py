"""Drawing events: a bar on a terminal, plain lines for logs and farms, JSON lines for programs."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from tqdm import tqdm

from vidsr.cli.machine_output import json_line
from vidsr.events import Checked, Downloading, Event, Finished, Notice, Progress, Started


class Drawer(Protocol):
    """Shows events to whoever runs the command."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None:
        """End an unfinished bar, so that what is printed next starts on a line of its own."""
        ...


def make_drawer(*, as_json: bool) -> Drawer:
    if as_json:
        return JsonLines()
    return Bar() if sys.stderr.isatty() else Lines()


def _started_lines(event: Started) -> list[str]:
    (width, height), (out_width, out_height) = event.source_size, event.target_size
    lines = [
        f"{event.source} ({width}x{height}) -> {event.target} ({out_width}x{out_height}, {event.codec})",
        f"model {event.model} ({event.model_reason}), on {event.device}",
    ]
    return [*lines, f"engine {event.engine} ({event.engine_reason})"] if event.engine_reason else lines


def _finished_line(event: Finished) -> str:
    fps = event.num_frames / event.seconds_elapsed if event.seconds_elapsed else 0
    red, green, blue = (f"{levels:+.2f}" for levels in event.color_drift)
    repeated = f"{event.num_repeated} frames repeated, " if event.num_repeated else ""
    partly = f"{event.num_partly} frames computed in part, " if event.num_partly else ""
    return (
        f"wrote {event.target}: {event.num_frames} frames in {event.seconds_elapsed:.1f} s ({fps:.2f} fps), "
        f"{repeated}{partly}mean colour drift R {red}, G {green}, B {blue} of 255"
    )


def _checked_line(event: Checked) -> str:
    return f"{'checked' if event.passed else 'check FAILED'}: {event.text}"


class Bar:
    """tqdm bars on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                for line in _started_lines(event):
                    tqdm.write(line, file=sys.stderr)
                self._open(total=event.num_frames_expected, unit="frame")
            case Progress():
                self._move_to(event.num_frames_done)
            case Downloading():
                if self._bar is None:
                    self._open(total=event.num_bytes_total, unit="B", unit_scale=True, desc=event.name)
                self._move_to(event.num_bytes_done)
                if event.num_bytes_done >= event.num_bytes_total:
                    self.close()
            case Notice():
                tqdm.write(f"note: {event.text}", file=sys.stderr)
            case Finished():
                self.close()
                print(_finished_line(event))
            case Checked():
                self.close()
                print(_checked_line(event))

    def _open(self, **settings: object) -> None:
        self.close()
        self._bar = tqdm(file=sys.stderr, dynamic_ncols=True, smoothing=0.1, **settings)

    def _move_to(self, position: int) -> None:
        if self._bar is not None:
            self._bar.update(position - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """One line per event and per percent; no colours and no carriage returns, as render managers parse it."""

    def __init__(self) -> None:
        self._last_percent = -1

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._last_percent = -1
                for line in _started_lines(event):
                    print(line, flush=True)
            case Progress():
                self._percent(event.num_frames_done, event.num_frames_expected)
            case Downloading():
                if event.num_bytes_done in (0, event.num_bytes_total):
                    print(
                        f"downloading {event.name}: {event.num_bytes_done} of {event.num_bytes_total} bytes", flush=True
                    )
            case Notice():
                print(f"note: {event.text}", file=sys.stderr, flush=True)
            case Finished():
                self._percent(1, 1)
                print(_finished_line(event), flush=True)
            case Checked():
                print(_checked_line(event), flush=True)

    def _percent(self, done: int, total: int | None) -> None:
        # A source that yields more or fewer frames than its packets promised reaches 100 with the last line only.
        percent = min(100 * done // total, 100) if total else 0
        if percent != self._last_percent:
            self._last_percent = percent
            print(f"Progress: {percent}%", flush=True)

    def close(self) -> None:
        pass


class JsonLines:
    """One JSON object per event on stdout."""

    def __call__(self, event: Event) -> None:
        fields: dict[str, object] = {"event": type(event).__name__.lower(), **vars(event)}
        if isinstance(event, Progress):
            fields["frames_per_second"] = round(event.frames_per_second, 3)
            left = event.seconds_left
            fields["seconds_left"] = None if left is None else round(left, 1)
            fields["seconds_elapsed"] = round(event.seconds_elapsed, 3)
        print(json_line(fields), flush=True)

    def close(self) -> None:
        pass
