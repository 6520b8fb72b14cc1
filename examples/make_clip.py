"""Makes clip.mp4, the small clip that the other examples upscale: a photograph filmed as if on old stock.

    pip install ".[clip]"
    python examples/make_clip.py [TARGET]

The photograph is NASA's portrait of the astronaut Eileen Collins, in the public domain, from scikit-image.
A virtual camera moves over it; blur, gate weave, flicker, faded colour and grain make the footage old.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from skimage import data
from torch import Tensor
from torch.nn import functional

WIDTH, HEIGHT, NUM_FRAMES, RATE = 160, 120, 38, Fraction(25, 2)
SAMPLE_RATE, SECONDS = 48000, float(NUM_FRAMES / RATE)
OVERSAMPLING = 4  # samples per pixel and axis; their mean is what a sensor would see
# Where the camera looks, in pixels of the 512x512 photograph: middle x, middle y, width of the view.
FIRST_VIEW, LAST_VIEW = (277.0, 184.0, 462.0), (230.0, 114.0, 264.0)


def filmed(photograph_nchw: Tensor, view: tuple[float, float, float]) -> Tensor:
    """(HEIGHT, WIDTH, 3) in [0, 1]: the part of the photograph in view, at sub-pixel precision and slightly soft."""
    x, y, width = view
    side = photograph_nchw.shape[-1]
    # In the units of grid_sample, where the photograph reaches from -1 to 1.
    theta = torch.tensor([[[width / side, 0, 2 * x / side - 1], [0, width * HEIGHT / WIDTH / side, 2 * y / side - 1]]])
    size = [1, 3, HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING]
    grid = functional.affine_grid(theta, size, align_corners=False)
    fine = functional.grid_sample(photograph_nchw, grid, padding_mode="border", align_corners=False)
    # A window of a pixel and a half, not of one, is the lens.
    pixels = functional.avg_pool2d(functional.pad(fine, (1, 1, 1, 1), "replicate"), OVERSAMPLING + 2, OVERSAMPLING)
    return pixels[0].permute(1, 2, 0)


def aged(picture_hwc: Tensor, noise: torch.Generator, seconds: float) -> Tensor:
    """The picture with faded colour, flicker and grain."""
    gray = picture_hwc.mean(dim=2, keepdim=True)
    flicker = 1 + 0.015 * math.sin(19 * seconds) + 0.01 * math.sin(31 * seconds)
    grain = torch.randn(1, 1, HEIGHT + 2, WIDTH + 2, generator=noise)
    grain = functional.avg_pool2d(grain, 3, 1) * 2 + 0.3 * grain[..., 1:-1, 1:-1]  # clumps, and some fine grain
    # Grain shows most in the middle tones.
    strength = 0.012 + 0.05 * gray * (1 - gray)
    faded = 0.02 + 0.94 * flicker * torch.lerp(gray, picture_hwc, 0.8)
    return (faded + strength * grain[0, 0, :, :, None]).clamp(0, 1)


def footage() -> Iterator[npt.NDArray[np.uint8]]:
    """The frames, (HEIGHT, WIDTH, 3)."""
    astronaut: Callable[[], npt.NDArray[np.uint8]] = data.astronaut  # (512, 512, 3)
    photograph_nchw = torch.from_numpy(astronaut()).permute(2, 0, 1)[None] / 255
    noise = torch.Generator().manual_seed(1990)
    for index in range(NUM_FRAMES):
        seconds = float(index / RATE)
        way = (1 - math.cos(math.pi * index / (NUM_FRAMES - 1))) / 2
        x, y, width = (first + way * (last - first) for first, last in zip(FIRST_VIEW, LAST_VIEW, strict=True))
        pixel = width / WIDTH
        x += 0.15 * pixel * math.sin(23 * seconds)  # the gate lets the film weave, more up and down than across
        y += 0.3 * pixel * math.sin(17 * seconds + 1)
        picture_hwc = aged(filmed(photograph_nchw, (x, y, width)), noise, seconds)
        yield (picture_hwc * 255).round().to(torch.uint8).numpy()


def melody() -> npt.NDArray[np.float32]:
    """(1, samples): seven soft bell notes of a D major chord that ring into each other."""
    time = np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.zeros_like(time)
    for number, semitones in enumerate((0, 7, 12, 16, 19, 16, 24)):  # above D3
        since = time - 0.05 - 0.3 * number
        envelope = np.where(since > 0, (1 - np.exp(-since.clip(0) / 0.01)) * np.exp(-since.clip(0) / 0.8), 0)
        tone = 2 * np.pi * 146.83 * 2 ** (semitones / 12) * since
        sound += envelope * (np.sin(tone) + 0.25 * np.sin(2 * tone) + 0.08 * np.sin(3 * tone))
    sound *= 0.09 * np.minimum(1, (SECONDS - time) / 0.4)  # quiet, and fades out
    return np.asarray(sound[None], np.float32)


def tag_as_sd(target: VideoCodecContext | VideoFrame) -> None:
    """Say that the planes are BT.601 in limited range, as in standard definition with 525 lines."""
    target.colorspace = target.color_primaries = target.color_trc = 6  # SMPTE 170M in ITU-T H.273
    target.color_range = ColorRange.MPEG


def make_clip(target: Path) -> None:
    """Write footage and melody as H.264 and AAC."""
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = "Eileen Collins, a photograph by NASA, filmed"
        # More threads, and x264's macroblock tree at this size, make the result differ from run to run.
        settings = {"crf": "22", "preset": "slow", "threads": "1", "mbtree": "0"}
        video = container.add_stream("libx264", rate=RATE, options=settings)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        tag_as_sd(video.codec_context)
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 64000
        for picture in footage():
            rgb = VideoFrame.from_ndarray(picture, format="rgb24")
            frame = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)
            tag_as_sd(frame)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = AudioFrame.from_ndarray(melody(), format="fltp", layout="mono")
        sound.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4")
    make_clip(clip)
    print(f"{clip}: {NUM_FRAMES} frames of {WIDTH}x{HEIGHT}, {SECONDS:.2f} s, {clip.stat().st_size} bytes")
