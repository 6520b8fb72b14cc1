"""Sizes: what is made of an input of a given size, by the options."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vidsr.errors import UsageError
from vidsr.options.upscale import MAX_SCALE, MIN_SCALE, UpscaleOptions


def output_size(
    width: int, height: int, options: UpscaleOptions, even_x: bool = False, even_y: bool = False
) -> tuple[int, int]:
    """(width, height) of the output for an input of that size.

    Sides that must be even (4:2:0 in most encoders) and come from a scale are rounded to an even number; a
    size that was asked for exactly is not touched.

    Raises:
        UsageError: a size below the input's or above 8 times it, or an odd one that the encoder refuses.
    """
    if options.size is not None:
        sides = options.size
    elif options.height is not None:
        wide = Fraction(width * options.height, height)
        sides = (_nearest(wide, 2 if even_x else 1), options.height)
    else:
        scale = options.scale
        assert scale is not None
        sides = (_nearest(width * scale, 2 if even_x else 1), _nearest(height * scale, 2 if even_y else 1))
    for name, side, even in (("width", sides[0], even_x), ("height", sides[1], even_y)):
        if even and side % 2:
            raise UsageError(
                f"an output {name} of {side} was asked for; this encoder and pixel format need an even one: "
                f"try {side + 1}, or --pix-fmt yuv444p"
            )
    if options.size is not None or options.height is not None:
        ratio = max(Fraction(sides[0], width), Fraction(sides[1], height))
        smallest = min(Fraction(sides[0], width), Fraction(sides[1], height))
        if ratio > MAX_SCALE or smallest < MIN_SCALE:
            raise UsageError(
                f"an output of {sides[0]}x{sides[1]} was asked for from {width}x{height}; "
                f"each side can grow {MIN_SCALE} to {MAX_SCALE} times"
            )
    return sides


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How a coded picture is to be turned for showing: transposed first, then mirrored."""

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a picture after turning."""
        return (height, width) if self.transposed else (width, height)


def orientation(display_matrix: bytes | None) -> Orientation:
    """What a display matrix (ISO/IEC 14496-12, 8.2.2: nine integers, of which the first two columns turn) means.

    Raises:
        UsageError: it turns by something else than right angles.
    """
    if display_matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = memoryview(display_matrix).cast("i")
    if a and d and not (b or c):
        return Orientation(flipped_x=a < 0, flipped_y=d < 0)
    if b and c and not (a or d):
        return Orientation(transposed=True, flipped_x=c < 0, flipped_y=b < 0)
    raise UsageError("the source is to be shown rotated by no right angle; rotation apply cannot do that, use keep")


def network_input_size(
    width: int, height: int, out_width: int, out_height: int, network_scale: int, fit_before: bool
) -> tuple[int, int]:
    """The size a network gets to see. It is the input's unless the input is to be shrunk beforehand."""
    if not fit_before:
        return width, height
    return min(width, -(-out_width // network_scale)), min(height, -(-out_height // network_scale))


def output_sample_aspect_ratio(
    sample_aspect_ratio: Fraction, width: int, height: int, out_width: int, out_height: int
) -> Fraction:
    """The SAR that keeps the shape of things when the two sides do not grow by the same factor.

    Rounding to whole pixels is not such a growth: within one pixel the source's SAR stays.
    """
    exact = out_width * height - out_height * width
    if abs(exact) <= 2 * max(width, height):
        return sample_aspect_ratio
    return sample_aspect_ratio * Fraction(width * out_height, height * out_width)


def _nearest(value: Fraction, multiple: int) -> int:
    """The nearest multiple, halves upwards, at least one multiple."""
    return max(int(value / multiple + Fraction(1, 2)), 1) * multiple
