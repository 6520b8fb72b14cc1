"""Matroska fields that FFmpeg's muxer is not told of: written into a finished file where a long track title stood.

The muxer gets `placeholder(title)` as the video track's title. Once the file is closed, `write_fields` puts the real
title and the fields in its place, with a Void element for the rest, so that no byte outside the Tracks element moves.
Elements and their numbers are those of RFC 9559 (Matroska) and RFC 8794 (EBML).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from vidsr.media.hdr import HdrMetadata
from vidsr.media.views import Sphere, StereoLayout

_EBML_HEADER, _SEGMENT, _TRACKS, _CLUSTER, _TRACK_ENTRY = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675, 0xAE
_NAME, _VIDEO, _COLOUR, _MASTERING = 0x536E, 0xE0, 0x55B0, 0x55D0
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xB0, 0xBA
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT, _STEREO_MODE = 0x54B0, 0x54BA, 0x54B2, 0x53B8
_CHROMA_SITING_X, _CHROMA_SITING_Y, _MAX_CLL, _MAX_FALL = 0x55B7, 0x55B8, 0x55BC, 0x55BD
_CRC32, _VOID = 0xBF, 0xEC
_PROJECTION, _PROJECTION_TYPE, _PROJECTION_PRIVATE, _POSES = 0x7670, 0x7671, 0x7672, (0x7673, 0x7674, 0x7675)
# Red x and y, green, blue, white; then the brightest and the darkest luminance.
_PRIMARIES, _MAX_LUMINANCE, _MIN_LUMINANCE = range(0x55D1, 0x55D9), 0x55D9, 0x55DA

_ASPECT_RATIO_UNIT = 3  # a DisplayUnit that only gives the shape; 0 is pixels
_LEFT, _HALFWAY = 1, 2  # chroma siting
_EQUIRECTANGULAR = 1
# The other modes mix the eyes' pixels, which no upscaled picture does.
_STEREO_MODES = {
    ("side by side", False): 1,
    ("side by side", True): 11,
    ("top and bottom", False): 3,
    ("top and bottom", True): 2,
}
# Modes in which each eye has half of the width or height; Display sizes are then those of one eye.
_HALF_WIDTH_MODES, _HALF_HEIGHT_MODES = (1, 11), (2, 3)

_MARK = "vidsr: the fields of the video track go here "
_ROOM = 400  # bytes; the fields need at most 290
_MAX_HEAD_BYTES = 12  # an id of 4 and a size of 8
_MAX_ELEMENTS = 32  # before the table of tracks; usually 6
_MAX_TRACKS_BYTES = 1 << 26  # decoder settings of all tracks: kilobytes


@dataclass(frozen=True, kw_only=True)
class VideoFields:
    """What a Matroska video track is to say."""

    sample_aspect_ratio: Fraction
    hdr: HdrMetadata | None = None
    stereo: StereoLayout | None = None
    sphere: Sphere | None = None
    chroma_on_the_left: bool = False  # of 4:2:0: between two lines, under every second pixel


def placeholder(title: str) -> str:
    """A title for the video track of a file that is to get its fields by `write_fields`."""
    return _MARK + "." * _ROOM + title


def write_fields(file: BinaryIO, title: str, fields: VideoFields) -> None:
    """Replace a placeholder by the title (none if empty) and fields, in place. The file stays as long as it is.

    Args:
        file: a complete Matroska or WebM file, open for reading and writing.
        title: what was given to `placeholder`.
        fields: what to write; other fields of the track stay as they are.

    Raises:
        ValueError: it is no closed Matroska file with exactly one track of that title. It is unchanged then.
        OSError: it cannot be read or written.
    """
    position, old = _find_tracks(file)
    new = _new_tracks(old, title, fields)
    assert len(new) == len(old), (len(new), len(old))
    file.seek(position)
    file.write(new)


def display_size(width: Fraction, height: Fraction, sample_aspect_ratio: Fraction) -> tuple[int, int, bool]:
    """(width, height) with exactly the shape that a picture is shown in, and whether these are its pixels, too.

    The shown picture is the coded one, wider or higher. Where that is no whole number of pixels, the nearest
    numbers with the same ratio stand for it.
    """
    wide = width * max(sample_aspect_ratio, Fraction(1))
    high = height / min(sample_aspect_ratio, Fraction(1))
    if wide.denominator == high.denominator == 1:
        return int(wide), int(high), True
    ratio = wide / high
    multiple = max(round(high / ratio.denominator), 1)
    return ratio.numerator * multiple, ratio.denominator * multiple, False


@dataclass(frozen=True)
class _Element:
    id: int
    data: bytes

    @property
    def number(self) -> int:
        return int.from_bytes(self.data, "big")

    def __bytes__(self) -> bytes:
        return _id_bytes(self.id) + _size_bytes(len(self.data)) + self.data


def _find_tracks(file: BinaryIO) -> tuple[int, bytes]:
    """(position, content) of the Tracks element, which FFmpeg writes before the first Cluster."""
    end = file.seek(0, os.SEEK_END)
    position, wanted = 0, [_EBML_HEADER, _SEGMENT]
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        kind, size, length = _read_head(file.read(_MAX_HEAD_BYTES), 0)
        position += length
        if kind == _CLUSTER or (wanted and kind != wanted[0]) or position + size > end:
            break
        if kind == _TRACKS and size <= _MAX_TRACKS_BYTES:
            file.seek(position)
            return position, file.read(size)
        wanted = wanted[1:]
        position += 0 if kind == _SEGMENT else size
    raise ValueError(f"no table of tracks in it, but something else at byte {position}")


def _new_tracks(old: bytes, title: str, fields: VideoFields) -> bytes:
    wanted = placeholder(title).encode()
    spans = list(_children(old))
    found = [
        span
        for span in spans
        if span[0] == _TRACK_ENTRY and any(e == _Element(_NAME, wanted) for e in _elements(old[span[1] : span[2]]))
    ]
    if len(found) != 1:
        raise ValueError(f"{len(found)} tracks have the placeholder as title")
    _, start, stop = found[0]
    new = old[:start] + _new_track(old[start:stop], title, fields) + old[stop:]
    kind, start, stop = spans[0]
    if kind == _CRC32:
        if old[start:stop] != _crc32(old[stop:]):
            raise ValueError("the check sum of its track table is wrong")
        new = new[:start] + _crc32(new[stop:]) + new[stop:]
    return new


def _new_track(old: bytes, title: str, fields: VideoFields) -> bytes:
    parts, num_videos = [], 0
    for element in _elements(old):
        if element.id == _CRC32:
            raise ValueError("its tracks have check sums of their own")
        if element.id == _NAME:
            parts += [bytes(_Element(_NAME, title.encode()))] if title else []
        elif element.id == _VIDEO:
            parts.append(bytes(_Element(_VIDEO, _new_video(element.data, fields))))
            num_videos += 1
        elif element.id != _VOID:
            parts.append(bytes(element))
    if num_videos != 1:
        raise ValueError(f"the track has {num_videos} descriptions of its video")
    new = b"".join(parts)
    return new + _void(len(old) - len(new))


def _new_video(old: bytes, fields: VideoFields) -> bytes:
    elements = [e for e in _elements(old) if e.id not in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)]
    if fields.stereo is not None:
        elements = [e for e in elements if e.id != _STEREO_MODE]
        elements.append(_unsigned(_STEREO_MODE, _STEREO_MODES[fields.stereo.kind, fields.stereo.right_first]))
    if fields.sphere is not None:
        elements = [e for e in elements if e.id != _PROJECTION]
        elements.append(_projection(fields.sphere))
    colour = next((e.data for e in elements if e.id == _COLOUR), b"")
    elements = [e for e in elements if e.id not in (_COLOUR, _VOID)]
    numbers = {e.id: e.number for e in elements}
    if not numbers.get(_PIXEL_WIDTH) or not numbers.get(_PIXEL_HEIGHT):
        raise ValueError("the video has no size")
    mode = numbers.get(_STEREO_MODE, 0)
    width, height, is_pixels = display_size(
        Fraction(numbers[_PIXEL_WIDTH], 1 + (mode in _HALF_WIDTH_MODES)),
        Fraction(numbers[_PIXEL_HEIGHT], 1 + (mode in _HALF_HEIGHT_MODES)),
        fields.sample_aspect_ratio,
    )
    elements += [_unsigned(_DISPLAY_WIDTH, width), _unsigned(_DISPLAY_HEIGHT, height)]
    elements += [] if is_pixels else [_unsigned(_DISPLAY_UNIT, _ASPECT_RATIO_UNIT)]
    new_colour = _new_colour(colour, fields)
    elements += [_Element(_COLOUR, new_colour)] if new_colour else []
    return b"".join(map(bytes, elements))


def _projection(sphere: Sphere) -> _Element:
    left, top, right, bottom = sphere.bounds
    turns = (sphere.yaw_degrees, sphere.pitch_degrees, sphere.roll_degrees)
    parts = [
        _unsigned(_PROJECTION_TYPE, _EQUIRECTANGULAR),
        _Element(_PROJECTION_PRIVATE, struct.pack(">5I", 0, top, bottom, left, right)),  # as in MP4's equi box
        *(_float(kind, degrees) for kind, degrees in zip(_POSES, turns, strict=True)),
    ]
    return _Element(_PROJECTION, b"".join(map(bytes, parts)))


def _new_colour(old: bytes, fields: VideoFields) -> bytes:
    new: list[_Element] = []
    if fields.chroma_on_the_left:
        new += [_unsigned(_CHROMA_SITING_X, _LEFT), _unsigned(_CHROMA_SITING_Y, _HALFWAY)]
    hdr = fields.hdr or HdrMetadata()
    new += [_unsigned(kind, light) for kind, light in ((_MAX_CLL, hdr.max_cll), (_MAX_FALL, hdr.max_fall)) if light]
    mastering: list[_Element] = []
    if hdr.primaries is not None:
        colours = (hdr.primaries.red, hdr.primaries.green, hdr.primaries.blue, hdr.primaries.white)
        values = [value for colour in colours for value in colour]
        mastering += [_float(kind, value) for kind, value in zip(_PRIMARIES, values, strict=True)]
    if hdr.luminance is not None:
        mastering += [_float(_MAX_LUMINANCE, hdr.luminance[1]), _float(_MIN_LUMINANCE, hdr.luminance[0])]
    if mastering:
        new.append(_Element(_MASTERING, b"".join(map(bytes, mastering))))
    replaced = {element.id for element in new}
    kept = [element for element in _elements(old) if element.id not in replaced]
    return b"".join(map(bytes, kept + new))


def _elements(data: bytes) -> list[_Element]:
    return [_Element(kind, data[start:stop]) for kind, start, stop in _children(data)]


def _children(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(id, start, stop) of the content of each element in `data`."""
    position = 0
    while position < len(data):
        kind, size, length = _read_head(data, position)
        start, position = position + length, position + length + size
        if position > len(data):
            raise ValueError(f"element {kind:X} is longer than what it lies in")
        yield kind, start, position


