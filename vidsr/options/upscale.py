"""The one options object that the command line, recipes and the library all speak."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from vidsr.errors import UsageError
from vidsr.frames import MATRIX_NAMES, MATRIX_RGB, UNSPECIFIED
from vidsr.options.values import (
    Point,
    Spec,
    between,
    is_switch,
    one_of,
    option,
    parse_fraction,
    parse_point,
    parse_size,
)

Fit = Literal["after", "before"]
Precision = Literal["auto", "fp32", "fp16"]
Container = Literal["auto", "mp4", "mov", "mkv", "webm"]
Rotation = Literal["keep", "apply"]
Alpha = Literal["lanczos", "network"]
Deinterlace = Literal["auto", "off", "bwdif", "bwdif:double"]
OnDecodeError = Literal["report", "stop"]

MIN_SCALE, MAX_SCALE = 1, 8
MAX_RATE = 1000
MIN_SIDE_PX, MAX_SIDE_PX = 2, 32768
MATRIX_CHOICES = (
    "keep",
    "auto",
    *(name for code, name in MATRIX_NAMES.items() if code not in (MATRIX_RGB, UNSPECIFIED)),
)


def _is_tile(value: int) -> str | None:
    return None if value == 0 or value >= 32 else "0 (never) or at least 32 pixels"


def _is_rate(value: Fraction) -> str | None:
    return None if 0 < value <= MAX_RATE else f"above 0 and at most {MAX_RATE} frames per second"


def _is_whole(low: int, high: int, unit: str = "") -> Callable[[int], str | None]:
    return lambda value: None if low <= value <= high else f"{low} to {high}{unit}"


def _is_point(value: Point) -> str | None:
    return None if value >= 0 else "0 or more"


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """How to upscale a video. Immutable; every field has a neutral default; unknown keys are errors.

    Raises:
        UsageError: a value outside its range, or two options that contradict each other.
    """

    scale: Fraction | None = option(
        None,
        "output size over input size, 1 to 8, any fraction (1.5, 4/3); 2 if no size is given",
        read=partial(parse_fraction, "scale"),
        check=between(MIN_SCALE, MAX_SCALE),
        short="-s",
    )
    size: tuple[int, int] | None = option(None, "output width and height in pixels, e.g. 1920x1080", read=parse_size)
    height: int | None = option(None, "output height in pixels; the width follows", kind="whole")
    model: str = option("auto", "a name from `vidsr models`, a checkpoint's path, or auto: by the device", short="-m")
    fit: Fit = option(
        "after",
        "where a network's own scale is too large: resize its output (after) or its input (before)",
        check=one_of(Fit),
    )
    denoise: float = option(
        1.0,
        "0 keeps the grain, 1 removes it; between realesr-general-wdn-x4v3 and realesr-general-x4v3",
        kind="number",
        check=between(0, 1),
    )
    blend: float = option(
        1.0, "share of the network in the result; 0 gives exactly lanczos", kind="number", check=between(0, 1)
    )
    device: str = option(
        "auto", "auto, cpu, cuda or cuda:N; several share the frames of a video: cuda:0,cuda:1, or cuda:all"
    )
    precision: Precision = option("auto", "auto: fp16 on CUDA, fp32 on CPU", check=one_of(Precision))
    engine: str = option("auto", "what runs the network, by a name from `vidsr doctor`; auto: as this machine likes")
    tile: int | None = option(
        None,
        "tile side in input pixels; 0: whole frames while they fit; unset: by an estimate",
        kind="whole",
        check=_is_tile,
    )
    batch: int | None = option(
        None,
        "frames per network call; unset: as the device likes",
        changes_pixels=False,
        kind="whole",
        check=_is_whole(1, 256, " frames"),
    )
    threads: int | None = option(
        None,
        "processors for networks and colours on the CPU; unset: as `vidsr tune` found, else all that were granted",
        changes_pixels=False,
        kind="whole",
        check=_is_whole(1, 1024),
    )
    codec: str = option(
        "libx264",
        "video encoder: libx264, libx265, libsvtav1, libvpx-vp9, ffv1, prores_ks; with the hardware for it "
        "h264_nvenc, hevc_nvenc, av1_nvenc, h264_qsv, hevc_qsv, av1_qsv; for pictures png, tiff, exr, dpx",
    )
    crf: float | None = option(
        None, "the encoder's constant quality, lower is better; unset: per encoder", kind="number"
    )
    preset: str | None = option(None, "the encoder's speed preset; unset: per encoder")
    encoder_options: tuple[tuple[str, str], ...] = option(
        (),
        "further options of the encoder, as FFmpeg names them: key=value; an unknown one is an error",
        kind="pairs",
        flag="--encoder-option",
    )
    pix_fmt: str | None = option(None, "output pixel format; unset: the source's depth and chroma")
    rate: Fraction | None = option(
        None,
        "frames per second of an image sequence, such as 24 or 24000/1001; unset: 24; for other sources an error",
        changes_pixels=False,
        read=partial(parse_fraction, "rate"),
        check=_is_rate,
    )
    matrix: str = option(
        "keep",
        "of YUV output: keep the source's and tag it; auto: bt709 where SD becomes HD; or bt709, smpte170m, ...",
        check=one_of(MATRIX_CHOICES),
    )
    rotation: Rotation = option(
        "keep",
        "of sources that are to be shown rotated: keep that tag, or apply it to the pixels",
        check=one_of(Rotation),
    )
    alpha: Alpha = option(
        "lanczos", "how an alpha channel is enlarged: lanczos, or network as the picture", check=one_of(Alpha)
    )
    deinterlace: Deinterlace = option(
        "auto",
        "auto: bwdif where the video is found to be interlaced, and telecined frames put together again; "
        "off: upscaled as they are; bwdif: one frame from each; bwdif:double: one from each field",
        check=one_of(Deinterlace, "one of "),
    )
    detelecine: bool = option(
        False,
        "film in 30 frames a second back to its own 24: the fields put together, one frame in five dropped",
        kind="switch",
        check=is_switch,
    )
    on_decode_error: OnDecodeError = option(
        "report",
        "where the source is damaged: report it and keep all frames that can be decoded, or stop",
        changes_pixels=False,
        check=one_of(OnDecodeError),
    )
    start: Point | None = option(
        None, "first frame: a time (12.5, 0:01:02.5) or a frame number (300f)", read=parse_point, check=_is_point
    )
    stop: Point | None = option(
        None, "end, not included: a time or a frame number (360f)", read=parse_point, check=_is_point
    )
    container: Container | None = option(
        None,
        "mp4, mov, mkv or webm where no target is named; auto: the one that holds most; unset: as the source",
        changes_pixels=False,
        check=one_of(Container),
    )
    strict: bool = option(
        False,
        "refuse, before any work, if anything of the source would be lost",
        changes_pixels=False,
        kind="switch",
        check=is_switch,
    )

    def __post_init__(self) -> None:
        for name in ("denoise", "blend", "crf"):  # 1 is equal to 1.0, so both must have one digest
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        # A float is meant as it is written: 1.1 is 11/10. An int is a scale, or else a frame number.
        for name, kinds in (("scale", (int, float)), ("rate", (int, float)), ("start", float), ("stop", float)):
            if isinstance(getattr(self, name), kinds):
                object.__setattr__(self, name, parse_fraction(name, getattr(self, name)))
        # A mapping is welcome, but kept as sorted pairs: hashable, and one digest for one meaning.
        pairs = sorted((str(key), str(value)) for key, value in dict(self.encoder_options).items())
        object.__setattr__(self, "encoder_options", tuple(pairs))
        for name, spec in SPECS.items():
            value = getattr(self, name)
            refused = None if value is None else spec.check(value)
            if refused is not None:
                shown = repr(value) if isinstance(value, str) else value
                raise UsageError(f"{name} is {shown}; it must be {refused}")
        self._check_size()
        self._check_together()

    def _check_size(self) -> None:
        given = [n for n in ("scale", "size", "height") if getattr(self, n) is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} were given; they all set the output size: give one")
        if not given:
            object.__setattr__(self, "scale", Fraction(2))
        for side in (*(self.size or ()), *([self.height] if self.height is not None else [])):
            if not MIN_SIDE_PX <= side <= MAX_SIDE_PX:
                raise UsageError(
                    f"an output side of {side} pixels was asked for; it must be {MIN_SIDE_PX} to {MAX_SIDE_PX}"
                )

    def _check_together(self) -> None:
        if self.detelecine and self.deinterlace != "auto":
            raise UsageError(
                f"detelecine and deinterlace={self.deinterlace} were given; inverse telecine deinterlaces by itself "
                "what it cannot put together: give one"
            )
        same_unit = type(self.start) is type(self.stop)
        if self.start is not None and self.stop is not None and same_unit and self.stop <= self.start:
            raise UsageError(f"stop ({self.stop}) must come after start ({self.start})")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], origin: str = "options") -> UpscaleOptions:
        """Options from plain values or their text forms, as recipes and the command line have them; None is unset.

        Raises:
            UsageError: an unknown key (named, with the known ones) or a value of the wrong form.
        """
        unknown = [key for key in values if key not in SPECS]
        if unknown:
            raise UsageError(f"{origin}: unknown option {unknown[0]!r}; known are {', '.join(SPECS)}")
        read: dict[str, Any] = {}
        for name, value in values.items():
            if value is None:
                continue
            try:
                read[name] = SPECS[name].read(value)
            except UsageError as error:
                raise UsageError(f"{origin}: {error}") from None
            except ValueError:
                raise UsageError(f"{origin}: {name} is {value!r}; it is {SPECS[name].meaning}") from None
        return cls(**read)

    def in_words(self) -> dict[str, str]:
        """All that decides the pixels, as text; of devices, that is their kind."""
        words = {name: str(getattr(self, name)) for name, spec in SPECS.items() if spec.changes_pixels}
        return {**words, "device": re.split("[,:]", self.device)[0].strip()}

    def digest(self) -> str:
        """A short name for what these options make of a picture: the same digest, the same pixels."""
        return hashlib.sha256(json.dumps(self.in_words(), sort_keys=True).encode()).hexdigest()[:16]


# The options by their names, in the order of the fields: what recipes, command lines and texts are made from.
SPECS: Mapping[str, Spec] = MappingProxyType({f.name: f.metadata["spec"] for f in fields(UpscaleOptions)})
