"""The file to be: its default name, and whether it may be written."""

from __future__ import annotations

import os
from pathlib import Path

from vidsr.errors import TargetError, TargetExistsError, UsageError
from vidsr.media.containers import CONTAINERS, CONTAINERS_BY_OPTION, CONTAINERS_BY_SUFFIX, MATROSKA, container_of
from vidsr.media.write.encoders import Encoder
from vidsr.options.upscale import UpscaleOptions

_MAX_NAME_BYTES = 255  # of most file systems; better to know before the work than after


def possible_targets(source: Path, target: Path | None, encoder: Encoder, options: UpscaleOptions) -> list[Path]:
    """Where the result may be written, the first choice first; more than one only for `container` auto.

    Args:
        source: what is read.
        target: the file to write, or a folder for it; None: beside the source.
        encoder: its containers are the ones considered where the name is not given.
        options: say the container.

    Raises:
        UsageError: no container has that suffix, or it does not hold what the encoder writes.
    """
    wanted = options.container
    if target is not None and not is_folder(target):
        if wanted not in (None, "auto") and container_of(target) is not CONTAINERS_BY_OPTION[wanted]:
            raise UsageError(f"{target}: its suffix and container {wanted} contradict each other; leave one out")
        check_container(target, encoder)
        return [target]
    usual = default_target(source, options)
    usual = usual if target is None else target / usual.name
    suffixes = dict.fromkeys([usual.suffix, *(container.suffixes[0] for container in CONTAINERS.values())])
    fitting = [path for path in map(usual.with_suffix, suffixes) if container_of(path).holds(encoder.codec)]
    if wanted == "auto":
        return fitting
    if wanted is None:
        return fitting[:1]
    named = usual.with_suffix(CONTAINERS_BY_OPTION[wanted].suffixes[0])
    check_container(named, encoder)
    return [named]


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
    own = CONTAINERS_BY_SUFFIX.get(suffix)
    suffix = suffix if own is not None and own.stays else MATROSKA.suffixes[0]
    stem = source.name if source.is_dir() else source.stem
    return source.with_name(f"{stem}_{size}{suffix}")


def check_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot or must not be written.

    Raises:
        UsageError: it is the source. TargetError: no folder to write into, or a
            name that is too long. TargetExistsError: there already, and not to be overwritten.
    """
    if not target.parent.is_dir():
        raise TargetError(f"{target}: there is no folder {target.parent}; make it first")
    if _is_too_long(target):
        raise TargetError(f"{target}: the name is longer than {_MAX_NAME_BYTES} bytes; choose a shorter one with -o")
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
    if not container_of(target).holds(encoder.codec):
        fitting = [suffix for suffix, container in CONTAINERS_BY_SUFFIX.items() if container.holds(encoder.codec)]
        raise UsageError(f"{target}: {target.suffix} does not hold {encoder.name}; use {' or '.join(fitting)}")


def is_folder(target: Path) -> bool:
    """Whether there is a folder of that name; no file system can have one whose name is too long."""
    return not _is_too_long(target) and target.is_dir()


def _is_too_long(target: Path) -> bool:
    return len(os.fsencode(target.name)) > _MAX_NAME_BYTES


def partial_path(target: Path) -> Path:
    """`clip_2x.partial.mp4` for `clip_2x.mp4`, cut to what a name can be."""
    stem, suffix = target.stem, f".partial{target.suffix}"
    while len(os.fsencode(stem + suffix)) > _MAX_NAME_BYTES:
        stem = stem[:-1]
    return target.with_name(stem + suffix)
