"""OpenEXR headers: what the decoder passes over in silence, further channels and lines that are missing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC = 20000630
_TILED, _DEEP, _MULTIPART = 0x200, 0x800, 0x1000
# Lines per chunk by compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB.
_LINES_PER_CHUNK = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)
_PICTURE_CHANNELS = frozenset("RGBAY")


@dataclass(frozen=True, kw_only=True)
class ExrFacts:
    """What a header says beyond the picture."""

    further_channels: tuple[str, ...]  # not among R, G, B, A and Y
    num_missing_chunks: int  # announced in the offset table, but not in the file


def read_exr(data: bytes) -> ExrFacts:
    """Read the header and offset table of a file; layout by "The OpenEXR File Layout" of openexr.com.

    Raises:
        ValueError: no OpenEXR file, or one that ends within its header.
    """
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise ValueError("the file ends within its header") from error


def _read(data: bytes) -> ExrFacts:
    magic, version = struct.unpack_from("<iI", data)
    if magic != _MAGIC:
        raise ValueError("no OpenEXR file")
    attributes, position = _attributes(data, 8)
    names = list(_channel_names(attributes.get("channels", b"\0")))
    missing = 0
    if not version & (_TILED | _DEEP | _MULTIPART):
        _, first_line, _, last_line = struct.unpack("<4i", attributes["dataWindow"])
        compression = attributes["compression"][0]
        lines = _LINES_PER_CHUNK[compression] if compression < len(_LINES_PER_CHUNK) else last_line - first_line + 1
        num_chunks = -(-(last_line - first_line + 1) // lines)
        offsets = struct.unpack_from(f"<{num_chunks}Q", data, position)
        missing = sum(not _is_whole(data, offset) for offset in offsets)
    further = tuple(name for name in names if name not in _PICTURE_CHANNELS)
    return ExrFacts(further_channels=further, num_missing_chunks=missing)


def _attributes(data: bytes, position: int) -> tuple[dict[str, bytes], int]:
    """The attributes by name, and where they end."""
    found = {}
    while data[position]:
        name, position = _text(data, position)
        _, position = _text(data, position)
        (size,) = struct.unpack_from("<i", data, position)
        found[name] = data[position + 4 : position + 4 + size]
        position += 4 + max(size, 0)
    return found, position + 1


def _channel_names(channels: bytes) -> Iterator[str]:
    position = 0
    while channels[position]:
        name, position = _text(channels, position)
        position += 16  # sample type, linearity, subsampling
        yield name


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.find(b"\0", position)
    if end < 0:
        raise IndexError(position)
    return data[position:end].decode("utf-8", "replace"), end + 1


def _is_whole(data: bytes, offset: int) -> bool:
    if offset == 0 or offset + 8 > len(data):
        return False
    size: int = struct.unpack_from("<i", data, offset + 4)[0]
    return size >= 0 and offset + 8 + size <= len(data)
