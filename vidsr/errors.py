"""Every failure that vidsr reports, as one tree of exceptions.

    VidsrError
    ├── UsageError (ValueError)             what was asked for makes no sense          exit 2
    │   ├── UnknownModelError (LookupError) no model of that name
    │   ├── TargetExistsError (FileExistsError)
    │   ├── ResumeError (RuntimeError)      an unfinished run was begun with other options
    │   └── DeviceError (RuntimeError)      a device was asked for that is not there
    ├── WeightsError (ValueError)           a checkpoint that cannot be used           exit 2
    │   └── WeightsMissingError (FileNotFoundError)
    ├── DownloadError (ConnectionError)     weights could not be fetched; try again    exit 75
    ├── SourceError (ValueError)            the input cannot be read                   exit 3
    │   └── SourceMissingError (FileNotFoundError)
    ├── LossError (ValueError)              something would be lost and strict forbids  exit 5
    ├── TargetError (OSError)               the output cannot be written               exit 2
    │   ├── TargetBusyError (BlockingIOError)  another process is writing it            exit 75
    │   └── DiskFullError                   no space left; make some and try again     exit 75
    ├── VerificationError                   the output is not what the source was       exit 4
    ├── RunStoppedError (RuntimeError)      stopped on request; the same run goes on later  exit 130
    ├── DeviceMemoryError (MemoryError)     not even the smallest tile fits            exit 1
    └── NumericError (ArithmeticError)      a network returned values that are no picture  exit 1

A message says what was found, what was expected and what to try. Exit codes are the command line's
business: `vidsr.cli.exits` holds that table.
"""

from __future__ import annotations


class VidsrError(Exception):
    """Root of everything that vidsr raises on purpose."""


class UsageError(VidsrError, ValueError):
    """An option, recipe or combination of them that cannot be carried out."""


class UnknownModelError(UsageError, LookupError):
    """A model name that is neither in the catalogue nor a file."""

    def __str__(self) -> str:  # LookupError would quote the message
        return Exception.__str__(self)


class TargetExistsError(UsageError, FileExistsError):
    """The target file is already there and overwriting was not asked for."""


class ResumeError(UsageError, RuntimeError):
    """Beside the target lies an unfinished run of other frames, options or weights."""


class DeviceError(UsageError, RuntimeError):
    """A device that this machine or this build of torch does not have."""


class WeightsError(VidsrError, ValueError):
    """A checkpoint that is damaged, of an unknown architecture, or full of NaN."""


class WeightsMissingError(WeightsError, FileNotFoundError):
    """Weights that are on no disk here and could not be looked for elsewhere."""


class DownloadError(VidsrError, ConnectionError):
    """A download that broke off or did not match its checksum."""


class SourceError(VidsrError, ValueError):
    """A source that is no video, has no frames, or cannot be decoded."""


class SourceMissingError(SourceError, FileNotFoundError):
    """A source path with nothing behind it."""


class LossError(VidsrError, ValueError):
    """The target would not have all that the source has, and `strict` was asked for."""


class TargetError(VidsrError, OSError):
    """A target that cannot be written: no folder, no permission, a codec the container refuses."""


class TargetBusyError(TargetError, BlockingIOError):
    """Another process is writing this target."""


class DiskFullError(TargetError):
    """The target's file system has no space left."""


class VerificationError(VidsrError):
    """An output that was written but is not its source, only larger; it stays for inspection."""


class RunStoppedError(VidsrError, RuntimeError):
    """A run was asked to stop and did, after a segment; the next run of the same kind goes on from there."""


class DeviceMemoryError(VidsrError, MemoryError):
    """Out of memory on the device even with one frame in the smallest tiles."""


class NumericError(VidsrError, ArithmeticError):
    """A network output that is no picture: not finite, or one value where the source has many."""
