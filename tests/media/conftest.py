"""What the tests of interlaced material share: clips woven from the pictures of single moments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

TFF, BFF = 2, 3  # as AVFieldOrder has them


@dataclass(frozen=True, kw_only=True)
class FieldClip:
    """A video made of fields, and the whole pictures, one for each moment, that they were taken from."""

    path: Path
    moments: list[np.ndarray]  # luma, (height, width)
    pts: list[int]
    time_base: Fraction


MakeFields = Callable[..., FieldClip]


@pytest.fixture
def make_fields(tmp_path: Path) -> MakeFields:
    """A function that writes a video of fields; see `write_fields`."""

    def make(name: str = "fields.mkv", **how: Any) -> FieldClip:
        return write_fields(tmp_path / name, **how)

    return make


def write_fields(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (160, 96),
    order: str = "tff",
    flag: str | None = "tff",  # what the frames say of themselves; None: progressive; "half": every other one is tff
    container_flag: str | None = None,  # what only the container says
    material: str = "video",  # video: a moment for each field; film: 2:3 pulldown; frames: a moment for each frame;
    # hybrid: the first half frames, the rest video
    speed: int = 3,  # pixels from one moment to the next
    still_from: int | None = None,  # the moment from which nothing moves
    rate: Fraction | int = 25,
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
) -> FieldClip:
    """Write a lossless video (FFV1) of a texture that moves sideways."""
    rate = Fraction(rate)
    base = time_base or 1 / rate
    stamps = pts if pts is not None else [round(n / rate / base) for n in range(frames)]
    half = frames // 2
    pairs = [
        _moments_of(n, material if material != "hybrid" else "frames" if n < half else "video") for n in range(frames)
    ]
    num_moments = max(map(max, pairs)) + 1
    moments = [_texture(min(n, still_from) if still_from else n, speed, size) for n in range(num_moments)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        if container_flag is not None:
            stream.codec_context.field_order = {"tff": TFF, "bff": BFF}[container_flag]
        flagged = _flagger(flag, size, pix_fmt, base)
        for stamp, (first, second) in zip(stamps, pairs, strict=True):
            woven = moments[first].copy()
            late = 1 if order == "tff" else 0
            woven[late::2] = moments[second][late::2]
            frame = _frame(woven, pix_fmt)
            frame.pts, frame.time_base = stamp, base
            out.mux(stream.encode(flagged(frame)))
        out.mux(stream.encode(None))
    return FieldClip(path=path, moments=moments, pts=stamps, time_base=base)


def _flagger(flag: str | None, size: tuple[int, int], pix_fmt: str, base: Fraction) -> Callable[[Any], Any]:
    """Sets a frame's field flags, which PyAV only reads, with FFmpeg's filter for that."""
    graph = av.filter.Graph()
    ends = {"video_size": f"{size[0]}x{size[1]}", "pix_fmt": pix_fmt, "time_base": str(base), "pixel_aspect": "1/1"}
    mode = "tff" if flag == "half" else flag or "prog"
    nodes = [graph.add("buffer", **ends), graph.add("setfield", mode=mode), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    numbers = itertools.count()

    def set_flags(frame: av.VideoFrame) -> av.VideoFrame:
        if flag == "half" and next(numbers) % 2:
            return frame
        graph.vpush(frame)
        return graph.vpull()

    return set_flags


def _moments_of(number: int, material: str) -> tuple[int, int]:
    """Which moments the first and the second field of a frame show."""
    if material == "frames":
        return number, number
    if material == "video":
        return 2 * number, 2 * number + 1
    cycle, phase = divmod(number, 5)  # AA BB BC CD DD
    return tuple(4 * cycle + film for film in ((0, 0), (1, 1), (1, 2), (2, 3), (3, 3))[phase])


def _texture(moment: int, speed: int, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    noise = np.random.default_rng(5).uniform(0, 255, (height, width)).astype(np.float32)
    for axis, taps in ((0, 5), (1, 7), (0, 5), (1, 7)):
        noise = sum(np.roll(noise, shift, axis) for shift in range(taps)) / taps
    noise = (noise - noise.mean()) / noise.std() * 45 + 126
    return np.roll(noise.clip(20, 235).astype(np.uint8), speed * moment, 1)


def _frame(luma: np.ndarray, pix_fmt: str) -> av.VideoFrame:
    height, width = luma.shape
    frame = av.VideoFrame(width, height, pix_fmt)
    bits = frame.format.components[0].bits
    for index, plane in enumerate(frame.planes):
        samples = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
        lines = samples.reshape(plane.height, -1)
        values = luma if index == 0 else np.full((plane.height, plane.width), 128, np.uint8)
        lines[:, : plane.width] = values.astype(samples.dtype) << (bits - 8)
    return frame


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """In dB for 8-bit codes."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


@pytest.fixture(name="psnr")
def psnr_fixture() -> Callable[[np.ndarray, np.ndarray], float]:
    return psnr
