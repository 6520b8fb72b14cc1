"""The containers that videos are written into, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from vidsr.errors import UsageError
from vidsr.media.sequence import IMAGE_SEQUENCE


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container: how people call it, what is written into it, what it keeps, how FFmpeg's muxer is to be used.

    A row decides all that depends on the container alone. What no row says all of them keep: chapters, languages, the
    display matrix, the pixels' shape, colour tags, whole HDR10 metadata, and every stream that the muxer takes, which
    `write.copies` finds out by trying. What an encoder needs in any container, such as the format of its segments, is
    in its own row in `write.encoders`.
    """

    name: str  # FFmpeg's
    suffixes: tuple[str, ...]  # the usual one first
    option: str | None  # what the option `container` calls it; None: only the target's name says it
    video_codecs: frozenset[str]  # that are written into it, by FFmpeg's canonical names
    text_codec: str | None = None  # what text subtitles become that it does not take as they are
    tick: Fraction | None = None  # what time stamps are rounded to; None: they keep the source's time base
    stays: bool = True  # whether a source in it gets a target in it where none is asked for

    # What it keeps.
    holds_streams: bool = True  # beside the pictures
    alpha_beside_packets: bool = False  # VP9's; other codecs have alpha inside their packets
    covers: Literal["stream", "attachment"] | None = "stream"  # a stream: if the muxer takes the picture's codec
    attachments: bool = False
    telemetry: bool = False  # GoPro's
    # By any name; by any name if FFmpeg is told to; if it is told to, or else the few that all players know.
    tags: Literal["any", "keys", "few or keys"] = "any"
    half_mastering_display: bool = False  # HDR10's colours without the luminance, or the other way round
    stereo: bool = False
    cut_spheres: bool = False  # whole ones that are not turned are kept anywhere
    turned_spheres: bool = False  # whole ones

    # How FFmpeg's muxer is to be used.
    stand_in_codec: str = "mpeg4"  # a video codec that it takes without settings
    codec_tags: Mapping[str, str] = field(default_factory=dict)  # by codec, where its own choice is not played
    # How HDR and views are said: by side data of the stream, or by what `write.matroska` puts into the finished file.
    picture_fields: Literal["side data", "matroska"] | None = None
    edit_lists: bool = False  # starts are told in a unit of the whole file, whose index is at the end unless moved
    timecode_tracks: bool = False  # made of tags
    length_by_decoding_times: bool = False  # it reckons the whole length from these
    starts_at_zero: bool = False  # it moves all streams so that none begins below zero, but not the chapters

    def holds(self, codec: str) -> bool:
        """Whether a video codec (FFmpeg's canonical name) is written into it."""
        return codec in self.video_codecs

    def keeps_sphere(self, *, is_cut: bool, is_turned: bool) -> bool:
        """Whether it has a place for an equirectangular picture like that."""
        return self.cut_spheres if is_cut else self.turned_spheres or not is_turned


_ANY_VIDEO = frozenset({"h264", "hevc", "av1", "vp9", "ffv1", "prores"})
_TAG_OF_APPLE = MappingProxyType({"hevc": "hvc1"})  # the only one that Apple's players take
_MILLISECOND = Fraction(1, 1000)

MATROSKA = Container(
    name="matroska",
    suffixes=(".mkv",),
    option="mkv",
    video_codecs=_ANY_VIDEO,
    text_codec="subrip",
    tick=_MILLISECOND,
    alpha_beside_packets=True,
    covers="attachment",  # as a stream one would become a second video track
    attachments=True,
    half_mastering_display=True,
    stereo=True,
    cut_spheres=True,
    turned_spheres=True,
    picture_fields="matroska",
    starts_at_zero=True,
)

_ROWS = (
    Container(
        name="mp4",
        suffixes=(".mp4", ".m4v"),
        option="mp4",
        video_codecs=frozenset({"h264", "hevc", "av1", "vp9"}),
        text_codec="mov_text",
        telemetry=True,
        tags="few or keys",
        cut_spheres=True,  # FFmpeg has a box with angles for these, and one without for the whole
        codec_tags=_TAG_OF_APPLE,
        picture_fields="side data",
        edit_lists=True,
        timecode_tracks=True,
        length_by_decoding_times=True,
    ),
    Container(
        name="mov",
        suffixes=(".mov",),
        option="mov",
        video_codecs=frozenset({"h264", "hevc", "prores"}),
        text_codec="mov_text",
        covers=None,
        telemetry=True,
        tags="keys",
        codec_tags=_TAG_OF_APPLE,
        picture_fields="side data",
        edit_lists=True,
        timecode_tracks=True,
        length_by_decoding_times=True,
    ),
    MATROSKA,
    Container(
        name="webm",
        suffixes=(".webm",),
        option="webm",
        video_codecs=frozenset({"av1", "vp9"}),
        text_codec="webvtt",
        tick=_MILLISECOND,
        stays=False,  # it holds little, and nothing of what is usual elsewhere
        alpha_beside_packets=True,
        half_mastering_display=True,
        stereo=True,
        cut_spheres=True,
        turned_spheres=True,
        stand_in_codec="vp8",
        picture_fields="matroska",
        starts_at_zero=True,
    ),
)
CONTAINERS = MappingProxyType({row.name: row for row in _ROWS})
CONTAINERS_BY_SUFFIX = MappingProxyType({suffix: row for row in _ROWS for suffix in row.suffixes})
CONTAINERS_BY_OPTION = MappingProxyType({row.option: row for row in _ROWS if row.option is not None})

# Numbered files in the place of one: what pictures say beside is told by `run.losses`.
PICTURES = Container(
    name=IMAGE_SEQUENCE,
    suffixes=(),  # those of pictures say the codec
    option=None,
    video_codecs=frozenset({"png", "tiff", "exr", "dpx"}),
    holds_streams=False,
    covers=None,
)


def container_of(target: Path) -> Container:
    """The container that a suffix means.

    Raises:
        UsageError: no container has that suffix.
    """
    found = CONTAINERS_BY_SUFFIX.get(target.suffix.lower())
    if found is None:
        suffixes = ", ".join(CONTAINERS_BY_SUFFIX)
        raise UsageError(f"{target}: the suffix says the container; use one of {suffixes}")
    return found
