"""Words for pictures and time: pixel layouts, colour tags, plane batches, exact timestamps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]  # (height, width) or (frames, height, width); uint8, uint16, float16 or float32
SampleType = type[np.uint8] | type[np.uint16] | type[np.float16] | type[np.float32]

# Matrix coefficients, transfer and primaries are ITU-T H.273 code points, as FFmpeg and every container use.
MATRIX_RGB, MATRIX_BT709, UNSPECIFIED, MATRIX_FCC = 0, 1, 2, 4
MATRIX_BT470BG, MATRIX_SMPTE170M, MATRIX_SMPTE240M, MATRIX_YCGCO = 5, 6, 7, 8
MATRIX_BT2020_NCL = 9
MATRIX_NAMES = {
    MATRIX_RGB: "rgb",
    MATRIX_BT709: "bt709",
    UNSPECIFIED: "unspecified",
    MATRIX_FCC: "fcc",
    MATRIX_BT470BG: "bt470bg",
    MATRIX_SMPTE170M: "smpte170m",
    MATRIX_SMPTE240M: "smpte240m",
    MATRIX_YCGCO: "ycgco",
    MATRIX_BT2020_NCL: "bt2020nc",
}
PRIMARIES_BT709, PRIMARIES_BT470BG, PRIMARIES_SMPTE170M, PRIMARIES_BT2020 = 1, 5, 6, 9
PRIMARIES_NAMES = {
    PRIMARIES_BT709: "bt709",
    UNSPECIFIED: "unspecified",
    4: "bt470m",
    PRIMARIES_BT470BG: "bt470bg",
    PRIMARIES_SMPTE170M: "smpte170m",
    7: "smpte240m",
    8: "film",
    PRIMARIES_BT2020: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
TRANSFER_BT709, TRANSFER_LINEAR, TRANSFER_SRGB = 1, 8, 13
TRANSFER_BT2020_10, TRANSFER_PQ, TRANSFER_HLG = 14, 16, 18
TRANSFER_NAMES = {
    TRANSFER_BT709: "bt709",
    UNSPECIFIED: "unspecified",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    11: "iec61966-2-4",
    TRANSFER_SRGB: "srgb",
    TRANSFER_BT2020_10: "bt2020-10",
    15: "bt2020-12",
    TRANSFER_PQ: "pq",
    17: "smpte428",
    TRANSFER_HLG: "hlg",
}

Siting = Literal["left", "center", "topleft"]

_LAYOUT_NAME = re.compile(
    r"(?:(?P<yuv>yuva?)(?P<chroma>4[0-4][0-4])p|(?P<gray>gray)|(?P<gbr>gbra?p))(?P<float>f)?(?P<depth>\d+)?(?:le)?$"
)
# "4xy" of a YUV name to (log2 horizontal, log2 vertical) chroma subsampling.
_CHROMA_SHIFTS = {"444": (0, 0), "440": (0, 1), "422": (1, 0), "420": (1, 1), "411": (2, 0), "410": (2, 2)}


@dataclass(frozen=True, kw_only=True)
class PixelLayout:
    """A planar pixel format: which planes there are, how deep, how subsampled.

    The planes come in FFmpeg's order: Y, U, V(, A) for YUV; G, B, R(, A) for RGB; Y for gray.
    """

    name: str  # FFmpeg's pix_fmt name, e.g. "yuv420p10le"
    family: Literal["yuv", "gray", "gbr"]
    depth: int  # bits per sample: 8 to 16, or 16 or 32 if floating point
    chroma_shift_x: int  # log2 of luma width over chroma width
    chroma_shift_y: int
    has_alpha: bool
    is_float: bool = False  # samples are linear light, 0 black and 1 white, and may lie outside

    @property
    def dtype(self) -> SampleType:
        if self.is_float:
            return np.float16 if self.depth == 16 else np.float32
        return np.uint8 if self.depth == 8 else np.uint16

    @property
    def max_code(self) -> int:
        """The sample that means white in full range."""
        return 1 if self.is_float else (1 << self.depth) - 1

    def plane_shapes(self, width: int, height: int) -> list[tuple[int, int]]:
        """(height, width) of each plane; chroma sides are rounded up, as in every codec."""
        chroma = (-(-height >> self.chroma_shift_y), -(-width >> self.chroma_shift_x))
        full = (height, width)
        shapes = [full] if self.family == "gray" else [full, chroma, chroma]
        return [*shapes, full] if self.has_alpha else shapes


def pixel_layout(name: str) -> PixelLayout | None:
    """The layout of a planar format from FFmpeg's name for it; None if it is packed, not 8 to 16 bit and no float."""
    match = _LAYOUT_NAME.match(name)
    depth = int(match["depth"] or 8) if match else 0
    if match is None or (depth not in (16, 32) if match["float"] else not 8 <= depth <= 16):
        return None
    chroma_shift_x, chroma_shift_y = _CHROMA_SHIFTS.get(match["chroma"] or "444", (-1, -1))
    if chroma_shift_x < 0:
        return None
    family: Literal["yuv", "gray", "gbr"] = "yuv" if match["yuv"] else "gray" if match["gray"] else "gbr"
    return PixelLayout(
        name=name,
        family=family,
        depth=depth,
        chroma_shift_x=chroma_shift_x,
        chroma_shift_y=chroma_shift_y,
        has_alpha="a" in (match["yuv"] or match["gbr"] or ""),
        is_float=bool(match["float"]),
    )


