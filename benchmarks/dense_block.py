# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""A dense block of RRDBNet without concatenations, in Triton: what own kernels can do where libraries stop.

    TRITON_INTERPRET=1 python benchmarks/dense_block.py check    # held against plain PyTorch, without a GPU
    python benchmarks/dense_block.py check --device cuda
    python benchmarks/dense_block.py speed --device cuda         # TFLOP/s of each layer beside cuDNN

Pixels lie in one buffer of 192 channels, fp16: the block's input first, behind it what each layer adds. A layer reads
the channels before its own and writes its own, so that nothing is ever joined; bias, LeakyReLU and residuals are added
on the way. `by_tap` fetches a tile of pixels for each of the nine taps, as libraries do; `by_rows` computes four lines
at once, so that a tile serves the three rows of the kernel: half the fetches.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl
from gpu_parts.timing import median_seconds
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

NUM_FEATURES, GROWTH_CHANNELS = 64, 32
NUM_CHANNELS = NUM_FEATURES + 4 * GROWTH_CHANNELS  # of a pixel in the buffer
NEGATIVE_SLOPE = RESIDUAL_WEIGHT = 0.2
_GROWS, _ADDS, _ADDS_TWICE = 0, 1, 2  # what a layer does with its sums
_LINES = 4  # that `by_rows` computes at once
# What rounding the same sums at the same places leaves; a wrong tap or channel gives 0.1 and more.
_MOST_RELATIVE_ERROR = 1e-3


@triton.jit
def _finish(
    sums,
    bias,
    buffer,
    second,
    out,
    pixel,
    is_inside,
    target: tl.constexpr,
    num_out: tl.constexpr,
    stride: tl.constexpr,
    out_stride: tl.constexpr,
    mode: tl.constexpr,
):
    """Bias, then LeakyReLU into the buffer, or the residual, or that and a second one around it, into `out`."""
    n = tl.arange(0, num_out)
    sums += tl.load(bias + n)[None, :]
    if mode == 0:
        sums = tl.where(sums > 0, sums, sums * 0.2)
        tl.store(buffer + pixel[:, None] * stride + target + n[None, :], sums.to(tl.float16), mask=is_inside[:, None])
    else:
        x = tl.load(buffer + pixel[:, None] * stride + n[None, :], mask=is_inside[:, None], other=0.0)
        sums = x.to(tl.float32) + 0.2 * sums
        if mode == 2:
            y = tl.load(second + pixel[:, None] * out_stride + n[None, :], mask=is_inside[:, None], other=0.0)
            sums = y.to(tl.float32) + 0.2 * sums
        tl.store(out + pixel[:, None] * out_stride + n[None, :], sums.to(tl.float16), mask=is_inside[:, None])


@triton.jit
def by_tap(
    buffer,
    weight,
    bias,
    second,
    out,
    height,
    width,
    num_in: tl.constexpr,
    num_out: tl.constexpr,
    target: tl.constexpr,
    stride: tl.constexpr,
    out_stride: tl.constexpr,
    mode: tl.constexpr,
    tile_width: tl.constexpr,
    depth: tl.constexpr,
    tile_height: tl.constexpr,
):
    """Grid: (width / tile_width, height / tile_height, frames), rounded up."""
    m = tl.arange(0, tile_height * tile_width)
    y = tl.program_id(1) * tile_height + m // tile_width
    x = tl.program_id(0) * tile_width + m % tile_width
    first = tl.program_id(2).to(tl.int64) * height * width
    k, n = tl.arange(0, depth), tl.arange(0, num_out)
    sums = tl.zeros((tile_height * tile_width, num_out), tl.float32)
    for tap in range(9):
        row, column = y + tap // 3 - 1, x + tap % 3 - 1
        is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        pixels = buffer + (first + row * width + column)[:, None] * stride + k[None, :]
        weights = weight + (tap * num_in + k)[:, None] * num_out + n[None, :]
        for channel in range(0, num_in, depth):
            tile = tl.load(pixels + channel, mask=is_inside[:, None], other=0.0)
            sums = tl.dot(tile, tl.load(weights + channel * num_out), sums)
    is_inside = (y < height) & (x < width)
    pixel = first + y * width + x
    _finish(sums, bias, buffer, second, out, pixel, is_inside, target, num_out, stride, out_stride, mode)


