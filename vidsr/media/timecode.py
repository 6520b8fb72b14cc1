"""Time codes of SMPTE ST 12-1: hours:minutes:seconds:frames, with frame numbers dropped for 29.97 and 59.94 Hz."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

_PATTERN = re.compile(r"(\d{2}):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})$")


def advance(timecode: str, num_frames: int, rate: Fraction) -> str:
    """The time code of a later frame; a day is followed by the next at 00:00:00:00.

    Args:
        timecode: "01:02:03:04", or "01:02:03;04" if frame numbers are dropped.
        num_frames: how many frames later.
        rate: frames per second, e.g. 30000/1001.

    Raises:
        ValueError: no time code, or one with dropped numbers at a rate that drops none; see `rate_of`.
    """
    match = _PATTERN.match(timecode)
    if match is None:
        raise ValueError(f"{timecode!r} is no time code; expected hh:mm:ss:ff")
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    per_second = round(rate)
    drops = drops_frames(timecode)
    if drops and round(rate) % 30:
        raise ValueError(f"{timecode}: dropped frame numbers belong to 29.97 or 59.94 frames a second, not {rate}")
    number = ((hours * 60 + minutes) * 60 + seconds) * per_second + frames
    if drops:
        total_minutes = hours * 60 + minutes
        number -= per_second // 15 * (total_minutes - total_minutes // 10)
    return timecode_of(number + num_frames, per_second, drop_frame=drops)


def timecode_of(number: int, per_second: int, *, drop_frame: bool) -> str:
    """The time code of frame `number` since midnight.

    With `drop_frame`, two numbers (of 30; four of 60) are left out in each minute but every tenth, so that the code
    keeps up with the clock at 1000/1001 of that rate.
    """
    day = 24 * 3600 * per_second
    if drop_frame:
        dropped = per_second // 15
        in_minute, in_ten_minutes = 60 * per_second - dropped, 600 * per_second - 9 * dropped
        tens, rest = divmod(number % (144 * in_ten_minutes), in_ten_minutes)
        number = tens * 600 * per_second + rest + dropped * max((rest - dropped) // in_minute, 0)
    seconds, frames = divmod(number % day, per_second)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{';' if drop_frame else ':'}{frames:02d}"


def tagged_timecode(tags: Mapping[str, str]) -> str | None:
    """The time code among a stream's or a file's tags; Matroska has their names in capitals."""
    return next((value for key, value in tags.items() if key.lower() == "timecode"), None)


def is_timecode(text: str) -> bool:
    return _PATTERN.match(text) is not None


def drops_frames(timecode: str) -> bool:
    return any(mark in timecode for mark in ";.")


def rate_of(timecode: str, frame_rate: Fraction) -> Fraction:
    """The rate that a time code counts at: that of the frames, if it does not say by dropping that it is another.

    FFmpeg takes 1 to 255 frames a second; at other rates the code counts in 1/25 seconds rather than fail the file.
    """
    if drops_frames(timecode) and (frame_rate <= 0 or round(frame_rate) % 30):
        return Fraction(60000 if frame_rate > 45 else 30000, 1001)
    return frame_rate if 1 <= round(frame_rate) <= 255 else Fraction(25)
