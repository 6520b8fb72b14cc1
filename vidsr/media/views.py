"""Stereo and 360 degree video: how views share a frame, read from frames."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from av.video.frame import VideoFrame

from vidsr.media.containers import Container
from vidsr.media.sidedata import side_data_of

# FFmpeg's AVStereo3D begins with kind and flags; AVSphericalMapping is projection, yaw, pitch, roll in 1/65536 of a
# degree, the bounds left, top, right and bottom, and the padding of cube faces in pixels.
_STEREO_STRUCT, _SPHERE_STRUCT = struct.Struct("=2i"), struct.Struct("=4i5I")
_STEREO_KINDS: dict[int, Literal["side by side", "top and bottom"]] = {1: "side by side", 2: "top and bottom"}
_DEGREE = 65536
_MONO, _RIGHT_FIRST = 0, 1
_EQUIRECTANGULAR, _EQUIRECTANGULAR_TILE = 0, 2


@dataclass(frozen=True, kw_only=True)
class StereoLayout:
    """Two views in one frame, each in a half of it."""

    kind: Literal["side by side", "top and bottom"]
    right_first: bool  # the right eye's view is the left or upper one


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """An equirectangular picture: longitude across, latitude down."""

    yaw_degrees: Fraction
    pitch_degrees: Fraction
    roll_degrees: Fraction
    bounds: tuple[int, int, int, int]  # left, top, right, bottom: what of the sphere is cut off, in 1/2**32 of it


def read_stereo(frame: VideoFrame) -> StereoLayout | None:
    """The layout of a frame that holds two halves; None for all others."""
    kind, flags = _unpack(frame, "STEREO3D", _STEREO_STRUCT) or (_MONO, 0)
    if kind not in _STEREO_KINDS:
        return None
    return StereoLayout(kind=_STEREO_KINDS[kind], right_first=bool(flags & _RIGHT_FIRST))


def read_sphere(frame: VideoFrame) -> Sphere | None:
    """The projection of a frame that is equirectangular; None for all others."""
    projection, *numbers = _unpack(frame, "SPHERICAL", _SPHERE_STRUCT) or (None,)
    if projection not in (_EQUIRECTANGULAR, _EQUIRECTANGULAR_TILE):
        return None
    yaw, pitch, roll, left, top, right, bottom, _ = numbers
    return Sphere(
        yaw_degrees=Fraction(yaw, _DEGREE),
        pitch_degrees=Fraction(pitch, _DEGREE),
        roll_degrees=Fraction(roll, _DEGREE),
        bounds=(left, top, right, bottom) if projection == _EQUIRECTANGULAR_TILE else (0, 0, 0, 0),
    )


def unread_views(frame: VideoFrame) -> list[str]:
    """What a frame says of its views that is none of the above, by name."""
    lines = []
    kind, _ = _unpack(frame, "STEREO3D", _STEREO_STRUCT) or (_MONO, 0)
    if kind != _MONO and kind not in _STEREO_KINDS:
        lines.append("stereo 3D layout (only side by side and top and bottom stay what they are)")
    if "SPHERICAL" in (side_data_of(frame) or {}) and read_sphere(frame) is None:
        lines.append("spherical projection (only an equirectangular one is kept)")
    return lines


def stereo_loss(container: Container, stereo: StereoLayout | None) -> str | None:
    """What a container does not keep of the layout."""
    if stereo is None or container.stereo:
        return None
    # FFmpeg's muxer also writes a newer box that says "unspecified", and readers believe that one.
    return f"left out: stereo 3D layout ({stereo.kind}): {container.name} gets none yet; use .mkv or .webm"


def sphere_loss(container: Container, sphere: Sphere | None) -> str | None:
    """What a container does not keep of the projection."""
    if sphere is None:
        return None
    is_cut = any(sphere.bounds)
    is_turned = any((sphere.yaw_degrees, sphere.pitch_degrees, sphere.roll_degrees))
    if container.keeps_sphere(is_cut=is_cut, is_turned=is_turned):
        return None
    return f"left out: spherical projection: {container.name} gets none that is turned or cut like this one; use .mkv"


def _unpack(frame: VideoFrame, name: str, layout: struct.Struct) -> tuple[int, ...] | None:
    data = (side_data_of(frame) or {}).get(name)
    return None if data is None else layout.unpack_from(bytes(data))
