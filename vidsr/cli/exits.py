"""Errors to exit codes and one clear line."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from vidsr.cli.interrupts import INTERRUPTED, TERMINATED, TerminatedError, ends_when_told
from vidsr.cli.machine_output import json_line
from vidsr.errors import (
    DiskFullError,
    DownloadError,
    LossError,
    RunStoppedError,
    SourceError,
    TargetBusyError,
    TargetError,
    UsageError,
    VerificationError,
    VidsrError,
    WeightsError,
)

P = ParamSpec("P")

UNEXPECTED, USAGE, SOURCE, VERIFICATION, LOSS, TEMPORARY = 1, 2, 3, 4, 5, 75

# The first row that an error is an instance of decides.
_CODES: tuple[tuple[type[VidsrError], int], ...] = (
    (DiskFullError, TEMPORARY),
    (TargetBusyError, TEMPORARY),
    (DownloadError, TEMPORARY),
    (SourceError, SOURCE),
    (LossError, LOSS),
    (RunStoppedError, INTERRUPTED),
    (UsageError, USAGE),
    (WeightsError, USAGE),
    (TargetError, USAGE),
    (VerificationError, VERIFICATION),
)


class Debug:
    """Whether `--debug` was given; set once by the application's callback."""

    enabled = False


def exit_code(error: BaseException) -> int:
    """The exit code that says what kind of error this is."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)


def report(error: BaseException, *, as_json: bool = False) -> int:
    """Print an error as one line (and its traceback with --debug); returns its exit code."""
    code = exit_code(error)
    if Debug.enabled or not isinstance(error, VidsrError):
        traceback.print_exception(error, file=sys.stderr)
    text = str(error) if isinstance(error, VidsrError) else f"unexpected {type(error).__name__}: {error}"
    if as_json:
        print(json_line({"event": "error", "message": text, "exit_code": code}), flush=True)
    print(f"vidsr: error: {text}", file=sys.stderr)
    return code


def exits(command: Callable[P, None]) -> Callable[P, None]:
    """Decorate a command: its errors end the program with their exit code instead of a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with ends_when_told():
                command(*args, **kwargs)
        except KeyboardInterrupt:
            print("vidsr: interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except TerminatedError:
            print("vidsr: terminated", file=sys.stderr)
            raise typer.Exit(TERMINATED) from None
        except BrokenPipeError:
            # The reader of our output went away, as in `vidsr models | head -1`; nothing is left to say to it.
            sys.stdout = None
            raise typer.Exit(UNEXPECTED) from None
        except VidsrError as error:
            raise typer.Exit(report(error)) from None

    return wrapped
