"""Animated WebP, which FFmpeg does not decode: times from the file's own chunks, pictures through Pillow."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidsr.errors import SourceError, UsageError
from vidsr.frames import (
    MATRIX_RGB,
    PRIMARIES_BT709,
    TRANSFER_SRGB,
    ColorTags,
    FrameTime,
    PictureFormat,
    VideoInfo,
    pixel_layout,
)
from vidsr.media.read.probe import MAX_MEGAPIXELS, SourceInfo
from vidsr.media.read.video import DecodedFrame, OnNotice, Window
from vidsr.media.sequence import is_animated

if TYPE_CHECKING:
    from PIL.Image import Image

_MILLISECOND = Fraction(1, 1000)


def is_animated_webp(path: Path) -> bool:
    return path.suffix.lower() == ".webp" and path.is_file() and is_animated(path)


def probe_animation(path: Path) -> SourceInfo:
    """Read size and times of an animated WebP file from its chunks (RFC 9649, section 2).

    Raises:
        SourceError: no frames, or a size that no video has. UsageError: Pillow is not installed.
    """
    width, height, has_alpha, durations = _read_chunks(path)
    if not durations:
        raise SourceError(f"{path}: an animation without a whole frame; the file is probably incomplete")
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise SourceError(f"{path}: claims {width}x{height} pixels, more than {MAX_MEGAPIXELS} megapixels a frame")
    _open(path).close()
    layout = pixel_layout("gbrap" if has_alpha else "gbrp")
    assert layout is not None
    pts = array("q", [0])
    for duration in durations:
        pts.append(pts[-1] + duration)
    end = pts.pop()
    color = ColorTags(
        matrix=MATRIX_RGB, full_range=True, siting="left", primaries=PRIMARIES_BT709, transfer=TRANSFER_SRGB
    )
    return SourceInfo(
        path=path,
        container="webp",
        start_seconds=Fraction(0),
        video=VideoInfo(
            stream_index=0,
            codec="webp",
            source_pix_fmt="rgba" if has_alpha else "rgb24",
            picture=PictureFormat(width=width, height=height, layout=layout, color=color),
            time_base=_MILLISECOND,
            average_rate=len(durations) / (end * _MILLISECOND) if end else None,
            sample_aspect_ratio=Fraction(1),
            rotation_degrees=0,
            num_frames_from_index=len(pts),
            first_pts=0,
            duration_seconds=float(end * _MILLISECOND),
        ),
        pts=pts,
        keyframe_pts=array("q"),
        has_timestamps=True,
        display_matrix=None,
        others=(),
        tags={},
        num_chapters=0,
        is_interlaced=False,
        hdr=None,
        stereo=None,
        sphere=None,
        unkept=(),
        last_duration=durations[-1],
    )


def read_animation(
    source: SourceInfo, window: Window, on_notice: OnNotice, *, stop_at_damage: bool = False
) -> Iterator[DecodedFrame]:
    """Yield the frames of `window` as a player composes them; a damaged file ends early, with a notice.

    Raises:
        SourceError: it is damaged, where `stop_at_damage`.
    """
    layout, stamps = source.video.picture.layout, source.pts
    with _open(source.path) as image:
        for index, pts in enumerate(stamps):
            if window.stop is not None and pts >= window.stop:
                return
            try:
                image.seek(index)
                rgb = np.asarray(image.convert("RGBA" if layout.has_alpha else "RGB"))
            except (OSError, EOFError, ValueError) as error:
                if stop_at_damage:
                    raise SourceError(
                        f"{source.path}: damaged at frame {index} ({error}); decoding stops there as on_decode_error "
                        "asks: get a whole copy, or end before it by on_decode_error=report"
                    ) from error
                on_notice(f"the source is damaged: {len(stamps) - index} frames could not be decoded ({error})")
                return
            if pts in window:
                red, green, blue, *alpha = (rgb[..., channel] for channel in range(rgb.shape[2]))
                following = stamps[index + 1] if index + 1 < len(stamps) else pts + source.last_duration
                yield DecodedFrame(FrameTime(pts=pts, duration=following - pts), (green, blue, red, *alpha))


def _open(path: Path) -> Image:
    try:
        from PIL import Image
    except ImportError:
        raise UsageError(f'{path}: animated WebP needs Pillow: pip install "vidsr-upscale[webp]"') from None
    try:
        return Image.open(path, formats=["WEBP"])
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not a readable WebP file ({error}); it is damaged or incomplete") from error


def _read_chunks(path: Path) -> tuple[int, int, bool, list[int]]:
    """(width, height, has alpha, milliseconds of each frame); a time of 0 is read as 1, so that none is hidden."""
    width = height = 0
    has_alpha, durations = False, []
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            start = file.tell()
            body = file.read(16)
            if name == b"VP8X" and len(body) >= 10:
                has_alpha = bool(body[0] & 0x10)
                width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
            elif name == b"ANMF" and len(body) == 16 and start + length <= size:
                durations.append(max(int.from_bytes(body[12:15], "little"), 1))
            file.seek(start + length + length % 2)
    return width, height, has_alpha, durations
