"""Image sequences by their names: which files of a folder belong together, in which order, and which are missing."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from vidsr.errors import SourceError, SourceMissingError

IMAGE_SEQUENCE = "image sequence"  # in the place of a container's name
# Suffixes of single pictures, and FFmpeg's decoder for each.
PICTURE_SUFFIXES = MappingProxyType(
    {
        ".png": "png",
        ".tif": "tiff",
        ".tiff": "tiff",
        ".exr": "exr",
        ".dpx": "dpx",
        ".jpg": "mjpeg",
        ".jpeg": "mjpeg",
        ".bmp": "bmp",
        ".webp": "webp",
    }
)
_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]+)(?P<rest>[^0-9]*)", re.DOTALL)
_PRINTF = re.compile(r"(?<!%)((?:%%)*)%(?:0(?P<width>[1-9]))?d")
_HASHES = re.compile("#+(?=[^#]*$)")
_MAX_DIGITS = 18  # what a 64-bit number surely holds
_MAX_RUNS_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How the pictures of a sequence are named: `prefix`, the number with at least `width` digits, `suffix`."""

    folder: Path
    prefix: str
    width: int | None  # None: a single picture, whose name is prefix and suffix
    suffix: str

    def name(self, number: int) -> str:
        return self.prefix + ("" if self.width is None else f"{number:0{self.width}d}") + self.suffix

    def file(self, number: int) -> Path:
        return self.folder / self.name(number)

    def number_of(self, name: str) -> int | None:
        """The number in a file's name; None if the name is not one of this pattern."""
        digits = name[len(self.prefix) : len(name) - len(self.suffix)]
        if self.width is None or not re.fullmatch(rf"[0-9]{{1,{_MAX_DIGITS}}}", digits):
            return None
        return int(digits) if self.name(int(digits)) == name else None

    def numbers_there(self) -> list[int]:
        """The numbers of the files that are in the folder, sorted."""
        with os.scandir(self.folder) as entries:
            return sorted(number for entry in entries if (number := self.number_of(entry.name)) is not None)

    @property
    def path(self) -> Path:
        """The pattern as it is written, e.g. `shots/road.%04d.png`."""
        if self.width is None:
            return self.folder / self.name(0)
        number = "%d" if self.width == 1 else f"%0{self.width}d"
        return self.folder / f"{self.prefix.replace('%', '%%')}{number}{self.suffix.replace('%', '%%')}"


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """The pictures that are there, by number."""

    pattern: Pattern
    numbers: array[int]  # sorted, 64-bit

    @property
    def first(self) -> int:
        return self.numbers[0]

    def missing(self, start: int, stop: int) -> str | None:
        """The numbers that are not there of those from `start` to before `stop`, in words; None if all are."""
        inside = self.numbers[bisect_left(self.numbers, start) : bisect_left(self.numbers, stop)]
        runs = [(a + 1, b - 1) for a, b in pairwise(inside) if b - a > 1]
        count = sum(last - first + 1 for first, last in runs)
        if not count:
            return None
        spots = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:_MAX_RUNS_NAMED]]
        further = f" and {len(runs) - len(spots)} more gaps" if len(runs) > len(spots) else ""
        return (
            f"{'frame' if count == 1 else 'frames'} {', '.join(spots)}{further} {'is' if count == 1 else 'are'} missing"
        )


def parse_pattern(path: Path) -> Pattern | None:
    """`shot.%04d.png`, `shot.%d.png` or `shot.####.png` as a pattern; None if the name has no place for a number.

    A percent sign beside such a place is written twice, as for printf.
    """
    match = _PRINTF.search(path.name)
    if match:
        before, after = path.name[: match.start()] + match[1], path.name[match.end() :]
        return Pattern(
            folder=path.parent,
            prefix=before.replace("%%", "%"),
            width=int(match["width"] or 1),
            suffix=after.replace("%%", "%"),
        )
    match = _HASHES.search(path.name)
    if match is None:
        return None
    before, after = path.name[: match.start()], path.name[match.end() :]
    return Pattern(folder=path.parent, prefix=before, width=len(match[0]), suffix=after)


