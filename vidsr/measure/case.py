"""Measuring one case: the network alone and a whole run in turn, then the network's result against fp32."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidsr.engines.gate import closeness
from vidsr.errors import SourceError
from vidsr.events import Event, Progress
from vidsr.inference.upscaler import Upscaler
from vidsr.measure.clip import write_clip
from vidsr.measure.figures import (
    STAGES,
    Case,
    Figures,
    MemoryFigures,
    NetworkFigures,
    Peak,
    RunFigures,
    Spread,
)
from vidsr.measure.peak import (
    describe,
    exact_arithmetic,
    multiply_peak,
    peak_resident_bytes,
    resident_bytes,
    synchronize,
)
from vidsr.measure.scene import Scene, random_picture
from vidsr.models.loading import load_network
from vidsr.pipeline.stage import StageTimes
from vidsr.run.frame_worker import batch_size
from vidsr.run.prepare import Prepared, prepare, read
from vidsr.run.source_picture import on_host, to_rgb
from vidsr.run.upscale import Run

_CALLS_SHARE, _FRAMES_SHARE = 0.15, 0.7  # of a round's time: network calls on each of two pictures, and the run
_MOST_CALLS, _MOST_FRAMES, _FEWEST_FRAMES = 30, 300, 3
_SLOW_SECONDS = 2.0
_MOST_PIXELS = 400_000_000  # of a clip, as drawing it takes time too
# The part of a picture that is compared: odd sides, as they are the harder ones, and few, as fp32 may be slow.
_COMPARED_WIDTH, _COMPARED_HEIGHT = 161, 97


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One turn of everything; what is compared lies close together in time."""

    peak: Peak | None
    picture_seconds: float  # of one network call
    random_seconds: float
    run_times: StageTimes
    fixed_seconds: float  # of the run, before and after these
    memory: MemoryFigures


def measure(case: Case, folder: Path) -> Figures:
    """Measure a case in this process; for its memory to be its own, in one that has done nothing else.

    Args:
        folder: where files may be written.

    Raises:
        VidsrError: whatever keeps the case from running.
    """
    upscaler = Upscaler(case.options)
    start_bytes = resident_bytes()
    source = case.clip or write_clip(folder / "one.mov", *(case.size or (0, 0)), num_frames=1)
    prepared = prepare(source, folder / "none.mkv", case.options)
    batch = batch_size(prepared, upscaler)
    picture = _first_picture(case, prepared)
    height, width = picture.shape[-2:]
    pictures = [x.to(upscaler.device) for x in (picture, _as_rgb(random_picture(width, height)))]
    batches = [x.repeat(batch, 1, 1, 1) for x in pictures]
    num_calls, num_frames = _plan(case, upscaler, prepared, batches[0])
    if case.clip is None:
        source = write_clip(folder / "clip.mov", width, height, num_frames)
    options = case.options if case.clip is None else replace(case.options, stop=num_frames)
    rounds = [
        _round(upscaler, prepare(source, folder / f"out{number}.mkv", options), batches, num_calls)
        for number in range(case.num_rounds)
    ]
    network = _network_figures(upscaler, rounds, batch, width * height, pictures) if upscaler.is_network else None
    return Figures(
        model=upscaler.model.name,
        engine=upscaler.engine_info.engine,
        precision=upscaler.engine_info.precision,
        device=str(upscaler.device),
        machine=describe(upscaler.device),
        size=(width, height),
        target_size=(prepared.picture.width, prepared.picture.height),
        batch=batch,
        num_rounds=case.num_rounds,
        network=network,
        run=_run_figures(rounds, num_frames, batch if upscaler.is_network else None),
        memory=replace(rounds[0].memory, start_bytes=start_bytes),  # what is measured beside runs takes its own later
    )


def _first_picture(case: Case, prepared: Prepared) -> Tensor:
    """(1, 3, H, W) in [0, 1]: as drawn, or the clip's first frame."""
    if case.clip is None:
        picture = prepared.source.video.picture
        return _as_rgb(Scene(picture.width, picture.height).frame(0))
    frame = next(read(prepared, prepared.window, lambda text: None), None)
    if frame is None:
        raise SourceError(f"{case.clip}: not one frame can be decoded; choose another clip")
    return to_rgb(on_host(frame.planes), prepared.source.video.picture, prepared.orientation)


def _as_rgb(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.moveaxis(picture, 2, 0)[None].astype(np.float32) / 255)


