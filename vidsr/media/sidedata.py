"""What a decoder hands out beside a frame's pixels, also where PyAV fails to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

UNNAMED = "metadata of a kind that PyAV has no name for (such as EXIF)"


def side_data_of(frame: VideoFrame) -> Mapping[str, SideData] | None:
    """The frame's side data by FFmpeg's names, e.g. "A53_CC"; None if one kind is unknown to PyAV, which hides all."""
    try:
        found = cast("Iterable[SideData]", frame.side_data)  # a mapping that iterates over its values
    except ValueError:
        return None
    return {data.type.name: data for data in found}
