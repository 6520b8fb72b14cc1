"""Any source by its path: a video file, a sequence of pictures, an animated WebP; each probed and read by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from vidsr.errors import UsageError
from vidsr.media.read import animation, fields, pictures, video
from vidsr.media.read.deinterlace import FieldWork
from vidsr.media.read.fields import Scan
from vidsr.media.read.probe import SourceInfo
from vidsr.media.read.probe import probe as probe_video
from vidsr.media.read.video import DecodedFrame, OnNotice, Window
from vidsr.media.sequence import find_sequence

_ANIMATIONS = ("gif", "apng")  # their dithering alternates from line to line as fields do
_PROGRESSIVE = Scan(
    kind="progressive", field_order=None, flagged="progressive", flagged_order=None, frame_order=None, found_by="flags"
)


def probe(path: Path, rate: Fraction | None = None) -> SourceInfo:
    """Find out what a path holds.

    Args:
        path: a video file, a folder of numbered pictures, a pattern such as shot.%04d.png or shot.####.exr, or a
            single picture.
        rate: frames per second of a sequence; None: 24.

    Raises:
        SourceError: nothing readable there. UsageError: a rate for a file that has its own times.
    """
    sequence = find_sequence(path)
    if sequence is not None:
        return pictures.probe_pictures(path, sequence, rate)
    if rate is not None:
        raise UsageError(f"{path}: rate is for image sequences; this file has times of its own, leave rate out")
    return animation.probe_animation(path) if animation.is_animated_webp(path) else probe_video(path)


def recognise_fields(source: SourceInfo) -> Scan:
    """How the lines of a source were taken; pictures and animations are always progressive."""
    is_animation = source.video.codec in _ANIMATIONS
    return fields.recognise_fields(source) if is_video_file(source) and not is_animation else _PROGRESSIVE


def read_frames(
    source: SourceInfo,
    window: Window,
    on_notice: OnNotice,
    fields: FieldWork | None = None,
    *,
    stop_at_damage: bool = False,
) -> Iterator[DecodedFrame]:
    """Decode the frames of `window` in presentation order; see the module of its kind.

    Raises:
        UsageError: work on the fields of pictures, which only video files have.
        SourceError: damage, where `stop_at_damage`; else that is told to `on_notice`.
    """
    if fields is not None and not is_video_file(source):
        raise UsageError(f"{source.path}: holds pictures, not fields; leave deinterlace and detelecine out")
    if source.sequence is not None:
        return pictures.read_pictures(source, window, on_notice, stop_at_damage=stop_at_damage)
    if animation.is_animated_webp(source.path):
        return animation.read_animation(source, window, on_notice, stop_at_damage=stop_at_damage)
    return video.read_frames(source, window, on_notice, fields, stop_at_damage=stop_at_damage)


def is_video_file(source: SourceInfo) -> bool:
    """Whether FFmpeg reads the source as one file."""
    return source.sequence is None and not animation.is_animated_webp(source.path)
