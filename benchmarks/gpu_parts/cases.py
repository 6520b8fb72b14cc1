"""The networks that are measured, with random weights, which are as fast as trained ones, and the clips they run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from vidsr.media.read.probe import probe
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet
from vidsr.pixels.sizes import Orientation
from vidsr.run.source_picture import picture_at

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "examples" / "clip.mp4"
NOMINAL_TFLOPS = 989.0  # of an H100 or H200, in fp16


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network at one size."""

    name: str
    make: Callable[[], RRDBNet | SRVGGNetCompact]
    size: tuple[int, int]  # width and height of the input
    goal_fps: float | None  # of the network alone on an H100 or H200: 40 % of NOMINAL_TFLOPS

    @property
    def size_text(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"

    @property
    def flops(self) -> int:
        """Of one frame, a multiply-add counted as two."""
        return self.make().flops_per_input_pixel * self.size[0] * self.size[1]


CASES = (
    Case(name="x4plus", make=lambda: RRDBNet(scale=4), size=(1280, 720), goal_fps=12),
    Case(name="x2plus", make=lambda: RRDBNet(scale=2), size=(1920, 1080), goal_fps=21),
    Case(name="animevideov3", make=lambda: SRVGGNetCompact(scale=4), size=(1280, 720), goal_fps=346),
)
TINY_CASES = (
    Case(
        name="tiny",
        make=lambda: RRDBNet(scale=4, num_blocks=1, num_features=8, growth_channels=4),
        size=(64, 48),
        goal_fps=None,
    ),
)


def random_network(case: Case) -> RRDBNet | SRVGGNetCompact:
    """The same for every call; scaled so that what comes out is a picture, as results that are none are made again."""
    torch.manual_seed(0)
    network = case.make().eval().requires_grad_(False)
    if isinstance(network, RRDBNet):
        spread = float(network(torch.rand((1, 3, 16, 16))).std())
        network.conv_last.weight.mul_(0.2 / max(spread, 1e-6))
        torch.nn.init.constant_(network.conv_last.bias, 0.5)  # type: ignore[arg-type]
    return network


def real_frame() -> Tensor:
    """float32 (1, 3, H, W) in [0, 1]: the first frame of the example clip."""
    source = probe(CLIP)
    found = picture_at(source, source.pts[0], None, Orientation())
    assert found is not None
    return found[1]


def make_clip(path: Path, size: tuple[int, int], num_frames: int) -> None:
    """H.264 of a real frame that wanders, so that no two frames are the same; even sides."""
    width, height = size
    with av.open(str(CLIP)) as source:
        still = next(source.decode(video=0)).to_ndarray(
            width=width, height=height, format="yuv420p", interpolation="BICUBIC"
        )
    luma, chroma = still[:height], still[height:].reshape(2, height // 2, width // 2)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "20", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            moved = np.roll(luma, 2 * number, axis=1), np.roll(chroma, number, axis=2).reshape(-1, width)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.concatenate(moved)), format="yuv420p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
