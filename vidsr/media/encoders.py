"""The video encoders vidsr writes with: their quality scale, presets and fixed settings, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from vidsr.errors import UsageError
from vidsr.frames import PictureFormat, PixelLayout, pixel_layout
from vidsr.media.captions import CARRYING_CODECS
from vidsr.media.formats import closest_format


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One video encoder. Options not listed here keep FFmpeg's defaults."""

    name: str
    summary: str
    crf: float | None = None  # default constant quality; None: the encoder has no such scale
    crf_range: tuple[float, float] = (0, 63)
    preset: str | None = None  # default speed; None: no presets
    preset_option: str = "preset"
    keeps_alpha: bool = True  # if any of its formats has alpha
    even_sides: bool = True  # refuses odd sizes where chroma is subsampled
    containers: frozenset[str] = frozenset({"mp4", "mov", "matroska"})
    segment_format: Literal["nut", "mov"] = "nut"
    settings: Mapping[str, str] = field(default_factory=dict)

    def options(self, crf: float | None, preset: str | None) -> dict[str, str]:
        """The encoder's private options for a quality and a speed.

        Raises:
            UsageError: a quality or preset that this encoder does not have.
        """
        result = dict(self.settings)
        crf = self.crf if crf is None else crf
        if crf is not None:
            low, high = self.crf_range
            if self.crf is None:
                raise UsageError(f"{self.name} has no crf: it is {self.summary}; leave crf out")
            if not low <= crf <= high:
                raise UsageError(f"crf is {crf:g}; {self.name} takes {low:g} (best) to {high:g}")
            result["crf"] = f"{crf:g}"
        preset = self.preset if preset is None else preset
        if preset is not None:
            if self.preset is None:
                raise UsageError(f"{self.name} has no presets; leave preset out")
            result[self.preset_option] = preset
        return result


_ENCODERS = (
    Encoder(
        name="libx264",
        summary="H.264, plays everywhere",
        crf=17,
        crf_range=(0, 51),
        preset="medium",
        containers=frozenset({"mp4", "mov", "matroska"}),
    ),
    Encoder(
        name="libx265",
        summary="HEVC, smaller files, slower",
        crf=19,
        crf_range=(0, 51),
        preset="medium",
        settings=MappingProxyType({"x265-params": "log-level=error"}),
    ),
    Encoder(
        name="libsvtav1",
        summary="AV1, smallest files",
        crf=24,
        preset="8",
        containers=frozenset({"mp4", "matroska", "webm"}),
    ),
    Encoder(
        name="libvpx-vp9",
        summary="VP9, for WebM",
        crf=24,
        preset="4",
        preset_option="cpu-used",
        keeps_alpha=False,  # it travels beside the packets, where segments lose it
        even_sides=False,
        containers=frozenset({"mp4", "matroska", "webm"}),
        settings=MappingProxyType({"b": "0", "deadline": "good", "row-mt": "1"}),
    ),
    Encoder(
        name="ffv1",
        summary="lossless, for archives",
        even_sides=False,
        containers=frozenset({"matroska"}),
        # Slices are given because FFmpeg's own choice depends on the number of processors.
        settings=MappingProxyType({"level": "3", "g": "1", "slices": "16", "slicecrc": "1"}),
    ),
    Encoder(
        name="prores_ks",
        summary="ProRes, for editing",
        even_sides=False,
        segment_format="mov",
        containers=frozenset({"mov", "matroska"}),
    ),
)
ENCODERS = MappingProxyType({encoder.name: encoder for encoder in _ENCODERS})


def find_encoder(name: str) -> Encoder:
    """The table row of an encoder that this build of FFmpeg has.

    Raises:
        UsageError: not in the table, or not in this build.
    """
    if name not in ENCODERS:
        raise UsageError(f"codec is {name!r}; vidsr writes {', '.join(ENCODERS)}")
    try:
        Codec(name, "w")
    except UnknownCodecError:
        raise UsageError(f"this build of PyAV lacks the encoder {name}; try libx264") from None
    return ENCODERS[name]


def carries_captions(name: str) -> bool:
    """Whether pictures of this encoder have a place for closed captions."""
    return Codec(name, "w").canonical_name in CARRYING_CODECS


def fit_slices(codec: str, options: Mapping[str, str], picture: PictureFormat) -> dict[str, str]:
    """The options with the number of slices, if they give one, moved to the nearest that FFV1 takes for this size.

    It refuses those that would cut subsampled chroma unevenly: 16 at 853x480, and all but 49 at 1919x1079.
    """
    wanted = int(options.get("slices", 0))
    for count in sorted(range(1, 257), key=lambda n: abs(n - wanted)) if wanted else ():
        trial = VideoCodecContext.create(codec, "w")
        assert isinstance(trial, VideoCodecContext)
        trial.width, trial.height, trial.pix_fmt = picture.width, picture.height, picture.layout.name
        trial.time_base = Fraction(1, 25)
        fitting = {**options, "slices": str(count)}
        trial.options = dict(fitting)  # opening empties it
        with suppress(FFmpegError):
            trial.open()
            return fitting
    return dict(options)


def choose_layout(encoder: Encoder, source: PixelLayout, pix_fmt: str | None) -> PixelLayout:
    """The output's pixel format: the one asked for, else the one that keeps most of the source's.

    Raises:
        UsageError: the encoder does not take the format asked for.
    """
    names = [offer.name for offer in Codec(encoder.name, "w").video_formats or []]
    offered = [name for name in names if encoder.keeps_alpha or not ((known := pixel_layout(name)) and known.has_alpha)]
    if pix_fmt is None:
        layout = closest_format(source, offered)
        assert layout is not None, (encoder.name, offered)
        return layout
    planar = closest_format(source, [pix_fmt]) if pix_fmt in offered else None
    if planar is None:
        fitting = ", ".join(name for name in offered if closest_format(source, [name]) is not None)
        raise UsageError(f"{encoder.name} does not write {pix_fmt!r} from this source; it takes {fitting}")
    return planar
