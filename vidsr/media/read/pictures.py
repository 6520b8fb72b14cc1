"""Reading image sequences: each picture decoded by itself, shown at its number's place in time; gaps are reported."""

from __future__ import annotations

import dataclasses
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vidsr.errors import SourceError, SourceMissingError
from vidsr.frames import (
    MATRIX_BT470BG,
    PRIMARIES_BT709,
    TRANSFER_LINEAR,
    TRANSFER_SRGB,
    ColorTags,
    FrameTime,
    PictureFormat,
    PixelLayout,
    Plane,
    VideoInfo,
    pixel_layout,
)
from vidsr.media.formats import delivered_layout, plane_view, resolve_color
from vidsr.media.read.exr import read_exr
from vidsr.media.read.probe import MAX_MEGAPIXELS, SourceInfo, unkept_side_data
from vidsr.media.read.video import DecodedFrame, OnNotice, Window
from vidsr.media.sequence import IMAGE_SEQUENCE, PICTURE_SUFFIXES, Sequence
from vidsr.media.sidedata import UNNAMED

DEFAULT_RATE = Fraction(24)  # the usual rate of film and its effects, where sequences are at home
# Optimisers store a black picture as gray and an opaque one without alpha, so one picture does not tell the format.
_NUM_PROBED = 8
_NUM_NAMED = 5
# SMPTE 268M: what FFmpeg has no name for. Byte 801 is the transfer of the first image element.
_DPX_TRANSFER_AT, _DPX_LOGARITHMIC = 801, {1: "printing density", 3: "logarithmic"}
_LARGEST_HALF = 65504.0  # stands in for infinity


@dataclass(frozen=True)
class _Picture:
    file: Path
    frame: VideoFrame
    sample_aspect_ratio: Fraction
    unkept: tuple[str, ...]
    codec: VideoCodecContext


