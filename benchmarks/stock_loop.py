"""The frame loop that Real-ESRGAN's own video script runs, written anew from its description, to measure against.

    python benchmarks/stock_loop.py clip.mp4 out.mp4 --weights realesr-animevideov3.pth --scale 2

One frame after the other, in one thread of Python: decode to 8-bit BGR, NumPy to a float tensor, the plain network in
fp32 (whole frames, channels first), NumPy back to 8-bit BGR, Lanczos to the wanted size, encode. Only reading and
writing go through PyAV instead of pipes to and from the ffmpeg program, which encodes beside the loop in another
process; here x264's threads do. Prints its own count of frames and seconds as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Image = NDArray[np.uint8]  # (H, W, 3), blue first


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the results of all before it."""

    def __init__(self, features: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(features + number * growth, growth, 3, 1, 1) for number in range(4)
        )
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(F.leaky_relu(layer(torch.cat(seen, 1)), 0.2))
        out: Tensor = self.conv5(torch.cat(seen, 1))
        return out * 0.2 + x


class ResidualBlock(nn.Module):
    """Three dense blocks around which the input is added."""

    def __init__(self) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = DenseBlock(), DenseBlock(), DenseBlock()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return out * 0.2 + x


class Generator(nn.Module):
    """RRDBNet for 4x, as the paper draws it."""

    def __init__(self, num_blocks: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, 64, 3, 1, 1)
        self.body = nn.Sequential(*(ResidualBlock() for _ in range(num_blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (nn.Conv2d(64, 64, 3, 1, 1) for _ in range(4))
        self.conv_last = nn.Conv2d(64, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv_first(x)
        out = first + self.conv_body(self.body(first))
        for layer in (self.conv_up1, self.conv_up2):
            out = F.leaky_relu(layer(F.interpolate(out, scale_factor=2, mode="nearest")), 0.2)
        result: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(out), 0.2))
        return result


class Compact(nn.Module):
    """SRVGGNetCompact for 4x."""

    def __init__(self, num_convs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1), nn.PReLU(64)]
        for _ in range(num_convs):
            layers += [nn.Conv2d(64, 64, 3, 1, 1), nn.PReLU(64)]
        self.body = nn.ModuleList([*layers, nn.Conv2d(64, 48, 3, 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in self.body:
            out = layer(out)
        return F.pixel_shuffle(out, 4) + F.interpolate(x, scale_factor=4, mode="nearest")


def load(weights: Path) -> nn.Module:
    """The network of a .pth file with BasicSR's names; 64 features, 4x."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    state = state.get("params_ema", state.get("params", state))
    if "conv_first.weight" in state:
        network: nn.Module = Generator(1 + max(int(key.split(".")[1]) for key in state if key.startswith("body.")))
    else:
        network = Compact((max(int(key.split(".")[1]) for key in state) - 2) // 2)
    network.load_state_dict(state)
    return network.eval()


def enhance(network: nn.Module, image: Image, scale: float) -> Image:
    """One frame, as the script's upsampler does it."""
    x = image.astype(np.float32) / 255
    x = np.transpose(x[:, :, ::-1], (2, 0, 1))
    with torch.no_grad():
        output = network(torch.from_numpy(np.ascontiguousarray(x)).float().unsqueeze(0))
    y = output.data.squeeze().float().cpu().clamp_(0, 1).numpy()
    y = np.transpose(y[[2, 1, 0], :, :], (1, 2, 0))
    result: Image = (y * 255.0).round().astype(np.uint8)
    if scale != 4:
        result = lanczos(result, int(image.shape[1] * scale), int(image.shape[0] * scale))
    return result


def lanczos(image: Image, width: int, height: int) -> Image:
    """OpenCV's where it is installed, as in the script; else FFmpeg's."""
    try:
        cv2: Any = import_module("cv2")
    except ImportError:
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        return _image(frame.reformat(width, height, interpolation="LANCZOS"))
    result: Image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return result


def _image(frame: av.VideoFrame) -> Image:
    return np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def run(source: Path, target: Path, network: nn.Module, scale: float, stop: int | None, crf: str, preset: str) -> int:
    """The loop; the number of frames."""
    num_frames = 0
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        video = container.streams.video[0]
        stream: Any = out.add_stream("libx264", rate=video.average_rate, options={"crf": crf, "preset": preset})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_type = "AUTO"  # as the ffmpeg program does, and vidsr
        for frame in container.decode(video):
            if num_frames == stop:
                break
            image = enhance(network, _image(frame), scale)
            if num_frames == 0:
                stream.height, stream.width = image.shape[:2]
            large = av.VideoFrame.from_ndarray(image, format="bgr24")
            large.pts = num_frames
            out.mux(stream.encode(large))
            num_frames += 1
        out.mux(stream.encode(None))
    return num_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--stop", type=int, help="frames, from the first")
    parser.add_argument("--crf", default="20")
    parser.add_argument("--preset", default="veryfast")
    given = parser.parse_args()
    network = load(given.weights)
    began = time.perf_counter()
    num_frames = run(given.source, given.target, network, given.scale, given.stop, given.crf, given.preset)
    print(json.dumps({"num_frames": num_frames, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
