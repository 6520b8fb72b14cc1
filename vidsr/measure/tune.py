"""Measuring what engines do on this machine, so that `auto` takes the fastest of those that are right."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vidsr.devices.granted import num_processors
from vidsr.devices.memory import memory_errors
from vidsr.devices.names import settle
from vidsr.engines.base import Engine
from vidsr.engines.choice import ChosenEngine, choose_engine
from vidsr.engines.gate import closeness
from vidsr.engines.measured import Measurement, measured_key, remember_measured
from vidsr.engines.table import ENGINES, EngineRow, RunPrecision
from vidsr.errors import UsageError, VidsrError
from vidsr.measure.peak import exact_arithmetic, synchronize
from vidsr.measure.scene import Scene
from vidsr.models import weights_store
from vidsr.models.catalogue import CATALOGUE, ModelEntry, find_model
from vidsr.models.loading import load_network
from vidsr.models.network import Network

# (width, height) of the network's input, the largest first; the largest that fits into the time is measured.
SIZES = {"cpu": ((640, 360), (320, 180), (160, 90)), "cuda": ((1280, 720), (640, 360), (320, 180))}
# (height, width) that no layer likes, two frames: what is right at even sizes may be wrong here.
_ODD_SIDES = (45, 61)
_MIN_CALLS, _MAX_CALLS = 2, 9
_MOST_PSNR_DB = 200.0  # JSON has no infinity

OnMeasured = Callable[[str, Measurement], None]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What was measured for one network, and what `auto` takes for it from now on."""

    model: str
    precision: RunPrecision
    measurements: tuple[Measurement, ...]
    chosen: ChosenEngine


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    row: EngineRow
    num_threads: int | None


def networks_here() -> dict[str, Network]:
    """The networks of the catalogue whose weights are on this machine, by name, the lightest first."""
    located = {entry.name: weights_store.locate(entry) for entry in CATALOGUE if entry.kind == "network"}
    networks = {name: load_network(weights.path) for name, weights in located.items() if weights is not None}
    return dict(sorted(networks.items(), key=lambda item: item[1].flops_per_input_pixel or 0))


def network_of(name: str) -> Network:
    """The network of a model's name or a checkpoint's path.

    Raises:
        UsageError: no such model, or it is no network. WeightsError, DownloadError.
    """
    found = find_model(name)
    if isinstance(found, ModelEntry):
        if found.kind == "classical":
            raise UsageError(f"{name} is no network: there is nothing to tune")
        return load_network(weights_store.obtain(found))
    return load_network(found)


def tune(
    name: str,
    network: Network,
    device: torch.device,
    precision: RunPrecision,
    seconds: float,
    on_measured: OnMeasured = lambda name, measurement: None,
) -> Tuned:
    """Measure every engine that can run a network, with several numbers of threads, and keep the result.

    Args:
        name: what to call the network.
        seconds: about how long it may take; at least two frames of the smallest size by each engine are computed.
        on_measured: told of each measurement as it is made.

    Raises:
        DeviceMemoryError: plain PyTorch has not the memory for one small frame.
    """
    num_threads = torch.get_num_threads()
    settle(device)
    try:
        measurements = tuple(_measure_all(name, network, device, precision, seconds, on_measured))
    finally:
        torch.set_num_threads(num_threads)
    remember_measured(measured_key(network, device, precision), measurements)
    chosen = choose_engine("auto", network, device, precision, measurements)
    return Tuned(model=name, precision=precision, measurements=measurements, chosen=chosen)


def _measure_all(
    name: str,
    network: Network,
    device: torch.device,
    precision: RunPrecision,
    seconds: float,
    on_measured: OnMeasured,
) -> Iterator[Measurement]:
    end = time.perf_counter() + seconds
    candidates = list(_candidates(network, device, precision))
    reference = _Reference(network, device)
    width, height = _size_for(reference, seconds, len(candidates))
    odd = _picture(*_ODD_SIDES).repeat(2, 1, 1, 1)
    frames = [_picture(height, width).to(device), odd.to(device)]
    expected = [reference.run(frame).cpu() for frame in frames]
    for index, candidate in enumerate(candidates):
        share = (end - time.perf_counter()) / (len(candidates) - index)
        measurement = _measure(candidate, network, device, precision, frames, expected, share)
        on_measured(name, measurement)
        yield measurement


