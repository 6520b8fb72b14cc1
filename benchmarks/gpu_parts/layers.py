"""Each distinct convolution of a network alone, as the library does it: no bias, no activation, channels last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode

from gpu_parts.bench import Bench
from gpu_parts.cases import NOMINAL_TFLOPS, Case
from gpu_parts.steps import Figures, Part, Step
from gpu_parts.timing import median_seconds
from vidsr.engines.torch import TorchEngine
from vidsr.measure.tables import number_text, table
from vidsr.models.network import Network

# By the bytes that an implicit product fetches for each tap: 228 of 989 TFLOP/s, weighted over a dense block.
PREDICTED_SHARE = 0.23
_SHARE = 0.1  # of the seconds of a measurement, for each layer
_MULTIPLE = 8  # of channels, that matrix units take in half precision


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution of stride 1 over a batch; sides in pixels, those of its input."""

    in_channels: int
    out_channels: int
    kernel_px: int
    padding_px: int
    num_frames: int
    height: int
    width: int

    @property
    def flops(self) -> int:
        """A multiply-add counted as two."""
        grown = 2 * self.padding_px - self.kernel_px + 1
        num_pixels = self.num_frames * (self.height + grown) * (self.width + grown)
        return 2 * num_pixels * self.kernel_px**2 * self.in_channels * self.out_channels

    @property
    def padded(self) -> Layer:
        """With channels that are multiples of 8, the further ones zeros."""
        in_channels, out_channels = (-(-n // _MULTIPLE) * _MULTIPLE for n in (self.in_channels, self.out_channels))
        return replace(self, in_channels=in_channels, out_channels=out_channels)

    def __str__(self) -> str:
        return f"{self.in_channels}->{self.out_channels}, {self.kernel_px}x{self.kernel_px}, {self.width}x{self.height}"


class _Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the convolutions of whatever runs inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[Layer] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, _, stride, padding = args[:5]
            assert set(stride) == {1}, "a stride is not counted"
            num_frames, in_channels, height, width = x.shape
            layer = Layer(
                in_channels=in_channels,
                out_channels=weight.shape[0],
                kernel_px=weight.shape[-1],
                padding_px=padding[0],
                num_frames=num_frames,
                height=height,
                width=width,
            )
            self.found[layer] += 1
        return func(*args, **(kwargs or {}))


def layers_of(network: Network, num_frames: int, size: tuple[int, int]) -> Counter[Layer]:
    """The distinct convolutions of a network as PyTorch's engine runs it in half precision, and how often each."""
    nowhere = torch.device("meta")
    engine, convolutions = TorchEngine(network, nowhere, "fp16"), _Convolutions()
    # Not in inference mode, in which a dispatch mode sees other operations.
    with torch.no_grad(), convolutions:
        engine.compute(torch.empty((num_frames, 3, size[1], size[0]), device=nowhere))
    return convolutions.found


def seconds_of(layer: Layer, bench: Bench) -> float:
    dtype = torch.float16 if bench.precision == "fp16" else torch.float32
    generator = torch.Generator(bench.device).manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, device=bench.device, dtype=dtype)
        return values.contiguous(memory_format=torch.channels_last)

    x = noise(layer.num_frames, layer.in_channels, layer.height, layer.width)
    weight = noise(layer.out_channels, layer.in_channels, layer.kernel_px, layer.kernel_px)
    with torch.inference_mode():
        return median_seconds(
            lambda: F.conv2d(x, weight, padding=layer.padding_px), bench.device, _SHARE * bench.seconds
        )


def steps(bench: Bench) -> Iterator[Step]:
    for case in bench.cases:
        yield Step(name=case.name, needs_seconds=5 + 15 * _SHARE * bench.seconds, measure=partial(measure, bench, case))


def measure(bench: Bench, case: Case) -> Figures:
    rows, flops, seconds = [], 0.0, 0.0
    for layer, count in layers_of(case.make().eval(), bench.batch(case), case.size).items():
        alone = seconds_of(layer, bench)
        is_padded = layer.padded != layer
        rows.append(
            {
                "layer": str(layer),
                "per_call": count,
                "ms": 1000 * alone,
                "tflops": layer.flops / alone / 1e12,
                "padded": f"{layer.padded.in_channels}->{layer.padded.out_channels}" if is_padded else None,
                "padded_ms": 1000 * seconds_of(layer.padded, bench) if is_padded else None,
            }
        )
        flops, seconds = flops + count * layer.flops, seconds + count * alone
    return {
        "case": case.name,
        "num_frames": bench.batch(case),
        "rows": rows,
        "fps": bench.batch(case) / seconds,
        "tflops": flops / seconds / 1e12,
        "product_tflops": bench.product_tflops,
    }


def _share(tflops: float, product_tflops: float | None) -> str:
    return "-" if product_tflops is None else f"{100 * tflops / product_tflops:.0f} %"


def line(figures: Figures) -> str:
    tflops, of_product = figures["tflops"], _share(figures["tflops"], figures["product_tflops"])
    return (
        f"all convolutions {number_text(tflops)} TFLOP/s, {of_product} of the product, "
        f"{100 * tflops / NOMINAL_TFLOPS:.1f} % of the {NOMINAL_TFLOPS:.0f} TFLOP/s of an H100 (predicted to be the "
        f"most: {100 * PREDICTED_SHARE:.0f} %); alone they would do {number_text(figures['fps'])} fps"
    )


def text(all_figures: Sequence[Figures]) -> str:
    header = ("network", "layer", "per call", "ms", "TFLOP/s", "of product", "with channels padded")
    rows = [
        (
            figures["case"],
            row["layer"],
            str(row["per_call"]),
            f"{row['ms']:.3f}",
            number_text(row["tflops"]),
            _share(row["tflops"], figures["product_tflops"]),
            "-" if row["padded"] is None else f"{row['padded']}: {row['padded_ms']:.3f} ms",
        )
        for figures in all_figures
        for row in figures["rows"]
    ]
    return "\n\n".join([table(header, rows), *(f"{figures['case']}: {line(figures)}." for figures in all_figures)])


PART = Part(name="layers", steps=steps, line=line, text=text)
