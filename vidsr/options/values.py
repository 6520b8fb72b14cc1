"""How the values of options are written, and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from vidsr.errors import UsageError

Point = int | Fraction  # a frame number, or exact seconds


def parse_scale(text: str) -> Fraction:
    """'2', '1.5' or '4/3' as an exact fraction."""
    return parse_fraction("scale", text)


def parse_fraction(name: str, text: str) -> Fraction:
    try:
        return Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{name} is {text!r}; write a number such as 2, 1.5 or 4/3") from None


def parse_size(text: str) -> tuple[int, int]:
    """'1920x1080' as (width, height)."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", text)
    if match is None:
        raise UsageError(f"size is {text!r}; write width x height, such as 1920x1080")
    return int(match[1]), int(match[2])


def parse_point(text: str) -> Point:
    """'300f' as frame 300; '12.5', '1:02.5' or '1:00:02.5' as exact seconds."""
    if match := re.fullmatch(r"\s*(\d+)f\s*", text):
        return int(match[1])
    match = re.fullmatch(r"\s*(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)\s*", text)
    if match is None:
        raise UsageError(f"{text!r} is no point in a video; write 12.5, 0:01:02.5 or a frame such as 300f")
    hours, minutes, seconds = match[1] or "0", match[2] or "0", match[3]
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)


def parse_pairs(value: object) -> dict[str, str]:
    """{"tune": "film"} or ["tune=film"] as a dictionary of texts."""
    if isinstance(value, Mapping):
        return {str(key): str(text) for key, text in value.items()}
    pairs: dict[str, str] = {}
    for item in [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [""]:
        key, equals, text = item.partition("=") if isinstance(item, str) else (str(item[0]), "=", str(item[1]))
        if not key or not equals:
            raise UsageError(f"encoder option {item!r}; write key=value, such as tune=film")
        pairs[key] = text
    return pairs


def parse_whole(value: object) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return int(str(value).removesuffix(".0"))
