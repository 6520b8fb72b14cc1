"""The file to be: its default name, and whether it may be written."""

from __future__ import annotations

import os
from pathlib import Path

from vidsr.errors import TargetError, TargetExistsError, UsageError
from vidsr.media.encoders import Encoder
from vidsr.media.join import CONTAINERS
from vidsr.options import UpscaleOptions

_MAX_NAME_BYTES = 255  # of most file systems; better to know before the work than after


def default_target(source: Path, options: UpscaleOptions) -> Path:
    """`clip.mp4` becomes `clip_2x.mp4` beside it; what is no MP4, MOV or Matroska becomes .mkv, which holds all."""
    if options.scale is not None:
        scale = options.scale
        size = f"{scale.numerator}x" if scale.denominator == 1 else f"{float(scale):.3g}x"
    elif options.size is not None:
        size = f"{options.size[0]}x{options.size[1]}"
    else:
        size = f"{options.height}p"
    suffix = source.suffix.lower()
    suffix = suffix if suffix in (".mp4", ".m4v", ".mov", ".mkv") else ".mkv"
    return source.with_name(f"{source.stem}_{size}{suffix}")


def check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot or must not be written.

    Raises:
        UsageError: no container has that suffix, or it is the source. TargetError: no folder to write into, or a
            name that is too long. TargetExistsError: there already, and not to be overwritten.
    """
    if target.suffix.lower() not in CONTAINERS:
        raise UsageError(f"{target}: the suffix says the container; use one of {', '.join(CONTAINERS)}")
    if not target.parent.is_dir():
        raise TargetError(f"{target}: there is no folder {target.parent}; make it first")
    if len(os.fsencode(target.name)) > _MAX_NAME_BYTES:
        raise TargetError(f"{target}: the name is longer than {_MAX_NAME_BYTES} bytes; choose a shorter one with -o")
    if target.is_dir():
        raise TargetError(f"{target}: is a folder, a file name was expected")
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target}: is the source itself; choose another name")
    if target.exists() and not overwrite:
        raise TargetExistsError(f"{target}: is already there; choose another name with -o, or add --overwrite")


def check_sidecar(sidecar: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file beside the target.

    Raises:
        TargetExistsError: there already, and not to be overwritten.
    """
    if sidecar.exists() and not overwrite:
        raise TargetExistsError(
            f"{sidecar}: is already there, and the captions would go there; choose another name with -o, "
            "or add --overwrite"
        )


def check_container(target: Path, encoder: Encoder) -> None:
    """Refuse a suffix whose container does not hold what the encoder writes.

    Raises:
        UsageError: with the suffixes that do.
    """
    container = CONTAINERS[target.suffix.lower()]
    if container not in encoder.containers:
        fitting = [suffix for suffix, name in CONTAINERS.items() if name in encoder.containers]
        raise UsageError(f"{target}: {target.suffix} does not hold {encoder.name}; use {' or '.join(fitting)}")