def probe_pictures(path: Path, sequence: Sequence, rate: Fraction | None) -> SourceInfo:
    """Read the first picture, and some of the others for what they hold.

    Args:
        path: as the user named it, for messages.
        sequence: the pictures.
        rate: numbers per second; None: 24.

    Raises:
        SourceError: none of the pictures looked at can be decoded.
    """
    numbers = sequence.numbers
    looked_at = sorted({n * (len(numbers) - 1) // (_NUM_PROBED - 1) for n in range(_NUM_PROBED)})
    first, layouts, errors = None, [], []
    unkept: dict[str, None] = {}  # as an ordered set
    for position in looked_at:
        try:
            picture = _decode(sequence.pattern.file(numbers[position]))
        except SourceError as error:
            errors.append(error)
            continue
        first = first or picture
        layouts.append(delivered_layout(picture.frame.format))
        unkept.update(dict.fromkeys(picture.unkept))
    if first is None:
        raise SourceError(f"{path}: none of the pictures can be decoded; {errors[0]}") from errors[0]
    base = 1 / (rate or DEFAULT_RATE)
    layout = _common_layout(layouts)
    return SourceInfo(
        path=path,
        container=IMAGE_SEQUENCE,
        start_seconds=Fraction(0),
        video=VideoInfo(
            stream_index=0,
            codec=first.codec.name,
            source_pix_fmt=first.frame.format.name,
            picture=PictureFormat(
                width=first.frame.width,
                height=first.frame.height,
                layout=layout,
                color=_color(first.frame, first.codec, layout),
            ),
            time_base=base,
            average_rate=1 / base,
            sample_aspect_ratio=first.sample_aspect_ratio,
            rotation_degrees=first.frame.rotation,
            num_frames_from_index=len(numbers),
            first_pts=0,
            duration_seconds=float((numbers[-1] + 1 - numbers[0]) * base),
        ),
        pts=array("q", (number - numbers[0] for number in numbers)),
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
        unkept=tuple(unkept),
        last_duration=1,
        sequence=sequence,
        first_picture=first.file,
    )


def read_pictures(
    source: SourceInfo, window: Window, on_notice: OnNotice, *, stop_at_damage: bool = False
) -> Iterator[DecodedFrame]:
    """Decode the pictures of `window` in the order of their numbers.

    A picture that cannot be decoded or is incomplete is left out and named in a notice at the end. One whose size
    or format differs from the first one's is converted to it, with a notice; so are samples that are no numbers.

    Raises:
        SourceError: a picture cannot be decoded, where `stop_at_damage`.
    """
    yield from _Reading(source, window, on_notice, stop_at_damage).frames()


@dataclass
class _Reading:
    source: SourceInfo
    window: Window
    on_notice: OnNotice
    stop_at_damage: bool
    reformatter: VideoReformatter = field(default_factory=VideoReformatter)
    noticed: set[str] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    num_not_finite: int = 0
    not_finite_in: list[str] = field(default_factory=list)

    def frames(self) -> Iterator[DecodedFrame]:
        sequence, window = self.source.sequence, self.window
        assert sequence is not None
        start = sequence.first + (window.start or 0)
        stop = sequence.numbers[-1] + 1 if window.stop is None else sequence.first + window.stop
        missing = sequence.missing(start, stop)
        if missing is not None:
            self.on_notice(missing)
        for position in range(bisect_left(sequence.numbers, start), bisect_left(sequence.numbers, stop)):
            number = sequence.numbers[position]
            file = sequence.pattern.file(number)
            try:
                planes = self._planes(_decode(file).frame, file.name)
            except SourceError as error:
                if self.stop_at_damage:
                    raise
                self.damaged.append(str(error))
                continue
            yield DecodedFrame(FrameTime(pts=number - sequence.first, duration=1), planes)
        self._report()

    def _planes(self, frame: VideoFrame, name: str) -> tuple[Plane, ...]:
        picture = self.source.video.picture
        layout = picture.layout
        own = delivered_layout(frame.format)
        same_size = (frame.width, frame.height) == (picture.width, picture.height)
        if not same_size and (own.is_float or layout.is_float):  # FFmpeg would clip light to 0 and 1
            raise SourceError(
                f"{name}: is {frame.width}x{frame.height}, the first {picture.width}x{picture.height}; "
                "floating-point pictures are not scaled on reading"
            )
        if not same_size:
            self._notice_once(
                "size",
                f"{name} is {frame.width}x{frame.height}; it and others are scaled to the first size, "
                f"{picture.width}x{picture.height}",
            )
        holds = own.family != "yuv" and _common_layout([own, layout]) == layout
        if own != layout and not holds:
            self._notice_once("format", f"{name} is {frame.format.name}; it and others are read as {layout.name}")
        read_as = own if holds else layout
        if own.is_float and own.name != frame.format.name:
            planes = _unpack_light(frame, own)
        else:
            if not same_size or frame.format.name.replace("yuvj", "yuv") != read_as.name:
                frame = self.reformatter.reformat(
                    frame, picture.width, picture.height, read_as.name, interpolation="BICUBIC", threads=1
                )
            shapes = read_as.plane_shapes(picture.width, picture.height)
            planes = [plane_view(frame.planes[i], shape, read_as.dtype) for i, shape in enumerate(shapes)]
        if read_as != layout:
            planes = _widen(planes, read_as, layout)
        return tuple(self._finite(plane, name) for plane in planes) if layout.is_float else tuple(planes)

    def _finite(self, plane: Plane, name: str) -> Plane:
        """The plane with zero for what is no number: one such sample would blacken all that a network sees of it."""
        bad = ~np.isfinite(plane)
        if not bad.any():
            return plane
        self.num_not_finite += int(bad.sum())
        if name not in self.not_finite_in[-1:]:
            self.not_finite_in.append(name)
        return np.nan_to_num(plane, nan=0.0, posinf=_LARGEST_HALF, neginf=-_LARGEST_HALF)

    def _report(self) -> None:
        if self.not_finite_in:
            self.on_notice(
                f"{self.num_not_finite} samples are no finite numbers, in {_some(self.not_finite_in)}: "
                "NaN is read as 0 and infinity as 65504"
            )
        if self.damaged:
            count = len(self.damaged)
            what = "1 picture is left out" if count == 1 else f"{count} pictures are left out"
            self.on_notice(f"the source is damaged: {what}: {_some(self.damaged)}")

    def _notice_once(self, kind: str, text: str) -> None:
        if kind not in self.noticed:
            self.noticed.add(kind)
            self.on_notice(text)


def _decode(file: Path) -> _Picture:
    """Decode one file; strictly, since what is left of half a picture is no picture.

    Raises:
        SourceMissingError: it is gone. SourceError: it cannot be read, decoded, or is incomplete.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise SourceMissingError(f"{file.name}: the file is gone") from None
    except OSError as error:
        raise SourceError(f"{file.name}: cannot be read ({error.strerror})") from error
    if not data:
        raise SourceError(f"{file.name}: the file is empty (0 bytes)")
    # A decoder of its own instead of a container: FFmpeg's would take some names for patterns.
    codec = cast(VideoCodecContext, VideoCodecContext.create(PICTURE_SUFFIXES[file.suffix.lower()], "r"))
    codec.thread_count = 1
    codec.options = {"max_pixels": str(MAX_MEGAPIXELS * 1_000_000)}
    if codec.name == "mjpeg":  # fills up half a picture in gray without it; with it, good TIFF files are refused
        codec.options = {**codec.options, "err_detect": "explode"}
    try:
        frames = [*codec.decode(cast("Packet[av.VideoStream]", Packet(data))), *codec.decode(None)]
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{file.name}: cannot be decoded ({reason})") from error
    if not frames:
        raise SourceError(f"{file.name}: cannot be decoded")
    unkept = (*_side_data(frames[0], codec), *_header_facts(data, file))
    return _Picture(file, frames[0], _sample_aspect_ratio(codec), unkept, codec)


def _sample_aspect_ratio(codec: VideoCodecContext) -> Fraction:
    """Width over height of one sample; PNG states samples per metre, which FFmpeg takes for sizes."""
    ratio = codec.sample_aspect_ratio or Fraction(1)
    return (1 / ratio).limit_denominator(1000) if codec.name == "png" else ratio


def _side_data(frame: VideoFrame, codec: VideoCodecContext) -> tuple[str, ...]:
    """What is not kept of what lies beside the pixels; an orientation is, as pictures say it in their EXIF part."""
    turned = (f"orientation: viewers turn the picture by {frame.rotation} degrees",) if frame.rotation else ()
    others = unkept_side_data(frame)
    if codec.name == "tiff" and others == (UNNAMED,):  # FFmpeg takes every TIFF file's header for EXIF
        return turned
    return (*others, *turned)


def _header_facts(data: bytes, file: Path) -> tuple[str, ...]:
    """What a file's header tells beyond what FFmpeg does, and is not kept.

    Raises:
        SourceError: an EXR file that breaks off, which FFmpeg would fill up in silence.
    """
    suffix = file.suffix.lower()
    if suffix == ".dpx" and data[_DPX_TRANSFER_AT] in _DPX_LOGARITHMIC:
        return (f"DPX transfer: {_DPX_LOGARITHMIC[data[_DPX_TRANSFER_AT]]} (the code stays, its name does not)",)
    if suffix != ".exr":
        return ()
    try:
        facts = read_exr(data)
    except ValueError as error:
        raise SourceError(f"{file.name}: {error}") from error
    if facts.num_missing_chunks:
        raise SourceError(f"{file.name}: the file breaks off ({facts.num_missing_chunks} blocks of lines are missing)")
    return (f"EXR channels {_some(facts.further_channels)}",) if facts.further_channels else ()


def _color(frame: VideoFrame, codec: VideoCodecContext, layout: PixelLayout) -> ColorTags:
    """The colour tags of a picture; what it leaves unsaid is sRGB at any size, not what the rule for video says.

    The matrix is then JFIF's and WebP's, BT.601, and floating-point samples are linear.
    """
    color = resolve_color(frame, codec, layout)
    usual: dict[str, int] = {
        "matrix": color.matrix if layout.family != "yuv" else MATRIX_BT470BG,
        "primaries": PRIMARIES_BT709,
        "transfer": TRANSFER_LINEAR if layout.is_float else TRANSFER_SRGB,
    }
    unsaid = {name: code for name, code in usual.items() if name in color.guessed}
    return dataclasses.replace(color, **unsaid)  # type: ignore[arg-type]


def _common_layout(layouts: list[PixelLayout]) -> PixelLayout:
    """The smallest layout that holds all of these; they are of one kind but for single pictures that say less."""
    first = layouts[0]
    if all(layout == first for layout in layouts):
        return first
    depth = max(layout.depth for layout in layouts)
    if any(layout.is_float for layout in layouts):
        suffix = f"f{32 if any(x.depth == 32 or not x.is_float for x in layouts) else 16}le"
    else:
        suffix = "" if depth == 8 else "16le"
    alpha = "a" if any(layout.has_alpha for layout in layouts) else ""
    colour = f"gbr{alpha}p" if alpha or any(layout.family != "gray" for layout in layouts) else "gray"
    layout = pixel_layout(colour + suffix)
    assert layout is not None, (colour, suffix)
    return layout


def _unpack_light(frame: VideoFrame, layout: PixelLayout) -> list[Plane]:
    """Planes of a packed floating-point format, which FFmpeg's conversion would clip to 0 and 1."""
    channels = len(frame.format.components)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if frame.format.name.endswith("be") else "<")
    line = frame.planes[0].line_size // dtype.itemsize
    lines = np.frombuffer(memoryview(frame.planes[0]), dtype)[: line * frame.height].reshape(frame.height, line)
    samples = lines[:, : frame.width * channels].reshape(frame.height, frame.width, channels).astype(layout.dtype)
    if channels < 3:  # gray and alpha
        return [samples[..., channel] for channel in (0, 0, 0, 1)]
    return [samples[..., channel] for channel in (1, 2, 0, 3)[:channels]]


def _widen(planes: list[Plane], source: PixelLayout, target: PixelLayout) -> list[Plane]:
    """Gray or RGB planes in a layout that holds more: the same share of white in each, opaque where nothing is said.

    FFmpeg's own conversion would shift 8-bit white to 65280 of 65535.
    """
    colour, alpha = (planes[:-1], planes[-1:]) if source.has_alpha else (planes, [])
    if target.family == "gbr" and len(colour) == 1:
        colour = colour * 3
    if target.has_alpha and not alpha:
        alpha = [np.full_like(colour[0], source.max_code)]
    factor = target.max_code / source.max_code
    widened = (plane.astype(np.float64) * factor for plane in [*colour, *alpha])
    return [(plane if target.is_float else np.rint(plane)).astype(target.dtype) for plane in widened]


def _some(names: list[str] | tuple[str, ...]) -> str:
    further = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(names[:_NUM_NAMED]) + further