def _read_head(data: bytes, position: int) -> tuple[int, int, int]:
    """(id, size of the content, number of bytes that the two take) of the element at a position."""
    id_length = 9 - data[position].bit_length() if position < len(data) else 0
    size_at = position + id_length
    if not 1 <= id_length <= 4 or size_at >= len(data):
        raise ValueError("no element where one should begin")
    size_length = 9 - data[size_at].bit_length()
    stop = size_at + size_length
    if size_length > 8 or stop > len(data):
        raise ValueError("an element without a size")
    limit = 1 << 7 * size_length
    size = int.from_bytes(data[size_at:stop], "big") & limit - 1
    if size == limit - 1:
        raise ValueError("an element of unknown size: the file was never closed")
    return int.from_bytes(data[position:size_at], "big"), size, id_length + size_length


def _id_bytes(kind: int) -> bytes:
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big")


def _size_bytes(size: int, length: int = 0) -> bytes:
    """An element's size in the given number of bytes, or in as few as it takes; all ones are reserved."""
    length = length or next(n for n in range(1, 9) if size < (1 << 7 * n) - 1)
    return (size | 1 << 7 * length).to_bytes(length, "big")


def _unsigned(kind: int, value: int) -> _Element:
    return _Element(kind, value.to_bytes(max((value.bit_length() + 7) // 8, 1), "big"))


def _float(kind: int, value: Fraction) -> _Element:
    return _Element(kind, struct.pack(">d", float(value)))


def _void(num_bytes: int) -> bytes:
    """An element of exactly that many bytes that says nothing."""
    length = 1 if num_bytes < 0x80 else 8
    if num_bytes < 1 + length:
        raise ValueError(f"the fields take {2 - num_bytes} bytes more than were kept free for them")
    size = num_bytes - 1 - length
    return _id_bytes(_VOID) + _size_bytes(size, length) + bytes(size)


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")
