"""FFmpeg's pixel formats and colour tags in vidsr's words, with what a file leaves unsaid filled in once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from vidsr.errors import UsageError
from vidsr.frames import (
    MATRIX_BT470BG,
    MATRIX_BT709,
    MATRIX_BT2020_NCL,
    MATRIX_FCC,
    MATRIX_NAMES,
    MATRIX_RGB,
    MATRIX_SMPTE170M,
    MATRIX_SMPTE240M,
    PRIMARIES_BT470BG,
    PRIMARIES_BT709,
    PRIMARIES_BT2020,
    PRIMARIES_SMPTE170M,
    TRANSFER_BT709,
    TRANSFER_BT2020_10,
    TRANSFER_HLG,
    TRANSFER_LINEAR,
    TRANSFER_PQ,
    TRANSFER_SRGB,
    UNSPECIFIED,
    ColorTags,
    PictureFormat,
    PixelLayout,
    Plane,
    SampleType,
    Siting,
    pixel_layout,
)

_DEPTHS = (8, 9, 10, 12, 14, 16)
_RANGE_UNSPECIFIED, _RANGE_FULL = 0, 2
_LAST_KNOWN_MATRIX = 9
_FLOAT_BITS = re.compile(r"f(16|32)(?:le|be)$")
_SD_MATRICES = (MATRIX_FCC, MATRIX_BT470BG, MATRIX_SMPTE170M, MATRIX_SMPTE240M)
_HDR_TRANSFERS = (TRANSFER_PQ, TRANSFER_HLG)
# Where chroma sits if the codec's own convention is not "left": PyAV does not tell what a stream says of it.
_SITING_BY_CODEC: dict[str, Siting] = {
    "mpeg1video": "center",
    "mjpeg": "center",
    "dvvideo": "topleft",
}


def delivered_layout(source: VideoFormat) -> PixelLayout:
    """The planar layout that frames of `source` are read as: the same samples, nothing rounded away.

    Packed and semi-planar formats become planar; palettes and odd RGB depths become planar RGB.
    """
    name = source.name.replace("yuvj", "yuv").removesuffix("be")
    for candidate in (name, name + "le"):
        layout = pixel_layout(candidate)
        if layout is not None and (layout.depth == 8 or candidate.endswith("le")):
            return layout
    bits = max((component.bits for component in source.components), default=8)
    as_float = _FLOAT_BITS.search(source.name)
    if as_float:
        return _float_layout(source, int(as_float[1]))
    depth = next((d for d in _DEPTHS if d >= bits), 16)
    suffix = "" if depth == 8 else f"{depth}le"
    alpha = "a" if any(component.is_alpha for component in source.components) else ""
    if source.has_palette:
        name = "gbrap"
    elif source.is_rgb or "xyz" in source.name or (alpha and len(source.components) == 2):  # gray has no alpha layout
        name = f"gbr{alpha}p{_with_alpha_depth(depth) if alpha else suffix}"
    elif len(source.components) - bool(alpha) == 1:
        name = f"gray{suffix}"
    else:
        name = f"yuv{alpha}{_chroma_name(source)}p{suffix}"
    layout = pixel_layout(name)
    assert layout is not None, name
    return layout


def _float_layout(source: VideoFormat, bits: int) -> PixelLayout:
    alpha = any(component.is_alpha for component in source.components)
    colour = "gray" if len(source.components) == 1 else "gbrap" if alpha else "gbrp"
    layout = pixel_layout(f"{colour}f{bits}le")
    assert layout is not None, source.name
    return layout


def _with_alpha_depth(depth: int) -> str:
    return "" if depth == 8 else f"{depth if depth in (10, 12, 14, 16) else 10}le"


def _chroma_name(source: VideoFormat) -> str:
    shift_x = (16 // source.chroma_width(16)).bit_length() - 1
    shift_y = (16 // source.chroma_height(16)).bit_length() - 1
    names = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440", (2, 0): "411"}
    return names.get((shift_x, shift_y), "444")


def resolve_color(frame: VideoFrame, codec: VideoCodecContext, layout: PixelLayout) -> ColorTags:
    """The colour tags of a stream by its first frame; what neither says follows the usual rules.

    Unspecified YUV is BT.601 up to 1024x576 and BT.709 above, limited range; gray and RGB are full range, RGB is
    sRGB. A PQ or HLG signal is BT.2020. Primaries are guessed as players do (libplacebo, mpv): those of 625 or 525
    lines for pictures of just that height, else BT.709's.
    """
    guessed = []
    size = frame.width, frame.height
    transfer = _first_stated(frame.color_trc, codec.color_trc)
    primaries = _first_stated(frame.color_primaries, codec.color_primaries)
    matrix = _first_stated(frame.colorspace, codec.colorspace)
    if layout.family == "gbr":
        matrix = MATRIX_RGB
    elif matrix in (UNSPECIFIED, MATRIX_RGB, 3) or matrix > _LAST_KNOWN_MATRIX:
        guessed.append("matrix")
        is_wide = transfer in _HDR_TRANSFERS or primaries == PRIMARIES_BT2020
        matrix = MATRIX_BT2020_NCL if is_wide else usual_matrix(*size)
    range_code = int(frame.color_range) or int(codec.color_range)
    full_range = range_code == _RANGE_FULL or frame.format.name.startswith("yuvj")
    if range_code == _RANGE_UNSPECIFIED and not full_range:
        guessed.append("range")
        full_range = layout.family != "yuv"
    siting = _SITING_BY_CODEC.get(codec.name, "left")
    if layout.family == "yuv" and (layout.chroma_shift_x or layout.chroma_shift_y):
        guessed.append("siting")
    if primaries == UNSPECIFIED:
        guessed.append("primaries")
        is_wide = transfer in _HDR_TRANSFERS or matrix == MATRIX_BT2020_NCL
        primaries = PRIMARIES_BT2020 if is_wide else _usual_primaries(*size)
    if transfer == UNSPECIFIED:
        guessed.append("transfer")
        transfer = TRANSFER_SRGB if layout.family == "gbr" else TRANSFER_BT709
        transfer = TRANSFER_BT2020_10 if matrix == MATRIX_BT2020_NCL else transfer
    return ColorTags(
        matrix=matrix,
        full_range=full_range,
        siting=siting,
        primaries=primaries,
        transfer=transfer,
        guessed=tuple(guessed),
    )


def output_color(source: PictureFormat, layout: PixelLayout, size: tuple[int, int], matrix: str = "keep") -> ColorTags:
    """What planes of `layout` made from `source` are tagged as.

    Range stays as it is. Chroma is written where every encoder says it is, on the left. Linear light that becomes
    integers is coded by the sRGB curve.

    Args:
        source: what the planes are made from.
        layout: what they are made into.
        size: (width, height) of the target.
        matrix: keep: the source's, so that no value is moved for the sake of a tag; auto: BT.709 for an HD target
            made from an SD source; else a name from `MATRIX_NAMES`.

    Raises:
        UsageError: a matrix was named for planes that have none.
    """
    color = dataclasses.replace(source.color, siting="left", guessed=())
    if layout.is_float != source.layout.is_float:
        color = dataclasses.replace(color, transfer=TRANSFER_LINEAR if layout.is_float else TRANSFER_SRGB)
    named = next((code for code, name in MATRIX_NAMES.items() if name == matrix), None)
    if named is not None and layout.family != "yuv":
        raise UsageError(f"matrix {matrix} was asked for, but {layout.name} is not YUV; leave it out")
    if layout.family == source.layout.family == "gbr":
        return color
    if layout.family == "gbr":
        return dataclasses.replace(color, matrix=MATRIX_RGB, full_range=True)
    if source.layout.family == "gbr":
        is_wide = color.primaries == PRIMARIES_BT2020
        usual = MATRIX_BT2020_NCL if is_wide else usual_matrix(source.width, source.height)
        color = dataclasses.replace(color, matrix=usual, full_range=layout.family == "gray")
    if matrix == "auto" and color.matrix in _SD_MATRICES and usual_matrix(*size) == MATRIX_BT709:
        named = MATRIX_BT709
    return color if named is None else dataclasses.replace(color, matrix=named)


def usual_matrix(width: int, height: int) -> int:
    """The matrix that players assume for a size where a file does not say."""
    if width >= 1280 or height > 576:
        return MATRIX_BT709
    return MATRIX_BT470BG if height in (288, 576) else MATRIX_SMPTE170M


def _usual_primaries(width: int, height: int) -> int:
    if width >= 1280 or height > 576:
        return PRIMARIES_BT709
    return {576: PRIMARIES_BT470BG, 480: PRIMARIES_SMPTE170M, 486: PRIMARIES_SMPTE170M}.get(height, PRIMARIES_BT709)


def _first_stated(*codes: int) -> int:
    return next((int(code) for code in codes if int(code) != UNSPECIFIED), UNSPECIFIED)


def closest_format(wanted: PixelLayout, offered: list[str]) -> PixelLayout | None:
    """The planar format of an encoder that keeps most of `wanted`: depth first, then chroma, then alpha.

    Never one that is gray or RGB for a YUV source; None where the encoder has nothing fitting.
    """
    layouts = [x for name in offered if "yuvj" not in name and (x := pixel_layout(name)) and not x.is_float]
    if any(layout.name == wanted.name for layout in layouts):
        return wanted

    def loss(layout: PixelLayout) -> tuple[int, ...]:
        return (
            layout.family != (wanted.family if wanted.family == "gbr" else "yuv"),
            max(wanted.depth - layout.depth, 0),
            max(layout.chroma_shift_x - wanted.chroma_shift_x, 0),
            max(layout.chroma_shift_y - wanted.chroma_shift_y, 0),
            wanted.has_alpha and not layout.has_alpha,
            layout.depth - wanted.depth,
            -layout.chroma_shift_x - layout.chroma_shift_y,
            layout.has_alpha,
        )

    if wanted.family == "gray":  # loses nothing in 4:2:0, which every player knows
        depth = min(wanted.depth, 16)
        stand_in = pixel_layout("yuv420p" if depth == 8 else f"yuv420p{depth}le")
        assert stand_in is not None
        return closest_format(stand_in, offered)
    candidates = [layout for layout in layouts if layout.family != "gray"]
    if wanted.family == "yuv":
        candidates = [layout for layout in candidates if layout.family == "yuv"]
    return min(candidates, key=loss, default=None)


def closest_picture_layout(wanted: PixelLayout, offered: Iterable[str]) -> PixelLayout:
    """The gray or RGB layout of a picture format that keeps most of `wanted`: colour, depth, alpha; then the smallest.

    YUV becomes RGB. Integers that become linear light need more bits where it is bright: half floats hold 10.
    """
    layouts = [layout for name in offered if (layout := pixel_layout(name))]

    def precision(layout: PixelLayout) -> int:
        if layout.is_float == wanted.is_float:
            return layout.depth
        return min(layout.depth, 16) if wanted.is_float else 10 if layout.depth == 16 else 24

    def loss(layout: PixelLayout) -> tuple[int, ...]:
        return (
            layout.family == "gray" and (wanted.family != "gray" or wanted.has_alpha),
            max(wanted.depth - precision(layout), 0),
            wanted.has_alpha and not layout.has_alpha,
            layout.family != "gray" and wanted.family == "gray",
            precision(layout),
            layout.has_alpha,
        )

    return min(layouts, key=loss)


def plane_view(plane: VideoPlane, shape: tuple[int, int], dtype: SampleType) -> Plane:
    """(height, width) view of an FFmpeg plane, whose lines are padded; copies nothing."""
    height, width = shape
    samples: Plane = np.frombuffer(memoryview(plane), dtype)
    stride = plane.line_size // samples.itemsize
    return samples[: height * stride].reshape(height, stride)[:, :width]
