"""Pictures to be: whether the target is an image sequence, in which format, and how its files are named."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from vidsr.errors import TargetError, TargetExistsError, UsageError
from vidsr.media.containers import CONTAINERS_BY_SUFFIX
from vidsr.media.read.probe import SourceInfo
from vidsr.media.sequence import PICTURE_SUFFIXES, Pattern, parse_pattern
from vidsr.media.write.encoders import PICTURE_ENCODERS
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.targets.video import default_target, is_folder

_SUFFIXES = {"png": ".png", "tiff": ".tif", "exr": ".exr", "dpx": ".dpx"}
_DEFAULT_CODEC = UpscaleOptions.__dataclass_fields__["codec"].default
_DIGITS = 6  # of the pictures of a video: 12 hours at 23 frames per second
_MAX_NAME_BYTES = 255 - len(".part")


@dataclass(frozen=True, kw_only=True)
class PictureTarget:
    """Where pictures go, and as what."""

    pattern: Pattern
    codec: str


def picture_target(source: SourceInfo, target: Path | None, options: UpscaleOptions) -> PictureTarget | None:
    """The pictures that source, target and options mean; None if the target is a video file.

    A target with the suffix of pictures is one, numbered where it has %04d or ####. A target without one is a folder
    for pictures if the codec is one for pictures, or if the source is a sequence and neither codec nor container say
    otherwise; the pictures are then named as the source's, or after the video.

    Raises:
        UsageError: target, codec and container contradict each other.
    """
    codec = _codec(source, target, options)
    if codec is None:
        return None
    if options.container is not None:
        raise UsageError(f"container {options.container} is for videos, and {codec} writes pictures; leave one out")
    if target is not None and target.suffix.lower() in PICTURE_SUFFIXES and not is_folder(target):
        single = Pattern(folder=target.parent, prefix=target.stem, width=None, suffix=target.suffix)
        return PictureTarget(pattern=parse_pattern(target) or single, codec=codec)
    return PictureTarget(pattern=_named_after(source, target, codec, options), codec=codec)


def video_base(source: SourceInfo) -> Path:
    """What a video made of a source is named after: the source's file, or the folder of its pictures."""
    if source.sequence is None or source.sequence.pattern.width is None:
        return source.path
    return source.sequence.pattern.folder.resolve()


def check_pictures(pictures: Pattern, source: SourceInfo, first: int, last: int, *, overwrite: bool) -> None:
    """Refuse pictures that cannot or must not be written.

    Args:
        pictures: what is to be written.
        source: what it is made from.
        first, last: the numbers that will be written, both included.
        overwrite: whether pictures that are there may be replaced.

    Raises:
        UsageError: they are the source, or several frames would go into one file. TargetError: no folder to write
            into, or a name that is too long. TargetExistsError: some are there already.
    """
    folder, shown = pictures.folder, pictures.path
    if pictures.width is None and last > first:
        raise UsageError(
            f"{shown}: {last - first + 1} frames do not fit into one picture; give it a number, shot.%04d.png"
        )
    if folder.exists() and not folder.is_dir():
        raise TargetError(f"{folder}: is a file, a folder for pictures was expected")
    if not folder.is_dir() and not folder.parent.is_dir():
        raise TargetError(f"{shown}: there is no folder {folder.parent}; make it first")
    if len(os.fsencode(pictures.name(last))) > _MAX_NAME_BYTES:
        raise TargetError(f"{shown}: the name is longer than {_MAX_NAME_BYTES} bytes; choose a shorter one with -o")
    original = source.sequence.pattern if source.sequence is not None else None
    if original is not None and replace(original, folder=original.folder.resolve()) == replace(
        pictures, folder=folder.resolve()
    ):
        raise UsageError(f"{shown}: is the source itself; choose another name or folder")
    if overwrite or not folder.is_dir():
        return
    if pictures.width is None:
        there = [shown.name] if shown.exists() else []
    else:
        there = [pictures.name(number) for number in pictures.numbers_there() if first <= number <= last]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise TargetExistsError(
            f"{folder / there[0]}{more}: already there; choose another name with -o, or add --overwrite"
        )


def _codec(source: SourceInfo, target: Path | None, options: UpscaleOptions) -> str | None:
    chosen = options.codec if options.codec in PICTURE_ENCODERS else None
    suffix = "" if target is None else target.suffix.lower()
    if target is not None and suffix in (*PICTURE_SUFFIXES, *CONTAINERS_BY_SUFFIX) and not is_folder(target):
        codec = PICTURE_SUFFIXES.get(suffix)
        if codec is None and chosen is not None:
            raise UsageError(
                f"{target}: is a video's name; for {chosen} name a folder, or shot.%04d{_SUFFIXES[chosen]}"
            )
        if codec is not None and codec not in PICTURE_ENCODERS:
            raise UsageError(f"{target}: {target.suffix} is not written; use one of {', '.join(_SUFFIXES.values())}")
        if codec is not None and options.codec not in (codec, _DEFAULT_CODEC):
            raise UsageError(f"{target}: its suffix and codec {options.codec} contradict each other; leave one out")
        return codec
    if chosen is None and source.sequence is not None and options.codec == _DEFAULT_CODEC and options.container is None:
        return source.video.codec if source.video.codec in PICTURE_ENCODERS else "png"
    return chosen


def _named_after(source: SourceInfo, folder: Path | None, codec: str, options: UpscaleOptions) -> Pattern:
    """The source's names with the codec's suffix, in the folder or in a new one beside the source."""
    sized = default_target(video_base(source), options).with_suffix("")
    if source.sequence is None:
        name = source.path.stem
        return Pattern(folder=folder or sized, prefix=f"{name}.", width=_DIGITS, suffix=_SUFFIXES[codec])
    original = source.sequence.pattern
    last = Path(f"x{original.suffix}").suffix  # ".png" of "_left.png"
    keeps = PICTURE_SUFFIXES.get(last.lower()) == codec
    suffix = original.suffix if keeps else original.suffix.removesuffix(last) + _SUFFIXES[codec]
    if original.width is None:
        prefix = original.prefix if folder is not None else sized.name
        return replace(original, folder=folder or original.folder, prefix=prefix, suffix=suffix)
    return replace(original, folder=folder or sized, suffix=suffix)