def find_sequence(path: Path) -> Sequence | None:
    """The sequence that a folder, a pattern or a single picture means; None if the path is none of these.

    Raises:
        SourceMissingError: a pattern that no file fits. SourceError: a folder with more than one sequence.
    """
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return None
    if path.exists():
        single = Pattern(folder=path.parent, prefix=path.stem, width=None, suffix=path.suffix)
        return None if is_animated(path) else Sequence(pattern=single, numbers=array("q", [0]))
    pattern = parse_pattern(path)
    if pattern is None:
        return None
    if not pattern.folder.is_dir():
        raise SourceMissingError(f"{path}: there is no folder {pattern.folder}; check the path")
    numbers = array("q", pattern.numbers_there())
    if not numbers:
        raise SourceMissingError(f"{path}: no file fits this pattern; {_what_is_there(pattern.folder)}")
    return Sequence(pattern=pattern, numbers=numbers)


def count_pictures(folder: Path) -> tuple[int, int]:
    """How many files of a folder are pictures, and how many of those have a number."""
    names = _picture_names(folder)
    return len(names), sum(_NUMBERED.fullmatch(Path(name).stem) is not None for name in names)


def is_animated(path: Path) -> bool:
    """Whether a PNG or WebP file holds more than one picture, by its header."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
        return bool(head[20] & 0x02)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and b"acTL" in head.split(b"IDAT")[0]


def _picture_names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except PermissionError:
        raise SourceError(f"{folder}: no permission to read this folder") from None
    return sorted(name for name in names if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES)


def _in_folder(folder: Path) -> Sequence | None:
    names = _picture_names(folder)
    if not names:
        return None
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        suffix = Path(name).suffix
        match = _NUMBERED.fullmatch(name.removesuffix(suffix))
        if match is None:
            raise SourceError(
                f"{folder}: {name} has no number, so it is no part of a sequence; name the pictures with a pattern, "
                "such as shot.%04d.png"
            )
        groups.setdefault((match["prefix"], match["rest"] + suffix), []).append(match["number"])
    if len(groups) > 1:
        found = ", ".join(p.path.name for p in _some(_pattern(folder, *key, digits) for key, digits in groups.items()))
        raise SourceError(f"{folder}: holds more than one sequence ({found}); name one of them with its pattern")
    ((prefix, suffix), digits) = next(iter(groups.items()))
    pattern = _pattern(folder, prefix, suffix, digits)
    names = [f"{prefix}{text}{suffix}" for text in digits]
    fitting = [name for name in names if pattern.number_of(name) is not None]
    if len(fitting) < len(names):
        odd = next(name for name in names if pattern.number_of(name) is None)
        raise SourceError(
            f"{folder}: {odd} is not numbered as {fitting[0]} is; name one way of numbering with its pattern, such as "
            "shot.%04d.png"
        )
    return Sequence(pattern=pattern, numbers=array("q", sorted(int(text) for text in digits)))


def _pattern(folder: Path, prefix: str, suffix: str, digits: list[str]) -> Pattern:
    """The width is that of the numbers that are filled up with zeros, or of all where they are of one length."""
    lengths = {len(text) for text in digits}
    padded = {len(text) for text in digits if len(text) > 1 and text[0] == "0"}
    width = min(padded) if padded else min(lengths) if len(lengths) == 1 else 1
    return Pattern(folder=folder, prefix=prefix, width=width, suffix=suffix)


def _some(patterns: Iterable[Pattern], count: int = 5) -> Iterator[Pattern]:
    for index, pattern in enumerate(patterns):
        if index == count:
            return
        yield pattern


def _what_is_there(folder: Path) -> str:
    names = _picture_names(folder)
    if not names:
        return "the folder holds no pictures"
    return f"{len(names)} pictures are there, such as {names[0]}"
