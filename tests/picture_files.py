"""Single pictures on disk, written and read with plain PyAV and numpy, as RGB(A) or gray arrays of any sample type."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

_CODECS = {".png": "png", ".tif": "tiff", ".exr": "exr", ".dpx": "dpx", ".bmp": "bmp", ".jpg": "mjpeg"}
_CHANNELS = {"rgb24": 3, "rgba": 4, "rgb48": 3, "rgba64": 4, "gray": 1, "gray16": 1, "ya8": 2, "bgr24": 3}


def dtype_of(pix_fmt: str) -> np.dtype:
    order = ">" if pix_fmt.endswith("be") else "<"
    if "f16" in pix_fmt or "f32" in pix_fmt:
        return np.dtype(order + ("f2" if "f16" in pix_fmt else "f4"))
    is_deep = any(character in pix_fmt for character in ("10", "12", "16", "48", "64"))
    return np.dtype(order + "u2") if is_deep else np.dtype("u1")


def noise(pix_fmt: str, width: int = 37, height: int = 29, seed: int = 0) -> np.ndarray:
    """Every code as likely as the next; floats that halves hold, from far below 0 to far above 1."""
    channels = _planar(pix_fmt) or _CHANNELS[_bare(pix_fmt)]
    shape = (height, width) if channels == 1 else (height, width, channels)
    generator = np.random.default_rng(seed)
    dtype = dtype_of(pix_fmt).newbyteorder("=")
    if dtype.kind == "f":
        return (generator.normal(size=shape) * 3).astype(np.float16).astype(dtype)
    bits = 10 if "10" in pix_fmt else 12 if "12" in pix_fmt else 8 * dtype.itemsize
    return generator.integers(0, 1 << bits, shape).astype(dtype)


def write_picture(path: Path, samples: np.ndarray, pix_fmt: str, options: dict[str, str] | None = None) -> Path:
    """Write an (H, W) or (H, W, C) array whose channels are R, G, B, A."""
    height, width = samples.shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, lines in zip(frame.planes, _to_planes(samples, pix_fmt), strict=True):
        memory = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        data = np.ascontiguousarray(lines).view(np.uint8).reshape(height, -1)
        memory[:height, : data.shape[1]] = data
    encoder = av.CodecContext.create(_CODECS[path.suffix], "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, pix_fmt, Fraction(1, 25)
    if path.suffix == ".jpg":
        encoder.color_range = 2
    encoder.options = dict(options or {})
    frame.pts = 0
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    return path


def read_picture(path: Path) -> tuple[str, np.ndarray]:
    """(pixel format, (H, W) or (H, W, C) samples in this machine's byte order)"""
    decoder = av.CodecContext.create(_CODECS[path.suffix], "r")
    frame = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)][0]
    name, dtype = frame.format.name, dtype_of(frame.format.name)
    channels = _planar(name)
    per_line = frame.width * (1 if channels else _CHANNELS[_bare(name)])
    planes = []
    for plane in frame.planes:
        memory = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        lines = memory[: frame.height, : per_line * dtype.itemsize].copy().view(dtype)
        planes.append(lines.astype(dtype.newbyteorder("=")))
    if channels > 1:
        green, blue, red, *alpha = planes
        return name, np.stack([red, green, blue, *alpha], axis=-1)
    samples = planes[0].reshape(frame.height, frame.width, -1)
    return name, samples[..., 0] if samples.shape[2] == 1 else samples


def shape_of_pixels(path: Path) -> float:
    """Width over height of one pixel of a PNG or TIFF, from its samples per metre or inch; by Pillow, not FFmpeg."""
    with Image.open(path) as picture:
        across, down = (float(value) for value in picture.info.get("aspect") or picture.info["dpi"])
    return down / across


def _to_planes(samples: np.ndarray, pix_fmt: str) -> list[np.ndarray]:
    samples = samples.astype(dtype_of(pix_fmt))
    if _planar(pix_fmt) > 1:
        red, green, blue, *alpha = (samples[..., channel] for channel in range(samples.shape[2]))
        return [green, blue, red, *alpha]
    return [samples.reshape(samples.shape[0], -1)]


def _planar(pix_fmt: str) -> int:
    """How many planes a planar format has; 0 for packed ones."""
    if pix_fmt.startswith("grayf"):
        return 1
    return 4 if pix_fmt.startswith("gbra") else 3 if pix_fmt.startswith("gbr") else 0


def _bare(pix_fmt: str) -> str:
    return pix_fmt.removesuffix("le").removesuffix("be")
