"""HDR10's static metadata: mastering display and content light level, read from frames, said to encoders."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame

from vidsr.media.containers import Container
from vidsr.media.sidedata import side_data_of

Chromaticity = tuple[Fraction, Fraction]  # CIE 1931 x and y

# The units of ST 2086 as H.264 and HEVC code it (HEVC D.3.28): 1/50000 of a chromaticity, 1/10000 of a candela.
_CHROMATICITY_UNITS, _LUMINANCE_UNITS = 50000, 10000
_MAX_LUMINANCE, _MAX_LIGHT = (2**32 - 1) // _LUMINANCE_UNITS, 2**16 - 1
# FFmpeg's AVMasteringDisplayMetadata: red, green, blue, white, least and greatest luminance as rationals, two flags.
_DISPLAY_STRUCT, _LIGHT_STRUCT = struct.Struct("=22i"), struct.Struct("=2I")


@dataclass(frozen=True, kw_only=True)
class Primaries:
    """The colours of a mastering display."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity


@dataclass(frozen=True, kw_only=True)
class HdrMetadata:
    """What a grading room noted down for the whole film; None where the source does not say.

    The numbers are those of SMPTE ST 2086 and CTA-861.3, luminance and light in candela per square metre.
    """

    primaries: Primaries | None = None
    luminance: tuple[Fraction, Fraction] | None = None  # of the darkest and the brightest pixel the display can show
    max_cll: int | None = None  # the brightest pixel of the film
    max_fall: int | None = None  # the brightest frame's mean


def read_hdr(frame: VideoFrame) -> HdrMetadata | None:
    """The static metadata on a frame, be it from the stream or from the container; None if there is none.

    Numbers that neither standard can code are damage and count as not said.
    """
    side_data = side_data_of(frame) or {}
    display, light = (side_data.get(name) for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"))
    primaries, luminance = _display(bytes(display)) if display is not None else (None, None)
    max_cll, max_fall = _LIGHT_STRUCT.unpack_from(bytes(light)) if light is not None else (0, 0)
    # Two zeros mean "unknown", which x265 adds to every mastering display.
    stated = (max_cll or max_fall) and max(max_cll, max_fall) <= _MAX_LIGHT
    if primaries is None and luminance is None and not stated:
        return None
    return HdrMetadata(
        primaries=primaries,
        luminance=luminance,
        max_cll=max_cll if stated else None,
        max_fall=max_fall if stated else None,
    )


def _display(data: bytes) -> tuple[Primaries | None, tuple[Fraction, Fraction] | None]:
    numbers = _DISPLAY_STRUCT.unpack_from(data)
    has_primaries, has_luminance = numbers[20:]
    pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
    values = [Fraction(numerator, denominator) if denominator else Fraction(-1) for numerator, denominator in pairs]
    primaries = luminance = None
    if has_primaries and all(0 <= value <= 1 for value in values[:8]):
        red, green, blue, white = zip(values[:8:2], values[1:8:2], strict=True)
        primaries = Primaries(red=red, green=green, blue=blue, white=white)
    if has_luminance and 0 <= values[8] < values[9] <= _MAX_LUMINANCE:
        luminance = values[8], values[9]
    return primaries, luminance


def with_hdr(codec: str, options: Mapping[str, str], hdr: HdrMetadata | None) -> dict[str, str]:
    """An encoder's options with the metadata added for those that write it into the stream.

    What the options already say of it comes later in their list and wins.
    """
    if hdr is None or codec not in _PARAMETERS:
        return dict(options)
    option, display_name, light_name, is_integer = _PARAMETERS[codec]
    parts = []
    if hdr.primaries is not None and hdr.luminance is not None:
        parts.append(f"{display_name}={_display_text(hdr.primaries, hdr.luminance, is_integer)}")
    if hdr.max_cll is not None:
        parts.append(f"{light_name}={hdr.max_cll},{hdr.max_fall}")
    parts += [options[option]] if options.get(option) else []
    return {**options, option: ":".join(parts)} if parts else dict(options)


# The option that takes parameters, the two parameters, and whether these count in the units above.
_PARAMETERS = {
    "libx264": ("x264-params", "mastering-display", "cll", True),
    "libx265": ("x265-params", "master-display", "max-cll", True),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", False),
}


def _display_text(primaries: Primaries, luminance: tuple[Fraction, Fraction], is_integer: bool) -> str:
    def number(value: Fraction, units: int) -> str:
        return str(round(value * units)) if is_integer else f"{float(value):.8f}"

    named = {"G": primaries.green, "B": primaries.blue, "R": primaries.red, "WP": primaries.white}
    parts = [
        f"{name}({number(x, _CHROMATICITY_UNITS)},{number(y, _CHROMATICITY_UNITS)})" for name, (x, y) in named.items()
    ]
    darkest, brightest = (number(value, _LUMINANCE_UNITS) for value in luminance)
    return "".join(parts) + f"L({brightest},{darkest})"


def hdr_loss(container: Container, hdr: HdrMetadata | None) -> str | None:
    """What a container and any codec in it do not keep of the metadata."""
    if hdr is None or (hdr.primaries is None) == (hdr.luminance is None) or container.half_mastering_display:
        return None
    known = "colours are" if hdr.primaries is not None else "luminance is"
    return f"left out: mastering display (HDR10): only its {known} known, and {container.name} takes both or neither"
