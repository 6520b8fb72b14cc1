"""How an option is told, once: what it means, how its value is read, and what a value may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, get_args

from vidsr.errors import UsageError

Point = int | Fraction  # a frame number, or exact seconds
Kind = Literal["text", "whole", "number", "switch", "pairs"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One option, for the library, recipes and command lines alike.

    Args:
        meaning: one line, for help texts.
        kind: what a command line takes it for.
        read: the value of a plain one or of its text; a ValueError where it is none.
        check: why a value is refused, as the end of "NAME is VALUE; it must be ..."; None: it is not.
        changes_pixels: whether it belongs to what names a run.
        flag, short: on a command line; unset, the flag is its name.
    """

    meaning: str
    kind: Kind
    read: Callable[[Any], object]
    check: Callable[[Any], str | None]
    changes_pixels: bool
    flag: str | None
    short: str | None


def option(
    default: Any,
    meaning: str,
    *,
    kind: Kind = "text",
    read: Callable[[Any], object] | None = None,
    check: Callable[[Any], str | None] = lambda value: None,
    changes_pixels: bool = True,
    flag: str | None = None,
    short: str | None = None,
) -> Any:
    """A field of an options object; see `Spec`."""
    spec = Spec(
        meaning=meaning,
        kind=kind,
        read=read or _READERS[kind],
        check=check,
        changes_pixels=changes_pixels,
        flag=flag,
        short=short,
    )
    return field(default=default, metadata={"spec": spec})


def one_of(kind: Any, lead: str = "") -> Callable[[object], str | None]:
    """A check for the words of a Literal, or of a tuple; `lead` comes before them where they are told."""
    words = tuple(kind) if isinstance(kind, tuple) else get_args(kind)
    listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) < 4 else ", ".join(words)
    return lambda value: None if value in words else lead + listed


def between(low: float, high: float, unit: str = "") -> Callable[[Any], str | None]:
    """A check for numbers, the limits included."""
    return lambda value: None if low <= value <= high else f"between {low:g} and {high:g}{unit}"


def is_switch(value: object) -> str | None:
    """A check for what is on or off."""
    return None if isinstance(value, bool) else "true or false"


def parse_fraction(name: str, value: object) -> Fraction:
    """'2', '1.5' or '4/3' as an exact fraction; 1.1 is meant as it is written, 11/10."""
    try:
        return value if isinstance(value, Fraction) else Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{name} is {value!r}; write a number such as 2, 1.5 or 4/3") from None


def parse_size(value: object) -> tuple[int, int]:
    """'1920x1080', or a pair, as (width, height)."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return parse_whole(value[0]), parse_whole(value[1])
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", str(value))
    if match is None:
        raise UsageError(f"size is {str(value)!r}; write width x height, such as 1920x1080")
    return int(match[1]), int(match[2])


def parse_point(value: object) -> Point:
    """'300f' as frame 300; '12.5', '1:02.5' or '1:00:02.5' as exact seconds."""
    if isinstance(value, Fraction):
        return value
    text = str(value)
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
    """A whole number; 4.0 is one, and true is none."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return int(str(value).removesuffix(".0"))


def parse_number(value: object) -> float:
    """A number, or its text."""
    return float(str(value))


def parse_switch(value: object) -> bool:
    """On or off, and nothing that only stands for it."""
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


_READERS: dict[str, Callable[[Any], object]] = {
    "text": str,
    "whole": parse_whole,
    "number": parse_number,
    "switch": parse_switch,
    "pairs": parse_pairs,
}