def _plan(case: Case, upscaler: Upscaler, prepared: Prepared, x: Tensor) -> tuple[int, int]:
    """(network calls on each picture, frames of the run) in a round, after warming up."""
    batch, _, height, width = x.shape
    size, seconds = (prepared.picture.width, prepared.picture.height), 0.0
    for _ in range(2):
        began = time.perf_counter()
        upscaler.upscale_tensor(x, size)
        synchronize(upscaler.device)
        seconds = time.perf_counter() - began
        if seconds > _SLOW_SECONDS:  # what only the first call does is little of that
            break
    calls = case.seconds / case.num_rounds / max(seconds, 1e-6)
    num_calls = min(max(round(_CALLS_SHARE * calls), 1), _MOST_CALLS)
    num_frames = min(round(_FRAMES_SHARE * calls * batch), _MOST_FRAMES, _MOST_PIXELS // (height * width))
    num_frames = max(num_frames, _FEWEST_FRAMES * batch)
    return num_calls, num_frames if case.clip is None else min(num_frames, prepared.plan.num_frames_expected)


def _seconds_per_call(upscaler: Upscaler, x: Tensor, num_calls: int) -> float:
    with torch.inference_mode():
        synchronize(upscaler.device)
        began = time.perf_counter()
        for _ in range(num_calls):
            upscaler.run_network(x)
        synchronize(upscaler.device)
    return (time.perf_counter() - began) / num_calls


def _round(upscaler: Upscaler, prepared: Prepared, batches: Sequence[Tensor], num_calls: int) -> _Round:
    held_bytes: list[int] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Progress) and (held := resident_bytes()) is not None:
            held_bytes.append(held)

    began = time.perf_counter()
    times = Run(prepared, on_event, upscaler=upscaler).execute().stage_times
    fixed_seconds = time.perf_counter() - began - times.seconds
    memory = _memory(upscaler.device, held_bytes)
    _seconds_per_call(upscaler, batches[0], 1)  # the first after a run is 20 % slower on the CPU
    picture_seconds, random_seconds = (_seconds_per_call(upscaler, x, num_calls) for x in batches)
    return _Round(
        peak=multiply_peak(upscaler.device, upscaler.engine_info.precision) if upscaler.is_network else None,
        picture_seconds=picture_seconds,
        random_seconds=random_seconds,
        run_times=times,
        fixed_seconds=fixed_seconds,
        memory=memory,
    )


def _memory(device: torch.device, held_bytes: Sequence[int]) -> MemoryFigures:
    second_half, peak_bytes = held_bytes[len(held_bytes) // 2 :], peak_resident_bytes()
    return MemoryFigures(
        start_bytes=None,
        steady_bytes=int(statistics.median(second_half)) if second_half else None,
        # Linux counts what is held more lazily than what was held at most, and may tell more of the first.
        peak_bytes=None if peak_bytes is None else max([peak_bytes, *held_bytes]),
        gpu_peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    )


def _network_figures(
    upscaler: Upscaler, rounds: Sequence[_Round], batch: int, num_pixels: int, pictures: Sequence[Tensor]
) -> NetworkFigures:
    peaks = [one.peak for one in rounds if one.peak is not None]
    flops_per_pixel = upscaler.engine_info.flops_per_pixel
    gflops = [(flops_per_pixel or 0) * num_pixels * batch / one.picture_seconds / 1e9 for one in rounds]
    of_peak = [rate / peak.gflops for rate, peak in zip(gflops, peaks, strict=True)]
    psnr_db, max_levels = _compare(upscaler, pictures)
    return NetworkFigures(
        fps=Spread.of(batch / one.picture_seconds for one in rounds),
        random_fps=Spread.of(batch / one.random_seconds for one in rounds),
        gflops=Spread.of(gflops) if flops_per_pixel else None,
        of_peak=Spread.of(of_peak) if flops_per_pixel else None,
        peak=max(peaks, key=lambda peak: peak.gflops),
        peak_gflops=Spread.of(peak.gflops for peak in peaks),
        psnr_db=psnr_db,
        max_levels=max_levels,
    )


def _compare(upscaler: Upscaler, pictures: Sequence[Tensor]) -> tuple[float | None, float]:
    """(PSNR, None if equal; greatest difference in levels of 255) against the plain network in fp32."""
    assert upscaler.model.path is not None
    reference = load_network(upscaler.model.path).to(upscaler.device)
    found = []
    for picture in pictures:
        x = picture[..., :_COMPARED_HEIGHT, :_COMPARED_WIDTH].contiguous()
        with torch.inference_mode():
            result = upscaler.run_network(x)
            with exact_arithmetic():
                found.append(closeness(result, reference(x)))
    psnr_db = min(one.psnr_db for one in found)
    return (psnr_db if math.isfinite(psnr_db) else None), max(one.max_levels for one in found)


def _run_figures(rounds: Sequence[_Round], num_frames: int, batch: int | None) -> RunFigures:
    """Args: batch: frames per network call; None without a network."""
    times = StageTimes.total(one.run_times for one in rounds)
    convert = times.compute_busy_seconds - times.network_busy_seconds
    busy_seconds = (
        times.source_busy_seconds,
        times.copy_in_busy_seconds,
        convert,
        times.network_busy_seconds,
        times.copy_out_busy_seconds,
        times.sink_busy_seconds,
    )
    fps = [num_frames / one.run_times.seconds for one in rounds]
    network_fps = [batch / one.picture_seconds for one in rounds] if batch is not None else []
    return RunFigures(
        num_frames=num_frames,
        fps=Spread.of(fps),
        of_network=Spread.of(a / b for a, b in zip(fps, network_fps, strict=True)) if network_fps else None,
        fixed_seconds=statistics.median(one.fixed_seconds for one in rounds),
        busy={stage: seconds / times.seconds for stage, seconds in zip(STAGES, busy_seconds, strict=True)},
    )
