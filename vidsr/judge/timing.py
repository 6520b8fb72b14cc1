"""Frames and their times: is every one there, when it should be, and does the sound keep its distance."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vidsr.judge.verdict import Check
from vidsr.media.survey.survey import Track
from vidsr.options.values import Point

# No clock coarser than Matroska's millisecond excuses an error: half of its tick is the most that rounding costs.
_LARGEST_ROUNDING = Fraction(1, 2000)
# Sound that was encoded anew begins with packets to be thrown away, two of AAC's 1024 samples at most.
_ENCODER_DELAY = Fraction(1, 20)


@dataclass(frozen=True)
class Times:
    """Sorted time stamps in ticks of a time base."""

    pts: Sequence[int]
    base: Fraction

    def __len__(self) -> int:
        return len(self.pts)

    def seconds(self, position: int) -> Fraction:
        return self.pts[position] * self.base


@dataclass(frozen=True, kw_only=True)
class Part:
    """The frames of a source that an output should have: a range of their numbers, in order of presentation."""

    first: int
    stop: int
    start_seconds: Fraction | None  # on the file's own clock; None: from the beginning
    stop_seconds: Fraction | None  # None: to the end

    @property
    def is_whole(self) -> bool:
        return self.start_seconds is None and self.stop_seconds is None

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How the output's frames lie on the source's."""

    shift: Fraction  # seconds that all output times lie after the source's
    error: Fraction  # greatest difference that is left of a matched frame
    worst: int  # number of that frame in the output
    missing: tuple[int, ...]  # numbers in the source
    extra: tuple[int, ...]  # numbers in the output


