"""What is measured and what came of it, in words that tables, plots and JSON share."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidsr.options.upscale import UpscaleOptions

STAGES = ("decode", "copy in", "convert", "network", "copy out", "encode")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network at a size, with the options it runs with."""

    options: UpscaleOptions
    size: tuple[int, int] | None  # input width and height of the drawn clip; None where `clip` has its own
    clip: Path | None = None  # a file instead of the drawn clip
    seconds: float = 9.0  # to spend, about, beside starting up; the fewest frames that tell anything may take longer
    num_rounds: int = 3

    def __str__(self) -> str:
        where = self.clip.name if self.clip is not None else "x".join(map(str, self.size or ()))
        options = self.options
        chosen = [word for word in (options.engine, options.precision) if word != "auto"]
        to = "" if options.scale in (None, 2) else f" times {options.scale}"
        return " ".join([f"{options.model} at {where}{to} on", *chosen, options.device])


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Several measurements of one thing."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        listed = list(values)
        return cls(min=min(listed), median=statistics.median(listed), max=max(listed))


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most that a device was seen to multiply, a multiply-add counted as two."""

    gflops: float
    by: str  # which of the trials was the best


@dataclass(frozen=True, kw_only=True)
class NetworkFigures:
    """The network alone, its input on the device already."""

    fps: Spread  # on a picture
    random_fps: Spread  # on random values
    gflops: Spread | None  # by the multiplications of its definition; None where nobody has counted them
    of_peak: Spread | None  # the same over the peak, each pair taken within one round
    peak: Peak
    peak_gflops: Spread  # over the rounds: how steady the machine was
    psnr_db: float | None  # against torch in fp32, the worse of both pictures; None: equal
    max_levels: float  # the greatest difference to it, in levels of 255


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """The whole run of a clip: decode, convert, network, resize, convert, encode."""

    num_frames: int
    fps: Spread  # from the first frame decoded to the last one encoded
    of_network: Spread | None  # over the network's, each pair taken within one round
    fixed_seconds: float  # what a run takes beside that: opening, joining, checking
    busy: dict[str, float]  # share of the time in which each of STAGES was at work


@dataclass(frozen=True, kw_only=True)
class MemoryFigures:
    """Of the process, and of the GPU; None where the system does not tell."""

    start_bytes: int | None  # libraries and weights, before the first frame
    steady_bytes: int | None  # in the second half of the last run
    peak_bytes: int | None
    gpu_peak_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of a case. Rates are frames per second."""

    model: str
    engine: str
    precision: str
    device: str
    machine: dict[str, str]
    size: tuple[int, int]
    target_size: tuple[int, int]
    batch: int
    num_rounds: int
    network: NetworkFigures | None  # None for classical models
    run: RunFigures
    memory: MemoryFigures

    @property
    def where(self) -> str:
        """What computed it: engine, precision, device."""
        return f"{self.engine} {self.precision} {self.device}"


def names(all_figures: Sequence[Figures]) -> list[str]:
    """Of each the network and its input, and what else tells it from others of the same."""
    found = []
    for figures in all_figures:
        alike = [other for other in all_figures if (other.model, other.size) == (figures.model, figures.size)]
        name = f"{figures.model}, {figures.size[0]}x{figures.size[1]}"
        if len({other.target_size for other in alike}) > 1:
            name += f" to {figures.target_size[0]}x{figures.target_size[1]}"
        differing = [
            word
            for word, known in (
                (figures.engine, {other.engine for other in alike}),
                (figures.precision, {other.precision for other in alike}),
                (figures.device, {other.device for other in alike}),
            )
            if len(known) > 1
        ]
        found.append(", ".join([name, *([" ".join(differing)] if differing else [])]))
    return found
