"""The video encoders vidsr writes with: their quality scale, presets and fixed settings, one row each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from av import logging
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from vidsr.errors import UsageError
from vidsr.frames import MATRIX_BT709, ColorTags, PictureFormat, PixelLayout, pixel_layout
from vidsr.media.captions import CARRYING_CODECS
from vidsr.media.containers import MATROSKA, Container
from vidsr.media.formats import closest_format, closest_picture_layout

# Encoder options that say the quality in another way than crf; the default crf would win over them.
_RATE_CONTROL = {"b", "cq", "global_quality", "lossless", "q", "qp", "qscale"}
# How libx264, libx265 and libsvtav1 speak of parameters that they then ignore.
_COMPLAINT = re.compile(r"^(Error (parsing|setting) |Unknown option|Invalid value|Unable to parse)")
# SVT-AV1 writes its settings to stderr by itself, past FFmpeg's log; 1 leaves its errors.
os.environ.setdefault("SVT_LOG", "1")


SegmentFormat = Literal["nut", "mov", "matroska", "pictures"]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One video encoder. Options not listed here keep FFmpeg's defaults."""

    name: str
    codec: str  # FFmpeg's canonical name of what it writes; which containers hold that is in their rows
    summary: str
    crf: float | None = None  # default constant quality; None: the encoder has no such scale
    crf_range: tuple[float, float] = (0, 63)
    crf_option: str = "crf"
    preset: str | None = None  # default speed; None: no presets
    preset_option: str = "preset"
    alpha_beside_packets: bool = False  # for which not every container has a place
    alpha_settings: Mapping[str, str] = field(default_factory=dict)  # besides `settings`, for such a format
    alpha_segment_format: SegmentFormat | None = None  # instead of `segment_format`
    min_width: int = 1  # pixels; below it the encoder crashes or refuses
    even_sides: bool = True  # refuses odd sizes where chroma is subsampled
    segment_format: SegmentFormat = "nut"
    settings: Mapping[str, str] = field(default_factory=dict)
    # FFmpeg's name of what the encoder is given for a planar layout that it takes in another arrangement only.
    samples: Mapping[str, str] = field(default_factory=dict)
    only_samples: bool = False  # whether it is given no other layouts than those

    def options(
        self, crf: float | None, preset: str | None, further: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> dict[str, str]:
        """The encoder's options for a quality, a speed and whatever else is wanted of it.

        Further options overrule those of the table; lists of parameters, such as x265-params, are added to.

        Raises:
            UsageError: a quality or preset that this encoder does not have.
        """
        result, further = dict(self.settings), dict(further)
        if crf is None and not _RATE_CONTROL & set(further):
            crf = self.crf
        if crf is not None:
            low, high = self.crf_range
            if self.crf is None:
                raise UsageError(f"{self.name} has no crf: it is {self.summary}; leave crf out")
            if not low <= crf <= high:
                raise UsageError(f"crf is {crf:g}; {self.name} takes {low:g} (best) to {high:g}")
            result[self.crf_option] = f"{crf:g}"
        preset = self.preset if preset is None else preset
        if preset is not None:
            if self.preset is None:
                raise UsageError(f"{self.name} has no presets; leave preset out")
            result[self.preset_option] = preset
        for key, value in further.items():
            is_list = key.endswith("-params") and key in result
            result[key] = f"{result[key]}:{value}" if is_list else value
        return result


_ENCODERS = (
    Encoder(
        name="libx264",
        codec="h264",
        summary="H.264, plays everywhere",
        crf=17,
        crf_range=(0, 51),
        preset="medium",
    ),
    Encoder(
        name="libx265",
        codec="hevc",
        summary="HEVC, smaller files, slower",
        min_width=64,  # x265 writes beyond its own memory in pictures of 48 pixels and less
        crf=19,
        crf_range=(0, 51),
        preset="medium",
        settings=MappingProxyType({"x265-params": "log-level=error"}),
    ),
    Encoder(
        name="libsvtav1",
        codec="av1",
        summary="AV1, smallest files",
        crf=24,
        preset="8",
    ),
    Encoder(
        name="libvpx-vp9",
        codec="vp9",
        summary="VP9, for WebM",
        crf=24,
        preset="4",
        preset_option="cpu-used",
        # NUT would damage alpha beside the packets. Matroska's milliseconds are those of all targets that keep it.
        alpha_beside_packets=True,
        # Besides 4:2:0, alpha is "experimental" to FFmpeg: players that show it are rarer, nothing else.
        alpha_settings=MappingProxyType({"auto-alt-ref": "0", "strict": "experimental"}),
        alpha_segment_format="matroska",
        even_sides=False,
        settings=MappingProxyType({"b": "0", "deadline": "good", "row-mt": "1"}),
    ),
    Encoder(
        name="ffv1",
        codec="ffv1",
        summary="lossless, for archives",
        even_sides=False,
        # Slices are given because FFmpeg's own choice depends on the number of processors.
        settings=MappingProxyType({"level": "3", "g": "1", "slices": "16", "slicecrc": "1"}),
        samples=MappingProxyType({"gbrp": "bgr0", "gbrap": "bgra"}),
    ),
    Encoder(
        name="prores_ks",
        codec="prores",
        summary="ProRes, for editing",
        even_sides=False,
        segment_format="mov",
    ),
)


_USUAL_LAYOUT = PixelLayout(name="yuv420p", family="yuv", depth=8, chroma_shift_x=1, chroma_shift_y=1, has_alpha=False)


def _hardware(
    name: str,
    codec: str,
    summary: str,
    quality_option: str,
    crf: float,
    samples: Mapping[str, str],
    preset: str | None = None,
    **settings: str,
) -> Encoder:
    return Encoder(
        name=name,
        codec=codec,
        summary=summary,
        crf=crf,
        crf_range=(0, 51),
        crf_option=quality_option,
        preset=preset,
        settings=MappingProxyType(settings),
        samples=MappingProxyType(dict(samples)),
        only_samples=True,
    )


_IN_8_BIT = {"yuv420p": "nv12"}
_IN_8_AND_10_BIT = {"yuv420p": "nv12", "yuv420p10le": "p010le"}
_HARDWARE = (
    _hardware("h264_nvenc", "h264", "H.264 on NVIDIA", "cq", 19, _IN_8_BIT, preset="p5", rc="vbr", b="0"),
    _hardware("hevc_nvenc", "hevc", "HEVC on NVIDIA", "cq", 21, _IN_8_AND_10_BIT, preset="p5", rc="vbr", b="0"),
    _hardware("av1_nvenc", "av1", "AV1 on NVIDIA", "cq", 26, _IN_8_AND_10_BIT, "p5", rc="vbr", b="0"),
    _hardware("h264_qsv", "h264", "H.264 on Intel", "global_quality", 19, _IN_8_BIT, preset="slow"),
    _hardware("hevc_qsv", "hevc", "HEVC on Intel", "global_quality", 21, _IN_8_AND_10_BIT, preset="slow"),
    _hardware("av1_qsv", "av1", "AV1 on Intel", "global_quality", 26, _IN_8_AND_10_BIT, "slow"),
)
ENCODERS = MappingProxyType({encoder.name: encoder for encoder in (*_ENCODERS, *_HARDWARE)})


def _pictures(name: str, summary: str, samples: Mapping[str, str], **settings: str) -> Encoder:
    return Encoder(
        name=name,
        codec=name,
        summary=summary,
        even_sides=False,
        segment_format="pictures",
        settings=MappingProxyType(settings),
        samples=MappingProxyType(dict(samples)),
        only_samples=True,
    )


_IN_8_BIT_RGB = {"gray": "gray", "gbrp": "rgb24", "gbrap": "rgba"}
_IN_16_BIT_BE = {"gray16le": "gray16be", "gbrp16le": "rgb48be", "gbrap16le": "rgba64be"}
_IN_16_BIT_LE = {"gray16le": "gray16le", "gbrp16le": "rgb48le", "gbrap16le": "rgba64le"}
_IN_10_AND_12_BIT = {"gbrp10le": "gbrp10be", "gbrp12le": "gbrp12be"}
# Halves are handed over as floats, see `sample_options`.
_IN_FLOAT = {f"{colour}f{bits}le": f"{colour}f32le" for bits in (16, 32) for colour in ("gray", "gbrp", "gbrap")}
_PICTURE_ENCODERS = (
    _pictures("png", "PNG pictures, 8 or 16 bit", _IN_8_BIT_RGB | _IN_16_BIT_BE, pred="paeth"),
    _pictures("tiff", "TIFF pictures, 8 or 16 bit", _IN_8_BIT_RGB | _IN_16_BIT_LE, compression_algo="deflate"),
    _pictures("exr", "OpenEXR pictures, linear light as half or float", _IN_FLOAT, compression="zip16"),
    _pictures("dpx", "DPX pictures, 8 to 16 bit", _IN_8_BIT_RGB | _IN_10_AND_12_BIT | _IN_16_BIT_BE),
)
PICTURE_ENCODERS = MappingProxyType({encoder.name: encoder for encoder in _PICTURE_ENCODERS})


def find_encoder(name: str) -> Encoder:
    """The table row of an encoder that this build of FFmpeg has.

    Raises:
        UsageError: not in the table, or not in this build.
    """
    known = {**ENCODERS, **PICTURE_ENCODERS}
    if name not in known:
        raise UsageError(f"codec is {name!r}; vidsr writes {', '.join(known)}")
    try:
        Codec(name, "w")
    except UnknownCodecError:
        raise UsageError(f"this build of PyAV lacks the encoder {name}; try libx264") from None
    return known[name]


def carries_captions(name: str) -> bool:
    """Whether pictures of this encoder have a place for closed captions."""
    return Codec(name, "w").canonical_name in CARRYING_CODECS


def fit_slices(codec: str, options: Mapping[str, str], picture: PictureFormat) -> dict[str, str]:
    """The options with the number of slices, if they give one, moved to the nearest that FFV1 takes for this size.

    It refuses those that would cut subsampled chroma unevenly: 16 at 853x480, and all but 49 at 1919x1079.
    """
    wanted = int(options["slices"]) if codec == "ffv1" and options.get("slices", "").isdecimal() else 0
    for count in sorted(range(1, 257), key=lambda n: abs(n - wanted)) if wanted else ():
        fitting = {**options, "slices": str(count)}
        with suppress(FFmpegError):
            _trial(codec, picture, fitting).open()
            return fitting
    return dict(options)


def check_options(
    codec: str, options: Mapping[str, str], picture: PictureFormat, *, may_be_ignored: bool = False
) -> None:
    """Open the encoder once, so that what it does not know or accept is told before the work.

    Args:
        codec, options, picture: what it is opened with.
        may_be_ignored: whether to look for parameters that it complains about and then ignores.

    Raises:
        UsageError: with the encoder's own words.
    """
    least = find_encoder(codec).min_width
    if picture.width < least:
        raise UsageError(f"{codec} writes pictures of {least} pixels and wider, not {picture.width}; try libx264")
    trial = _trial(codec, picture, options)
    try:
        trial.open()
        words = _words_on_opening(codec, options, picture) if may_be_ignored else []
        words = [text for text in words if _COMPLAINT.search(text)]
    except (FFmpegError, ValueError, OSError) as error:
        words = _words_on_opening(codec, options, picture) or [getattr(error, "strerror", None) or str(error)]
    if words:
        wanted = ", ".join(f"{key}={value}" for key, value in options.items())
        raise UsageError(
            f"{codec} cannot be used like this ({wanted}; {picture.width}x{picture.height} {picture.layout.name}): "
            f"{words[-1]}"
        )
    if trial.options:  # opening takes out what it knows
        raise UsageError(f"{codec} has no option {next(iter(trial.options))!r}; `ffmpeg -h encoder={codec}` lists them")


def _words_on_opening(codec: str, options: Mapping[str, str], picture: PictureFormat) -> list[str]:
    """What FFmpeg logs while the encoder is opened.

    Listened to only where there is something to hear: logging is the whole process's, and a decoder of another run
    that logs from a thread of its own at this moment needs the interpreter lock.
    """
    trial, level = _trial(codec, picture, options), logging.get_level()
    logging.set_level(logging.WARNING)
    try:
        with logging.Capture(local=True) as log, suppress(FFmpegError, ValueError, OSError):
            trial.open()
    finally:
        logging.set_level(level)
    return [text.strip() for _, _, text in log]


def _trial(codec: str, picture: PictureFormat, options: Mapping[str, str]) -> VideoCodecContext:
    trial = VideoCodecContext.create(codec, "w")
    assert isinstance(trial, VideoCodecContext)
    trial.time_base = Fraction(1, 25)
    configure(trial, codec, picture, options)
    return trial


def configure(context: VideoCodecContext, codec: str, picture: PictureFormat, options: Mapping[str, str]) -> None:
    """Tell an encoder that is not open yet what it will be given, and how to share the work among its threads."""
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = samples_for(codec, picture.layout)
    # Whole pictures to threads where the encoder can, slices of one else. PyAV's own choice is slices alone, across
    # which H.264 predicts nothing: on 16 threads libx264 cut 1280x720 into 11 slices and wrote 2 to 11 % more bytes.
    # FRAME alone would leave FFV1, which has only slices, on one thread.
    context.thread_type = "AUTO"
    context.options = dict(options)  # opening empties it


def works_here(encoder: Encoder) -> bool:
    """Whether the encoder can be opened on this machine: hardware may be missing."""
    layout = choose_layout(encoder, _USUAL_LAYOUT, None, MATROSKA)
    color = ColorTags(matrix=MATRIX_BT709, full_range=False, siting="left")
    picture = PictureFormat(width=256, height=256, layout=layout, color=color)
    try:
        check_options(encoder.name, encoder.options(None, None), picture)
    except UsageError:
        return False
    return True


def choose_layout(encoder: Encoder, source: PixelLayout, pix_fmt: str | None, container: Container) -> PixelLayout:
    """The output's pixel format: the one asked for, else the one that keeps most of the source's.

    Formats with alpha are out where the container would not keep it.

    Raises:
        UsageError: the encoder does not take the format asked for.
    """
    if encoder.name in PICTURE_ENCODERS:
        return _choose_picture_layout(encoder, source, pix_fmt)
    keeps_alpha = container.alpha_beside_packets or not encoder.alpha_beside_packets
    offered = [name for name in _offered(encoder) if keeps_alpha or not _has_alpha(name)]
    if pix_fmt is None:
        layout = closest_format(source, offered)
        assert layout is not None, (encoder.name, offered)
        return layout
    planar = closest_format(source, [pix_fmt]) if pix_fmt in offered else None
    if planar is None:
        fitting = ", ".join(name for name in offered if closest_format(source, [name]) is not None)
        raise UsageError(f"{encoder.name} does not write {pix_fmt!r} from this source; it takes {fitting}")
    return planar


def samples_for(codec: str, layout: PixelLayout) -> str:
    """FFmpeg's name of the pixel format that an encoder is given for planes of `layout`."""
    return find_encoder(codec).samples.get(layout.name, layout.name)


def sample_options(codec: str, layout: PixelLayout) -> dict[str, str]:
    """What an encoder must be told of its samples beside their format."""
    return {"format": "half" if layout.depth == 16 else "float"} if codec == "exr" else {}


def _offered(encoder: Encoder) -> list[str]:
    """Planar layouts that an encoder takes, as such or rearranged."""
    if encoder.only_samples:
        return list(encoder.samples)
    return [*(offer.name for offer in Codec(encoder.name, "w").video_formats or []), *encoder.samples]


def _has_alpha(name: str) -> bool:
    layout = pixel_layout(name)
    return layout is not None and layout.has_alpha


def _choose_picture_layout(encoder: Encoder, source: PixelLayout, pix_fmt: str | None) -> PixelLayout:
    if pix_fmt is None:
        return closest_picture_layout(source, encoder.samples)
    # Planar or as the encoder has it, with or without its byte order: gbrp16le, rgb48be and rgb48 are one.
    names = {own: name for name, own in encoder.samples.items()} | {name: name for name in encoder.samples}
    names |= {name.removesuffix("le").removesuffix("be"): planar for name, planar in names.items()}
    layout = pixel_layout(names.get(pix_fmt, ""))
    if layout is not None:
        return layout
    raise UsageError(f"{encoder.name} does not write {pix_fmt!r}; it takes {', '.join(encoder.samples)}")