@triton.jit
def _line(buffer, first, row, column, k, channel, height, width, stride: tl.constexpr):
    is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixels = buffer + (first + row * width + column)[:, None] * stride + channel + k[None, :]
    return tl.load(pixels, mask=is_inside[:, None], other=0.0)


@triton.jit
def by_rows(
    buffer,
    weight,
    bias,
    second,
    out,
    height,
    width,
    num_in: tl.constexpr,
    num_out: tl.constexpr,
    target: tl.constexpr,
    stride: tl.constexpr,
    out_stride: tl.constexpr,
    mode: tl.constexpr,
    tile_width: tl.constexpr,
    depth: tl.constexpr,
):
    """Grid: (width / tile_width, height / 4, frames), rounded up."""
    top = tl.program_id(1) * 4
    columns = tl.program_id(0) * tile_width + tl.arange(0, tile_width)
    first = tl.program_id(2).to(tl.int64) * height * width
    k, n = tl.arange(0, depth), tl.arange(0, num_out)
    sums0 = tl.zeros((tile_width, num_out), tl.float32)
    sums1 = tl.zeros((tile_width, num_out), tl.float32)
    sums2 = tl.zeros((tile_width, num_out), tl.float32)
    sums3 = tl.zeros((tile_width, num_out), tl.float32)
    for step in range(3 * (num_in // depth)):
        tap, channel = step % 3, (step // 3) * depth
        column = columns + tap - 1
        weights = weight + (tap * num_in + channel + k)[:, None] * num_out + n[None, :]
        above = tl.load(weights)
        beside = tl.load(weights + 3 * num_in * num_out)
        below = tl.load(weights + 6 * num_in * num_out)
        tile = _line(buffer, first, top - 1, column, k, channel, height, width, stride)
        sums0 = tl.dot(tile, above, sums0)
        tile = _line(buffer, first, top, column, k, channel, height, width, stride)
        sums0 = tl.dot(tile, beside, sums0)
        sums1 = tl.dot(tile, above, sums1)
        tile = _line(buffer, first, top + 1, column, k, channel, height, width, stride)
        sums0 = tl.dot(tile, below, sums0)
        sums1 = tl.dot(tile, beside, sums1)
        sums2 = tl.dot(tile, above, sums2)
        tile = _line(buffer, first, top + 2, column, k, channel, height, width, stride)
        sums1 = tl.dot(tile, below, sums1)
        sums2 = tl.dot(tile, beside, sums2)
        sums3 = tl.dot(tile, above, sums3)
        tile = _line(buffer, first, top + 3, column, k, channel, height, width, stride)
        sums2 = tl.dot(tile, below, sums2)
        sums3 = tl.dot(tile, beside, sums3)
        tile = _line(buffer, first, top + 4, column, k, channel, height, width, stride)
        sums3 = tl.dot(tile, below, sums3)
    p, inside = first + top * width + columns, columns < width
    _finish(sums0, bias, buffer, second, out, p, inside & (top < height), target, num_out, stride, out_stride, mode)
    p, ok = p + width, inside & (top + 1 < height)
    _finish(sums1, bias, buffer, second, out, p, ok, target, num_out, stride, out_stride, mode)
    p, ok = p + width, inside & (top + 2 < height)
    _finish(sums2, bias, buffer, second, out, p, ok, target, num_out, stride, out_stride, mode)
    p, ok = p + width, inside & (top + 3 < height)
    _finish(sums3, bias, buffer, second, out, p, ok, target, num_out, stride, out_stride, mode)


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a kernel divides its work."""

    tile_width: int
    depth: int  # channels of a step
    tile_height: int = _LINES
    num_warps: int = 4
    num_stages: int = 3

    def __str__(self) -> str:
        return f"{self.tile_width}x{self.tile_height}x{self.depth}, {self.num_warps} warps, {self.num_stages} stages"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One of the five convolutions of a dense block."""

    num_in: int
    num_out: int
    mode: int

    @property
    def target(self) -> int:
        """Where in the buffer its channels begin, if it grows it."""
        return self.num_in if self.mode == _GROWS else 0

    def flops(self, num_pixels: int) -> int:
        """A multiply-add counted as two."""
        return 2 * 9 * self.num_in * self.num_out * num_pixels

    def __str__(self) -> str:
        return f"{self.num_in}->{self.num_out}"


LAYERS = (
    *(Layer(num_in=NUM_FEATURES + i * GROWTH_CHANNELS, num_out=GROWTH_CHANNELS, mode=_GROWS) for i in range(4)),
    Layer(num_in=NUM_CHANNELS, num_out=NUM_FEATURES, mode=_ADDS),
)
KERNELS: dict[str, tuple[Any, tuple[Tiles, ...]]] = {
    "by_tap": (
        by_tap,
        (
            Tiles(tile_width=32, depth=32),
            Tiles(tile_width=64, depth=32, tile_height=2, num_stages=4),
            Tiles(tile_width=32, depth=32, tile_height=8, num_warps=8),
        ),
    ),
    "by_rows": (
        by_rows,
        (
            Tiles(tile_width=64, depth=32),
            Tiles(tile_width=64, depth=32, num_stages=2),
            Tiles(tile_width=128, depth=32, num_warps=8, num_stages=2),
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A dense block's weights and its pictures, of random values.

    `weights[i]` is (3, 3, in, out) fp16, `biases[i]` fp32; `buffer` (N, H, W, 192) fp16 holds the input in its first
    64 channels and NaN elsewhere; `second` (N, H, W, 64) is what the last block of an RRDB is added to; `out` alike.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    buffer: Tensor
    second: Tensor
    out: Tensor

    @classmethod
    def random(cls, num_frames: int, height: int, width: int, device: torch.device) -> Block:
        generator = torch.Generator().manual_seed(1)

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        nan = torch.full((num_frames, height, width, NUM_CHANNELS), torch.nan, dtype=torch.float16, device=device)
        nan[..., :NUM_FEATURES] = noise(num_frames, height, width, NUM_FEATURES).to(device)
        return cls(
            weights=[
                (noise(3, 3, layer.num_in, layer.num_out) / (9 * layer.num_in) ** 0.5).half().to(device)
                for layer in LAYERS
            ],
            biases=[(0.1 * noise(layer.num_out)).to(device) for layer in LAYERS],
            buffer=nan,
            second=noise(num_frames, height, width, NUM_FEATURES).half().to(device),
            out=torch.full_like(nan[..., :NUM_FEATURES], torch.nan, memory_format=torch.contiguous_format),
        )

    def run(self, number: int, kernel: Any, tiles: Tiles, *, twice: bool = False) -> Any:
        """One layer; its result lies in the buffer, or of the last one in `out`. Args: twice: add `second` as well."""
        layer = LAYERS[number]
        num_frames, height, width, stride = self.buffer.shape
        only_by_tap = {"tile_height": tiles.tile_height} if kernel is by_tap else {}
        grid = (triton.cdiv(width, tiles.tile_width), triton.cdiv(height, tiles.tile_height), num_frames)
        return kernel[grid](
            self.buffer,
            self.weights[number],
            self.biases[number],
            self.second,
            self.out,
            height,
            width,
            num_in=layer.num_in,
            num_out=layer.num_out,
            target=layer.target,
            stride=stride,
            out_stride=NUM_FEATURES,
            mode=_ADDS_TWICE if layer.mode == _ADDS and twice else layer.mode,
            tile_width=tiles.tile_width,
            depth=tiles.depth,
            num_warps=tiles.num_warps,
            num_stages=tiles.num_stages,
            **only_by_tap,
        )

    def expected(self, number: int, *, twice: bool = False) -> Tensor:
        """What `run` should give, by plain PyTorch in fp32 on the CPU: (N, H, W, channels)."""
        layer = LAYERS[number]
        pixels = self.buffer.cpu().float()
        x = pixels[..., : layer.num_in].permute(0, 3, 1, 2)
        weight = self.weights[number].cpu().float().permute(3, 2, 0, 1)
        sums = F.conv2d(x, weight, self.biases[number].cpu(), padding=1).permute(0, 2, 3, 1)
        if layer.mode == _GROWS:
            return F.leaky_relu(sums, NEGATIVE_SLOPE)
        sums = pixels[..., :NUM_FEATURES] + RESIDUAL_WEIGHT * sums
        return self.second.cpu().float() + RESIDUAL_WEIGHT * sums if twice else sums

    def result(self, number: int) -> Tensor:
        """What `run` gave, in fp32 on the CPU."""
        layer = LAYERS[number]
        if layer.mode != _GROWS:
            return self.out.cpu().float()
        return self.buffer[..., layer.target : layer.target + layer.num_out].cpu().float()


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One comparison with plain PyTorch."""

    what: str
    relative_error: float  # root of the mean square of the difference, over that of the result

    def __str__(self) -> str:
        return f"{self.what}: relative error {self.relative_error:.1e}"


def check(device: torch.device) -> Iterator[Checked]:
    """All layers of a block one after another, at sizes that no tile divides.

    Raises:
        ArithmeticError: a result is not what plain PyTorch gives for the same input.
    """
    tiles, last = Tiles(tile_width=16, depth=32), len(LAYERS) - 1
    for name, (kernel, _) in KERNELS.items():
        for shape in ((1, 7, 18), (2, 9, 33)):
            block, errors = Block.random(*shape, device), []
            for number, twice in [*((number, False) for number in range(len(LAYERS))), (last, True)]:
                expected = block.expected(number, twice=twice)
                block.run(number, kernel, tiles, twice=twice)
                errors.append(_relative_error(block.result(number), expected))
            # What is no number is greater than all others here.
            worst = max(errors, key=lambda error: error if error == error else math.inf)
            yield _passed(Checked(what=f"{name}, {shape[0]} frames of {shape[2]}x{shape[1]}", relative_error=worst))


def _relative_error(result: Tensor, expected: Tensor) -> float:
    """Not finite where the result is not."""
    return float((result - expected).norm() / expected.norm())


def _passed(checked: Checked) -> Checked:
    if not checked.relative_error < _MOST_RELATIVE_ERROR:  # also what is no number
        raise ArithmeticError(f"{checked}; at most {_MOST_RELATIVE_ERROR:.0e} was expected")
    return checked


@dataclass(frozen=True, kw_only=True)
class LayerSpeed:
    """TFLOP/s of one layer by each kernel, None where it failed; and by which tiles, or why."""

    layer: str
    tflops: dict[str, float | None]
    by: dict[str, str]

    def __str__(self) -> str:
        rates = (
            f"{name} " + ("failed" if rate is None else f"{rate:.0f} TFLOP/s") for name, rate in self.tflops.items()
        )
        return f"{self.layer}: {', '.join(rates)}; {self.by}"


def measure_layer(number: int, device: torch.device, seconds: float, size: tuple[int, int] = (1280, 720)) -> LayerSpeed:
    """A layer by cuDNN, without bias and activation, and by each kernel with its best tiles.

    Args:
        seconds: that one of them is measured, about.
        size: width and height of the one frame; multiples of 16.

    Raises:
        ArithmeticError: a kernel's result is wrong.
    """
    width, height = size
    layer, block = LAYERS[number], Block.random(1, height, width, device)
    block.buffer.normal_()  # constants would take less power, and so be faster
    small = Block.random(1, 48, 160, device)
    small.buffer.normal_()
    flops = layer.flops(width * height)
    x = block.buffer[..., : layer.num_in].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    weight = block.weights[number].permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    alone = median_seconds(lambda: F.conv2d(x, weight, padding=1), device, seconds)
    tflops: dict[str, float | None] = {"cuDNN": flops / alone / 1e12}
    by: dict[str, str] = {}
    expected = small.expected(number)
    for name, (kernel, choices) in KERNELS.items():
        tflops[name] = None
        for tiles in choices:
            try:
                made = small.run(number, kernel, tiles)
                _passed(
                    Checked(what=f"{name}, {tiles}", relative_error=_relative_error(small.result(number), expected))
                )
                alone = median_seconds(partial(block.run, number, kernel, tiles), device, seconds)
            except (RuntimeError, triton.TritonError) as error:  # tiles that this GPU has not the memory for
                by.setdefault(name, f"{type(error).__name__}: {str(error)[:80]}")
                continue
            rate = flops / alone / 1e12
            if rate > (tflops[name] or 0):
                spills = getattr(made, "n_spills", None)
                tflops[name], by[name] = rate, f"{tiles}" + (f", {spills} spills" if spills else "")
    return LayerSpeed(layer=str(layer), tflops=tflops, by=by)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("check", "speed"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=0.2, help="that one kernel is measured, about")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each result")
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = True
    results: Iterator[Checked | LayerSpeed]
    if given.what == "check":
        results = check(device)
    else:
        speeds = (measure_layer(number, device, given.seconds) for number in range(len(LAYERS)))
        results = iter(speeds)
    for result in results:
        print(json.dumps(asdict(result)) if given.json else result, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
