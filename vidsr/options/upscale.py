"""The one options object that the command line, recipes and the library all speak."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal, get_args

from vidsr.errors import UsageError
from vidsr.frames import MATRIX_NAMES, MATRIX_RGB, UNSPECIFIED
from vidsr.options.values import Point, parse_fraction, parse_pairs, parse_point, parse_size, parse_whole

Fit = Literal["after", "before"]
Precision = Literal["auto", "fp32", "fp16"]
Container = Literal["auto", "mp4", "mov", "mkv", "webm"]
Rotation = Literal["keep", "apply"]
Alpha = Literal["lanczos", "network"]
Deinterlace = Literal["auto", "off", "bwdif", "bwdif:double"]
OnDecodeError = Literal["report", "stop"]

MIN_SCALE, MAX_SCALE = 1, 8
MAX_RATE = 1000
MATRIX_CHOICES = (
    "keep",
    "auto",
    *(name for code, name in MATRIX_NAMES.items() if code not in (MATRIX_RGB, UNSPECIFIED)),
)


def _option(default: Any, meaning: str, *, changes_pixels: bool = True) -> Any:
    return field(default=default, metadata={"meaning": meaning, "changes_pixels": changes_pixels})


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """How to upscale a video. Immutable; every field has a neutral default; unknown keys are errors.

    Raises:
        UsageError: a value outside its range, or two options that contradict each other.
    """

    scale: Fraction | None = _option(
        None, "output size over input size, 1 to 8, any fraction (1.5, 4/3); 2 if no size is given"
    )
    size: tuple[int, int] | None = _option(None, "output width and height in pixels, e.g. 1920x1080")
    height: int | None = _option(None, "output height in pixels; the width follows")
    model: str = _option("auto", "a name from `vidsr models`, a checkpoint's path, or auto: by the device")
    fit: Fit = _option(
        "after", "where a network's own scale is too large: resize its output (after) or its input (before)"
    )
    denoise: float = _option(
        1.0, "0 keeps the grain, 1 removes it; between realesr-general-wdn-x4v3 and realesr-general-x4v3"
    )
    blend: float = _option(1.0, "share of the network in the result; 0 gives exactly lanczos")
    device: str = _option(
        "auto", "auto, cpu, cuda or cuda:N; several share the frames of a video: cuda:0,cuda:1, or cuda:all"
    )
    precision: Precision = _option("auto", "auto: fp16 on CUDA, fp32 on CPU")
    engine: str = _option("auto", "what runs the network, by a name from `vidsr doctor`; auto: as this machine likes")
    tile: int | None = _option(None, "tile side in input pixels; 0: whole frames while they fit; unset: by an estimate")
    batch: int | None = _option(None, "frames per network call; unset: as the device likes", changes_pixels=False)
    threads: int | None = _option(
        None,
        "processors for networks and colours on the CPU; unset: as `vidsr tune` found, else all that were granted",
        changes_pixels=False,
    )
    codec: str = _option(
        "libx264",
        "video encoder: libx264, libx265, libsvtav1, libvpx-vp9, ffv1, prores_ks; with the hardware for it "
        "h264_nvenc, hevc_nvenc, av1_nvenc, h264_qsv, hevc_qsv, av1_qsv; for pictures png, tiff, exr, dpx",
    )
    crf: float | None = _option(None, "the encoder's constant quality, lower is better; unset: per encoder")
    preset: str | None = _option(None, "the encoder's speed preset; unset: per encoder")
    encoder_options: tuple[tuple[str, str], ...] = _option(
        (), "further options of the encoder, as FFmpeg names them: key=value; an unknown one is an error"
    )
    pix_fmt: str | None = _option(None, "output pixel format; unset: the source's depth and chroma")
    rate: Fraction | None = _option(
        None,
        "frames per second of an image sequence, such as 24 or 24000/1001; unset: 24; for other sources an error",
        changes_pixels=False,
    )
    matrix: str = _option(
        "keep", "of YUV output: keep the source's and tag it; auto: bt709 where SD becomes HD; or bt709, smpte170m, ..."
    )
    rotation: Rotation = _option(
        "keep", "of sources that are to be shown rotated: keep that tag, or apply it to the pixels"
    )
    alpha: Alpha = _option("lanczos", "how an alpha channel is enlarged: lanczos, or network as the picture")
    deinterlace: Deinterlace = _option(
        "auto",
        "auto: bwdif where the video is found to be interlaced, and telecined frames put together again; "
        "off: upscaled as they are; bwdif: one frame from each; bwdif:double: one from each field",
    )
    detelecine: bool = _option(
        False, "film in 30 frames a second back to its own 24: the fields put together, one frame in five dropped"
    )
    on_decode_error: OnDecodeError = _option(
        "report",
        "where the source is damaged: report it and keep all frames that can be decoded, or stop",
        changes_pixels=False,
    )
    start: Point | None = _option(None, "first frame: a time (12.5, 0:01:02.5) or a frame number (300f)")
    stop: Point | None = _option(None, "end, not included: a time or a frame number (360f)")
    container: Container | None = _option(
        None,
        "mp4, mov, mkv or webm where no target is named; auto: the one that holds most; unset: as the source",
        changes_pixels=False,
    )
    strict: bool = _option(
        False, "refuse, before any work, if anything of the source would be lost", changes_pixels=False
    )

    def __post_init__(self) -> None:
        for name in ("denoise", "blend", "crf"):  # 1 is equal to 1.0, so both must have one digest
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        # A float is meant as it is written: 1.1 is 11/10. An int is a scale, or else a frame number.
        for name, kinds in (("scale", (int, float)), ("rate", (int, float)), ("start", float), ("stop", float)):
            if isinstance(getattr(self, name), kinds):
                object.__setattr__(self, name, parse_fraction(name, str(getattr(self, name))))
        if self.rate is not None and not 0 < self.rate <= MAX_RATE:
            raise UsageError(f"rate is {self.rate}; it must be above 0 and at most {MAX_RATE} frames per second")
        # A mapping is welcome, but kept as sorted pairs: hashable, and one digest for one meaning.
        pairs = sorted((str(key), str(value)) for key, value in dict(self.encoder_options).items())
        object.__setattr__(self, "encoder_options", tuple(pairs))
        self._check_size()
        self._check_network()
        if self.matrix not in MATRIX_CHOICES:
            raise UsageError(f"matrix is {self.matrix!r}; it must be {', '.join(MATRIX_CHOICES)}")
        for name, kind in (("rotation", Rotation), ("alpha", Alpha), ("on_decode_error", OnDecodeError)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(get_args(kind))}")
        if self.container is not None and self.container not in get_args(Container):
            raise UsageError(f"container is {self.container!r}; it must be {', '.join(get_args(Container))}")
        self._check_fields()
        for name in ("start", "stop"):
            point = getattr(self, name)
            if point is not None and point < 0:
                raise UsageError(f"{name} is {point}; a time or frame number starts at 0")
        same_unit = type(self.start) is type(self.stop)
        if self.start is not None and self.stop is not None and same_unit and self.stop <= self.start:
            raise UsageError(f"stop ({self.stop}) must come after start ({self.start})")

    def _check_size(self) -> None:
        given = [n for n in ("scale", "size", "height") if getattr(self, n) is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} were given; they all set the output size: give one")
        if not given:
            object.__setattr__(self, "scale", Fraction(2))
        if self.scale is not None and not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise UsageError(f"scale is {self.scale}; it must be between {MIN_SCALE} and {MAX_SCALE}")
        for side in (*(self.size or ()), *([self.height] if self.height is not None else [])):
            if not 2 <= side <= 32768:
                raise UsageError(f"an output side of {side} pixels was asked for; it must be 2 to 32768")

    def _check_network(self) -> None:
        for name in ("denoise", "blend"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.fit not in get_args(Fit):
            raise UsageError(f"fit is {self.fit!r}; it must be after or before")
        if self.precision not in get_args(Precision):
            raise UsageError(f"precision is {self.precision!r}; it must be auto, fp32 or fp16")
        if self.tile is not None and self.tile != 0 and self.tile < 32:
            raise UsageError(f"tile is {self.tile}; it must be 0 (never) or at least 32 pixels")
        if self.batch is not None and not 1 <= self.batch <= 256:
            raise UsageError(f"batch is {self.batch}; it must be 1 to 256 frames")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UsageError(f"threads is {self.threads}; it must be 1 to 1024")

    def _check_fields(self) -> None:
        if self.deinterlace not in get_args(Deinterlace):
            known = ", ".join(get_args(Deinterlace))
            raise UsageError(f"deinterlace is {self.deinterlace!r}; it must be one of {known}")
        if not isinstance(self.detelecine, bool):
            raise UsageError(f"detelecine is {self.detelecine!r}; it must be true or false")
        if self.detelecine and self.deinterlace != "auto":
            raise UsageError(
                f"detelecine and deinterlace={self.deinterlace} were given; inverse telecine deinterlaces by itself "
                "what it cannot put together: give one"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], origin: str = "options") -> UpscaleOptions:
        """Options from plain values or their text forms, as recipes and the command line have them; None is unset.

        Raises:
            UsageError: an unknown key (named, with the known ones) or a value of the wrong form.
        """
        known = {f.name: f for f in fields(cls)}
        unknown = [key for key in values if key not in known]
        if unknown:
            raise UsageError(f"{origin}: unknown option {unknown[0]!r}; known are {', '.join(known)}")
        given = {key: value for key, value in values.items() if value is not None}
        parsed: dict[str, Any] = {key: _parse(known[key], value, origin) for key, value in given.items()}
        return cls(**parsed)

    def in_words(self) -> dict[str, str]:
        """All that decides the pixels, as text; of devices, that is their kind."""
        words = {f.name: str(getattr(self, f.name)) for f in fields(self) if f.metadata["changes_pixels"]}
        return {**words, "device": re.split("[,:]", self.device)[0].strip()}

    def digest(self) -> str:
        """A short name for what these options make of a picture: the same digest, the same pixels."""
        return hashlib.sha256(json.dumps(self.in_words(), sort_keys=True).encode()).hexdigest()[:16]


def meaning(name: str) -> str:
    """The one line that says what an option means, for help texts."""
    return str(UpscaleOptions.__dataclass_fields__[name].metadata["meaning"])


def _parse(spec: Field[Any], value: object, origin: str) -> object:
    try:
        match spec.name:
            case "scale" | "rate":
                return value if isinstance(value, Fraction) else parse_fraction(spec.name, str(value))
            case "size":
                if isinstance(value, (tuple, list)) and len(value) == 2:
                    return parse_whole(value[0]), parse_whole(value[1])
                return parse_size(str(value))
            case "start" | "stop":
                return value if isinstance(value, Fraction) else parse_point(str(value))
            case "height" | "tile" | "batch" | "threads":
                return parse_whole(value)
            case "denoise" | "blend" | "crf":
                return float(str(value))
            case "encoder_options":
                return parse_pairs(value)
            case "strict" | "detelecine":
                if not isinstance(value, bool):
                    raise ValueError(value)
                return value
            case _:
                return str(value)
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from None
    except ValueError:
        raise UsageError(f"{origin}: {spec.name} is {value!r}; it is {spec.metadata['meaning']}") from None
