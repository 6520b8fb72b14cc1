"""What all parts share: the device, the cases, the time that is left, and what one part tells the next."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from gpu_parts.cases import Case, make_clip, random_network, real_frame
from gpu_parts.timing import median_seconds
from vidsr import UpscaleOptions
from vidsr.devices.names import device_name, settle
from vidsr.engines.table import ENGINES, RunPrecision
from vidsr.inference.upscaler import Upscaler
from vidsr.models.loading import save_safetensors
from vidsr.models.network import Network
from vidsr.run.frame_worker import batch_size
from vidsr.run.prepare import Prepared, prepare

_MOST_FRAMES = 900  # of a whole run; drawing and encoding its clip takes some 100 to 200 frames a second
_FEWEST_FRAMES = 12
_CARDS_WITH_GOALS = ("H100", "H200")


@dataclass(kw_only=True)
class Bench:
    """One call of the benchmark.

    Args:
        seconds: that one measurement takes, about.
        num_frames: of whole runs; None: as many as the network alone does in `seconds`.
        ends_at: by `time.monotonic`.
        folder: for files of no further use.
        out: of the report, for what is to be read beside it.
        is_tiny: only to try the script.
    """

    device: torch.device
    cases: tuple[Case, ...]
    seconds: float
    num_frames: int | None
    ends_at: float
    folder: Path
    out: Path
    is_tiny: bool = False
    product_tflops: float | None = None  # what `ceilings` found
    network_fps: dict[tuple[str, str], float] = field(default_factory=dict)  # by case and engine, of `network`
    _batches: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle(self.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        # As in whole runs, whose batches have one shape.
        torch.backends.cudnn.benchmark = True

    @property
    def precision(self) -> RunPrecision:
        return "fp16" if self.device.type == "cuda" else "fp32"

    @property
    def seconds_left(self) -> float:
        return self.ends_at - time.monotonic()

    @property
    def has_goals(self) -> bool:
        """Whether this is a card whose speeds are asked for."""
        return self.device.type == "cuda" and any(card in device_name(self.device) for card in _CARDS_WITH_GOALS)

    def engines(self, network: Network) -> list[str]:
        """Those that run on CUDA, as far as they run here too; `compiled` is measured at a fixed shape instead."""
        return [
            row.name
            for row in ENGINES
            if "cuda" in row.precisions
            and row.name != "compiled"
            and row.why_not(network, self.device, self.precision) is None
        ]

    def options(self, case: Case, engine: str = "torch") -> UpscaleOptions:
        """Of a run with the fastest encoder settings that there are."""
        weights = self.folder / f"{case.name}.safetensors"
        if not weights.exists():
            save_safetensors(random_network(case), weights)
        return UpscaleOptions(
            model=str(weights),
            device=str(self.device),
            engine=engine,
            scale=Fraction(2),
            preset="ultrafast",
            crf=30,
        )

    def prepare(self, case: Case, options: UpscaleOptions, num_frames: int) -> Prepared:
        """A run of a clip of so many frames."""
        clip = self.folder / f"{case.name}-{num_frames}.mkv"
        if not clip.exists():
            make_clip(clip, case.size, num_frames)
        return prepare(clip, self.folder / "out.mp4", options, overwrite=True)

    def batch(self, case: Case) -> int:
        """Frames per network call in whole runs."""
        if case.name not in self._batches:
            options = self.options(case)
            self._batches[case.name] = batch_size(self.prepare(case, options, 2), Upscaler(options))
        return self._batches[case.name]

    def still(self, case: Case) -> Tensor:
        """float32 (N, 3, H, W) in [0, 1] on the device: a batch of a real picture in the case's size."""
        width, height = case.size
        picture = torch.nn.functional.interpolate(real_frame(), size=(height, width), mode="bilinear")
        return picture.to(self.device).repeat(self.batch(case), 1, 1, 1)

    def fps_alone(self, case: Case, engine: str, upscaler: Upscaler) -> float:
        """Of the network alone: as it was measured, or else measured shortly."""
        key = case.name, engine
        if key not in self.network_fps:
            still = self.still(case)
            seconds = median_seconds(lambda: upscaler.run_network(still), self.device, self.seconds / 5)
            self.network_fps[key] = len(still) / seconds
        return self.network_fps[key]

    def frames_of_run(self, case: Case) -> int:
        """How many frames a whole run has: the same for all engines, by the fastest that is known."""
        if self.num_frames is not None:
            return self.num_frames
        return min(max(round(self.seconds * self.known_fps(case)), _FEWEST_FRAMES), _MOST_FRAMES)

    def known_fps(self, case: Case) -> float:
        """Of the network alone, by the fastest engine that was measured; 0: none was."""
        return max((fps for (name, _), fps in self.network_fps.items() if name == case.name), default=0.0)

    def release(self) -> None:
        """Give back what a step has left, so that the next one's memory is its own."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