def find_part(
    times: Times,
    num_frames: int,
    file_start: Fraction,
    start: Point | None,
    stop: Point | None,
    rate: Fraction | None = None,
) -> Part:
    """Which frames lie between two points, each a frame number (int) or seconds on a player's clock (Fraction).

    In a source without times, such as bare H.264, frames follow each other at `rate`, which its header states.
    """

    def number(point: Point | None, unset: int) -> int:
        if point is None:
            return unset
        if isinstance(point, int):
            return min(point, num_frames)
        if not len(times):
            return min(math.ceil(point * (rate or 25)), num_frames)
        ticks = (file_start + point) / times.base
        return bisect_left(times.pts, -(-ticks.numerator // ticks.denominator))

    def seconds(point: Point | None) -> Fraction | None:
        if point is None or not len(times):
            return None
        if not isinstance(point, int):
            return file_start + point
        return times.seconds(point) if point < len(times) else times.seconds(-1) + times.base

    first, last = number(start, 0), number(stop, num_frames)
    return Part(first=first, stop=max(first, last), start_seconds=seconds(start), stop_seconds=seconds(stop))


def tolerance(a: Fraction, b: Fraction) -> Fraction:
    """What rounding may cost a time between two clocks: half a tick of the coarser, at most half a millisecond."""
    return min(max(a, b) / 2, _LARGEST_ROUNDING)


def align(source: Times, output: Times, part: Part, hints: Sequence[Fraction] = ()) -> Alignment:
    """Match the frames of `output` with the source's of `part` by their times.

    Args:
        hints: shifts that other streams have, in seconds. The shift with which most frames match is taken.
    """
    same_number = len(output) == len(part) > 0
    if same_number:
        low, high = _spread(source, output, part)
        if high - low <= 2 * tolerance(source.base, output.base):
            unmoved = max(abs(low), abs(high)) <= tolerance(source.base, output.base)
            return _in_order(source, output, part, Fraction(0) if unmoved else (low + high) / 2)
    shifts = [Fraction(0), *hints]
    if len(output) and len(part):
        shifts.append(output.seconds(0) - source.seconds(part.first))
    best = min((_match(source, output, part, shift) for shift in shifts), key=lambda a: len(a.missing) + len(a.extra))
    if same_number and len(best.missing) > max(len(part) // 8, 1):
        # The right number of frames at other times, as after a change to a constant rate: they match by order.
        return _in_order(source, output, part, (low + high) / 2)
    return best


def _spread(source: Times, output: Times, part: Part) -> tuple[Fraction, Fraction]:
    """Least and greatest of what frames, matched by order, come later in the output, in seconds."""
    # Plain integers in a common unit: ten hours of film are a million frames.
    unit = _common_unit(source.base, output.base)
    per_source, per_output = int(source.base / unit), int(output.base / unit)
    first = part.first
    low = min(output.pts[n] * per_output - source.pts[first + n] * per_source for n in range(len(part)))
    high = max(output.pts[n] * per_output - source.pts[first + n] * per_source for n in range(len(part)))
    return low * unit, high * unit


def _in_order(source: Times, output: Times, part: Part, shift: Fraction) -> Alignment:
    unit = _common_unit(source.base, output.base, shift)
    per_source, per_output, moved = int(source.base / unit), int(output.base / unit), int(shift / unit)
    errors = (
        (abs(output.pts[n] * per_output - source.pts[part.first + n] * per_source - moved), -n)
        for n in range(len(part))
    )
    error, number = max(errors)
    return Alignment(shift=shift, error=error * unit, worst=-number, missing=(), extra=())


def _match(source: Times, output: Times, part: Part, shift: Fraction) -> Alignment:
    allowed = tolerance(source.base, output.base)
    room_seconds = max(allowed * 2, _smallest_step(source, part) / 4)
    unit = _common_unit(source.base, output.base, shift, room_seconds)
    per_source, per_output = int(source.base / unit), int(output.base / unit)
    moved, room = int(shift / unit), int(room_seconds / unit)
    missing: list[int] = []
    extra: list[int] = []
    error = worst = 0
    position = part.first
    for number in range(len(output)):
        time = output.pts[number] * per_output - moved
        while position < part.stop and source.pts[position] * per_source < time - room:
            missing.append(position)
            position += 1
        distance = abs(source.pts[position] * per_source - time) if position < part.stop else room + 1
        if distance <= room:
            if distance > error:
                error, worst = distance, number
            position += 1
        else:
            extra.append(number)
    missing.extend(range(position, part.stop))
    return Alignment(shift=shift, error=error * unit, worst=worst, missing=tuple(missing), extra=tuple(extra))


def _common_unit(*times: Fraction) -> Fraction:
    """The largest time of which all these are whole multiples."""
    numerator = math.gcd(*(time.numerator for time in times))
    return Fraction(max(numerator, 1), math.lcm(*(time.denominator for time in times)))


def _smallest_step(source: Times, part: Part) -> Fraction:
    steps = (source.pts[n + 1] - source.pts[n] for n in range(part.first, part.stop - 1))
    return min((step for step in steps if step > 0), default=0) * source.base


def check_frames(num_source: int, num_output: int, part: Part, alignment: Alignment | None, source: Times) -> Check:
    """Every frame is there once."""
    expected = f"{len(part)} frames" + ("" if part.is_whole else f" of {num_source}")
    text = f"{num_output} frames"
    if alignment is None:
        same = num_output == len(part)
        return Check(name="frames", outcome="ok" if same else "wrong", found=text, expected=expected)
    if alignment.missing:
        text += f", missing {_list(alignment.missing)} (first at {float(source.seconds(alignment.missing[0])):.3f} s)"
    if alignment.extra:
        text += f", too many {_list(alignment.extra)}"
    right = not alignment.missing and not alignment.extra
    return Check(name="frames", outcome="ok" if right else "wrong", found=text, expected=expected)


def check_other_rate(source: Times, output: Times, num_output: int, part: Part, ratio: Fraction) -> Iterator[Check]:
    """Frames and times where an output has more or fewer frames by intent: their number, first and last time.

    Args:
        ratio: output frames per source frame; 2 where each field became a frame.
    """
    expected = round(len(part) * ratio)
    right = abs(num_output - expected) <= 2  # a cycle of telecine that is not whole, a field at an end
    text, wanted = f"{num_output} frames", f"{expected} frames, {ratio} of {len(part)}"
    yield Check(name="frames", outcome="ok" if right else "wrong", found=text, expected=wanted)
    if not len(source) or not len(output):
        return
    first = min(part.first, len(source) - 1)
    before = source.seconds(max(part.stop - 1, first)) - source.seconds(first)
    after = output.seconds(len(output) - 1) - output.seconds(0)
    step = (source.seconds(-1) - source.seconds(0)) / max(len(source) - 1, 1)
    rising = all(b > a for a, b in zip(output.pts, output.pts[1:], strict=False))
    yield Check(
        name="times",
        outcome="ok" if rising and abs(after - before) <= 2 * step else "wrong",
        found=f"{'rising' if rising else 'not rising'}, {float(after):.3f} s from first to last",
        expected=f"{float(before):.3f} s",
    )


def check_times(alignment: Alignment | None, source: Times, output: Times) -> Check:
    """Every frame is shown when it should be."""
    if not len(output):
        return Check(name="times", outcome="wrong", found="the output has no time stamps", expected="time stamps")
    if any(b <= a for a, b in zip(output.pts, output.pts[1:], strict=False)):
        return Check(name="times", outcome="wrong", found="two frames at the same time", expected="rising times")
    if alignment is None:
        return Check(name="times", outcome="ok", found="rising; the source has none of its own to compare with")
    allowed = tolerance(source.base, output.base)
    shifted = f", all moved by {_signed(alignment.shift)}" if alignment.shift else ""
    return Check(
        name="times",
        outcome="ok" if alignment.error <= allowed else "wrong",
        found=f"greatest error {_milliseconds(alignment.error)} (frame {alignment.worst}){shifted}",
        expected=f"at most {_milliseconds(allowed)}",
    )


def track_shift(source: Track, output: Track, skipped: int = 0) -> tuple[Fraction, Fraction] | None:
    """(shift, greatest error after it) of a track's packets in seconds; None if there are none to compare.

    Args:
        skipped: packets at the beginning of the source that the output does not have.
    """
    unit = _common_unit(source.time_base, output.time_base)
    early, late = int(source.time_base / unit), int(output.time_base / unit)
    count = min(len(source.pts) - skipped, len(output.pts))
    if count <= 0:
        return None
    low = min(output.pts[n] * late - source.pts[skipped + n] * early for n in range(count))
    high = max(output.pts[n] * late - source.pts[skipped + n] * early for n in range(count))
    return (low + high) * unit / 2, (high - low) * unit / 2


def sound_tolerance(source: Track, output: Track, picture_source: Fraction, picture_output: Fraction) -> Fraction:
    """One sample, and what rounding may cost picture and sound on their clocks."""
    sample = Fraction(1, source.sample_rate or 48000)
    sample += _ENCODER_DELAY if source.codec != output.codec and source.kind == "audio" else 0
    rounding = tolerance(source.time_base, output.time_base) + tolerance(picture_source, picture_output)
    return sample + rounding


def _list(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"


def _milliseconds(seconds: Fraction) -> str:
    return f"{float(seconds) * 1000:.3g} ms"


def _signed(seconds: Fraction) -> str:
    return f"{float(seconds):+.4g} s"