def _candidates(network: Network, device: torch.device, precision: RunPrecision) -> Iterator[_Candidate]:
    for row in ENGINES:
        if not row.by_name_only and row.why_not(network, device, precision) is None:
            counts = thread_counts() if device.type == "cpu" and row.uses_threads else [None]
            yield from (_Candidate(row=row, num_threads=count) for count in counts)


def thread_counts() -> list[int]:
    """What to try: all processors, and half of them, as two may share a core."""
    num = num_processors()
    return sorted({num, max(num // 2, 1)}, reverse=True)


def _size_for(reference: _Reference, seconds: float, num_candidates: int) -> tuple[int, int]:
    sizes = SIZES[reference.device.type]
    width, height = sizes[-1]
    frame = _picture(height, width).to(reference.device)
    reference.run(frame)
    per_pixel = _seconds(reference, frame) / (width * height)
    num_calls = 1 + (1 + _MIN_CALLS) * num_candidates
    fitting = [size for size in sizes if per_pixel * size[0] * size[1] * num_calls <= seconds]
    return fitting[0] if fitting else sizes[-1]


def _measure(
    candidate: _Candidate,
    network: Network,
    device: torch.device,
    precision: RunPrecision,
    frames: Sequence[Tensor],
    expected: Sequence[Tensor],
    seconds: float,
) -> Measurement:
    height, width = frames[0].shape[-2:]
    describe = partial(
        Measurement,
        engine=candidate.row.name,
        version=candidate.row.version(),
        num_threads=candidate.num_threads,
        width=width,
        height=height,
    )
    began = time.perf_counter()
    try:
        # A copy: an engine may change what it is given.
        engine = candidate.row.open(copy.deepcopy(network), device, precision, num_threads=candidate.num_threads)
        found = [closeness(engine.run(x), y) for x, y in zip(frames, expected, strict=True)]
        if device.type == "cuda":
            engine.run(frames[0])  # the second call of a shape still records what later ones replay
        calls: list[float] = []
        while len(calls) < _MIN_CALLS or (len(calls) < _MAX_CALLS and time.perf_counter() - began < seconds):
            calls.append(_seconds(engine, frames[0]))
    except (VidsrError, RuntimeError, MemoryError) as error:
        # One engine that fails must not keep the others from being measured; it is never chosen, and it is shown.
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return describe(frames_per_second=0.0, psnr_db=0.0, share_off=1.0, max_levels=255.0, error=text)
    return describe(
        frames_per_second=1 / statistics.median(calls),
        psnr_db=min(_MOST_PSNR_DB, *(one.psnr_db for one in found)),
        share_off=max(one.share_off for one in found),
        max_levels=max(one.max_levels for one in found),
    )


def _seconds(engine: Engine | _Reference, x: Tensor) -> float:
    began = time.perf_counter()
    engine.run(x)
    synchronize(x.device)
    return time.perf_counter() - began


class _Reference:
    """The plain network in fp32, which is right by definition."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self.device = device
        self._network = copy.deepcopy(network).to(device)

    def run(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        with memory_errors(self.device, f"a frame of {width}x{height}"), torch.inference_mode(), exact_arithmetic():
            out: Tensor = self._network(x.contiguous(memory_format=torch.channels_last))
            return out


def _picture(height: int, width: int) -> Tensor:
    """float32 (1, 3, height, width) in [0, 1]: edges, texture, fine lines and grain, and never zeros."""
    codes = torch.from_numpy(Scene(width, height).frame(0))
    return (codes.permute(2, 0, 1)[None].to(torch.float32) / 255).contiguous()