@dataclass(frozen=True, kw_only=True)
class ColorTags:
    """What the numbers in the planes mean, fully resolved: nothing that a file leaves unsaid stays so.

    Primaries and transfer only travel from source to target; the networks work on the coded signal.
    """

    matrix: int  # H.273 MatrixCoefficients
    full_range: bool
    siting: Siting
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    guessed: tuple[str, ...] = ()  # the fields above that the source did not state


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """Size, layout and colour of a stream of pictures."""

    width: int
    height: int
    layout: PixelLayout
    color: ColorTags

    @cached_property
    def plane_shapes(self) -> list[tuple[int, int]]:
        return self.layout.plane_shapes(self.width, self.height)

    @property
    def num_bytes(self) -> int:
        sample_bytes = np.dtype(self.layout.dtype).itemsize
        return sum(h * w for h, w in self.plane_shapes) * sample_bytes


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Samples of the coded picture that are not to be shown, on each side."""

    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """One video stream as the reader will deliver it."""

    stream_index: int
    codec: str
    source_pix_fmt: str  # as coded; `picture.layout` is what it is delivered as
    picture: PictureFormat
    time_base: Fraction  # seconds per tick of every pts below
    average_rate: Fraction | None  # frames per second from the header; a hint for rate control, never a clock
    sample_aspect_ratio: Fraction  # width over height of one sample
    rotation_degrees: int  # counter-clockwise turn that a player applies, from the display matrix
    num_frames_from_index: int  # video packets that a player would show
    first_pts: int | None
    duration_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class FrameTime:
    """When a frame is shown, in integers of the stream's time base, and what is sent along with it."""

    pts: int
    duration: int  # 0 where the source does not say
    captions: bytes | None = None  # ATSC A/53 triplets, see `vidsr.media.captions`


@dataclass
class PlaneBatch:
    """Frames of one format in host memory: `planes[p][n]` is plane p of frame n, `times[n]` its time.

    The arrays hold `capacity` frames and are reused; only the first `len(times)` are meaningful. A frame may be shown
    again by those that follow it: `repeats[n]` are their times.
    """

    planes: tuple[Plane, ...]
    times: list[FrameTime] = field(default_factory=list)
    repeats: dict[int, list[FrameTime]] = field(default_factory=dict)
    follows: bool = False  # its first frame comes after the last of the batch before, in the same segment

    @property
    def capacity(self) -> int:
        return int(self.planes[0].shape[0])

    def __len__(self) -> int:
        return len(self.times)

    def append(self, planes: Sequence[Plane], time: FrameTime) -> None:
        """Copy one frame's (height, width) planes into the next free place."""
        for target, plane in zip(self.planes, planes, strict=True):
            target[len(self)] = plane
        self.times.append(time)

    def clear(self) -> None:
        """Forget all frames; their places are free again."""
        self.times, self.repeats, self.follows = [], {}, False

    def repeat(self, time: FrameTime) -> None:
        """Show the last frame again."""
        self.repeats.setdefault(len(self) - 1, []).append(time)

    @property
    def num_shown(self) -> int:
        """Frames, counted as often as they are shown."""
        return len(self) + sum(map(len, self.repeats.values()))

    def shown(self) -> Iterator[tuple[int, FrameTime, bool]]:
        """The place and the time of every frame, in order, and whether it is a repeat."""
        for index, time in enumerate(self.times):
            yield index, time, False
            for again in self.repeats.get(index, ()):
                yield index, again, True


def clock_text(seconds: Fraction) -> str:
    """A time as people write it: 0:01:02.500."""
    total = float(seconds)
    sign, total = ("-" if total < 0 else ""), abs(total)
    minutes, rest = divmod(total, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{sign}{hours}:{minutes:02d}:{rest:06.3f}"
