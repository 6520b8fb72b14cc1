"""Whole runs: once as they are, and once with the results thrown away, so that the encoder is no wall."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from gpu_parts.bench import Bench
from gpu_parts.cases import Case
from gpu_parts.steps import Figures, Part, Step
from vidsr.events import Event, Finished, Progress
from vidsr.inference.upscaler import Upscaler
from vidsr.measure.tables import number_text, table
from vidsr.pipeline.plan import MAX_SEGMENT_FRAMES
from vidsr.pipeline.stage import StageTimes, run_stages
from vidsr.run.batch import HostBatch
from vidsr.run.frame_worker import QUEUE_BATCHES, batch_size, open_worker
from vidsr.run.prepare import Prepared, read
from vidsr.run.repeated_frames import distinct_batches
from vidsr.run.upscale import Run

LEAST_OF_NETWORK = 0.9  # of the speed of the network alone, unless another stage is the wall
_IS_THE_WALL = 0.9  # busy for this share of the time
_WARM_UP_FRAMES = 8

Marks = list[tuple[float, int]]  # seconds since a run began, and the frames that were done then


class UncheckedRun(Run):
    """A run whose result is not held against its source: what random weights make is no likeness."""

    def _check(self) -> None:
        pass


def steps(bench: Bench) -> Iterator[Step]:
    for case in bench.cases:
        for engine in bench.engines(case.make()):
            yield Step(
                name=f"{case.name} by {engine}",
                needs_seconds=3 * bench.seconds + 8 + bench.frames_of_run(case) / 60,
                measure=partial(measure, bench, case, engine),
                one_of=case.name,
            )
        if bench.device.type == "cuda" and torch.cuda.device_count() > 1:
            yield Step(
                name=f"{case.name} on all GPUs",
                # Segments are what devices share out: one for each, of the greatest length.
                needs_seconds=MAX_SEGMENT_FRAMES / max(bench.known_fps(case), 1.0) + 8,
                measure=partial(measure_all_gpus, bench, case),
            )


def measure(bench: Bench, case: Case, engine: str) -> Figures:
    """Both runs; `met` where without an encoder nothing but the network, or the decoder, holds them up."""
    options = bench.options(case, engine)
    upscaler = Upscaler(options)
    fps_alone = bench.fps_alone(case, engine, upscaler)
    num_frames = bench.frames_of_run(case)
    prepared = bench.prepare(case, options, num_frames)
    thrown_away(bench.prepare(case, options, min(_WARM_UP_FRAMES, num_frames)), upscaler)
    without = thrown_away(prepared, upscaler)
    encoded = run(prepared, upscaler)
    for one in (without, encoded):
        one["of_network"] = one["steady_fps"] / fps_alone
    decoder_is_the_wall = without["busy"]["decode"] >= _IS_THE_WALL
    return {
        "case": case.name,
        "engine": engine,
        "size": case.size_text,
        "network_fps": fps_alone,
        "encoded": encoded,
        "thrown_away": without,
        "met": (without["of_network"] >= LEAST_OF_NETWORK or decoder_is_the_wall) if bench.has_goals else None,
    }


def measure_all_gpus(bench: Bench, case: Case) -> Figures:
    options = replace(bench.options(case), device="cuda:all")
    prepared = bench.prepare(case, options, MAX_SEGMENT_FRAMES * torch.cuda.device_count())
    upscaler = Upscaler(options)
    encoded = run(prepared, upscaler)
    num_gpus = torch.cuda.device_count()
    return {"case": case.name, "engine": f"torch, {num_gpus} GPUs", "size": case.size_text, "encoded": encoded}


def run(prepared: Prepared, upscaler: Upscaler) -> Figures:
    """As a user has it, but for the check of the result."""
    marks: Marks = []
    num_recomputed = 0

    def on_event(event: Event) -> None:
        nonlocal num_recomputed
        if isinstance(event, Progress):
            marks.append((event.seconds_elapsed, event.num_frames_done))
        elif isinstance(event, Finished):
            num_recomputed = event.num_recomputed

    result = UncheckedRun(prepared, on_event, upscaler=upscaler, restart=True).execute()
    return {**_figures(result.stage_times, result.num_frames, marks), "recomputed": num_recomputed}


def thrown_away(prepared: Prepared, upscaler: Upscaler) -> Figures:
    """The same stages, batches and borders of segments, and nothing is done with what comes out."""
    worker = open_worker(prepared, upscaler, batch_size(prepared, upscaler))
    borders = [segment.start for segment in prepared.plan.segments[1:] if segment.start is not None]
    marks: Marks = []
    began = time.perf_counter()

    def source() -> Iterator[HostBatch]:
        frames = read(prepared, prepared.window, lambda text: None)
        yield from distinct_batches(frames, worker.free_inputs, borders)

    def sink(batches: Iterator[HostBatch]) -> None:
        num_frames = 0
        for batch in batches:
            num_frames += batch.num_shown
            worker.free_outputs.put(batch)
            marks.append((time.perf_counter() - began, num_frames))

    rings = (worker.free_inputs, worker.free_outputs)
    times = worker.with_device_times(run_stages(source, worker.run, sink, capacity=QUEUE_BATCHES, rings=rings))
    return {**_figures(times, marks[-1][1], marks), "recomputed": worker.tally.num_recomputed}


def _figures(times: StageTimes, num_frames: int, marks: Marks) -> Figures:
    busy = {
        "decode": times.source_busy_seconds,
        "work": times.work_busy_seconds,
        "encode": times.sink_busy_seconds,
        "copy in": times.copy_in_busy_seconds,
        "compute": times.compute_busy_seconds,
        "network": times.network_busy_seconds,
        "copy out": times.copy_out_busy_seconds,
    }
    return {
        "frames": num_frames,
        "fps": num_frames / times.seconds,
        "steady_fps": steady_fps(marks) or num_frames / times.seconds,
        "busy": {name: seconds / times.seconds for name, seconds in busy.items()},
    }


def steady_fps(marks: Marks) -> float | None:
    """Behind the first third of the frames: what a run does once at its start counts little in a long one.

    None where there is too little to tell.
    """
    if not marks:
        return None
    (end_seconds, num_frames) = marks[-1]
    start_seconds, start_frames = next(mark for mark in marks if 3 * mark[1] >= num_frames)
    if end_seconds <= start_seconds or start_frames == num_frames:
        return None
    return (num_frames - start_frames) / (end_seconds - start_seconds)


def line(figures: Figures) -> str:
    parts = []
    for words, key in (("encoded", "encoded"), ("thrown away", "thrown_away")):
        if key in figures:
            one = figures[key]
            of_network = f", {100 * one['of_network']:.0f} % of the network alone" if "of_network" in one else ""
            busy = ", ".join(f"{stage} {100 * one['busy'][stage]:.0f} %" for stage in ("decode", "work", "encode"))
            again = f", {one['recomputed']} frames twice" if one["recomputed"] else ""
            parts.append(f"{words} {number_text(one['steady_fps'])} fps{of_network} (busy: {busy}{again})")
    return "; ".join(parts)


def text(all_figures: Sequence[Figures]) -> str:
    stages = ("decode", "work", "encode", "copy in", "compute", "network", "copy out")
    header = ("network, input", "engine", "result", "frames", "fps", "of network", "with start and end", *stages)
    rows = []
    for figures in all_figures:
        for words, key in (("encoded", "encoded"), ("thrown away", "thrown_away")):
            if key in figures:
                one = figures[key]
                rows.append(
                    (
                        f"{figures['case']}, {figures['size']}",
                        figures["engine"],
                        words,
                        str(one["frames"]),
                        number_text(one["steady_fps"]),
                        f"{100 * one['of_network']:.0f} %" if "of_network" in one else "-",
                        number_text(one["fps"]),
                        *(f"{100 * one['busy'][stage]:.0f} %" for stage in stages),
                    )
                )
    return f"{table(header, rows)}\n\nBehind `with start and end`: the share of the time in which each was busy."


PART = Part(name="runs", steps=steps, line=line, text=text)
