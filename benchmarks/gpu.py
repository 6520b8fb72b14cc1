"""Everything that can only be known on a GPU, in one call: correctness, speed against the goals, where the time goes.

    python benchmarks/gpu.py --out gpu-report

Runs the tests marked `gpu`, holds fp16 against fp32 on the CPU for all weights that are on this machine, measures three
networks alone and in whole runs, and profiles a few batches. Writes report.json and report.md into the folder. The
exit code is 0 if all that was asked is met, 1 if not, 75 on a machine without a GPU. No network and no downloads are
needed: speeds are taken with random weights, which are as fast as trained ones.

    python benchmarks/gpu.py --out try --device cpu --tiny

goes the same way with a tiny network on the CPU, to try this script; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from vidsr import UpscaleOptions, Upscaler, __version__, store
from vidsr.color import planes_to_rgb
from vidsr.engines.devices import device_name
from vidsr.engines.gate import closeness
from vidsr.engines.table import RunPrecision, find_engine
from vidsr.engines.torch import TorchEngine
from vidsr.events import Finished
from vidsr.measure.machine import multiply_peak
from vidsr.media.probe import probe
from vidsr.media.reader import Window, read_frames
from vidsr.models.catalogue import CATALOGUE
from vidsr.models.compact import SRVGGNetCompact
from vidsr.models.loading import Network, load_network
from vidsr.models.rrdb import RRDBNet
from vidsr.prepare import prepare
from vidsr.segments import batch_size, open_worker
from vidsr.upscale import Run

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "examples" / "clip.mp4"
NO_GPU = 75

ENGINES = ("torch", "cuda-graphs")  # those that `auto` may take on a GPU
MIN_OF_NETWORK = 0.9  # end to end, wherever the encoder keeps up
ENCODER_IS_THE_WALL = 0.9  # busy for this share of the time
STRETCH_SECONDS = 1.0  # of network calls, timed as one


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network at one size. The goal is 40 % of an H100's 989 TFLOP/s in fp16."""

    name: str
    make: Callable[[], RRDBNet | SRVGGNetCompact]
    size: tuple[int, int]
    goal_fps: float
    num_frames: int  # of the whole run


CASES = [
    Case(name="x4plus", make=lambda: RRDBNet(scale=4), size=(1280, 720), goal_fps=12, num_frames=150),
    Case(name="x2plus", make=lambda: RRDBNet(scale=2), size=(1920, 1080), goal_fps=21, num_frames=200),
    Case(name="animevideov3", make=lambda: SRVGGNetCompact(scale=4), size=(1280, 720), goal_fps=346, num_frames=1500),
]
TINY_CASES = [
    Case(
        name="tiny",
        make=lambda: RRDBNet(scale=4, num_blocks=1, num_features=8, growth_channels=4),
        size=(64, 48),
        goal_fps=0,
        num_frames=12,
    )
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-report"))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true", help="a tiny network, and none of the tests")
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        print(f"no GPU: torch {torch.__version__} sees none; nothing was measured", file=sys.stderr)
        return NO_GPU
    report = measure_all(torch.device(arguments.device), tiny=arguments.tiny)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1))
    text = markdown(report)
    (arguments.out / "report.md").write_text(text)
    print(text)
    return 0 if report["passed"] else 1


def measure_all(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """All parts one after another; what fails is in the report and does not keep the others from being measured."""
    peak = multiply_peak(device, "fp16" if device.type == "cuda" else "fp32")
    report: dict[str, Any] = {
        "machine": {
            "device": device_name(device),
            "gpus": torch.cuda.device_count(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "python": platform.python_version(),
            "vidsr": __version__,
        },
        "peak": {"tflops": peak.gflops / 1000, "by": peak.by},
    }
    report["tests"] = None if tiny else run_gpu_tests()
    report["gate"] = [] if tiny else list(gate(device))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report["speed"] = [
            speed(case, device, folder, engine)
            for case in (TINY_CASES if tiny else CASES)
            for engine in engines_on(device, case.make())
        ]
    tests_passed = report["tests"] is None or report["tests"]["passed"]
    # Of each network one engine is enough: the one that `vidsr tune` finds.
    fast_enough = {
        row["case"]: any(r["passed"] for r in report["speed"] if r["case"] == row["case"]) for row in report["speed"]
    }
    report["passed"] = tests_passed and all(row["passed"] for row in report["gate"]) and all(fast_enough.values())
    return report


def run_gpu_tests() -> dict[str, Any]:
    """The tests marked `gpu`, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(ROOT / "tests")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"passed": done.returncode == 0, "said": done.stdout[-3000:]}


def gate(device: torch.device) -> Iterator[dict[str, Any]]:
    """fp16 here against fp32 on the CPU, on a real frame at an even and an odd size, for all weights at hand."""
    frame = real_frame()
    for entry in CATALOGUE:
        if entry.kind != "network" or store.locate(entry) is None:
            continue
        path = store.obtain(entry)
        exact = TorchEngine(load_network(path), torch.device("cpu"), "fp32")
        halves = {
            name: find_engine(name).open(load_network(path), device, "fp16")
            for name in engines_on(device, load_network(path))
        }
        for width, height in ((96, 64), (81, 57)):
            x = frame[..., :height, :width].contiguous()
            expected = exact.run(x)
            for name, half in halves.items():
                for _ in range(3):  # what is recorded is replayed from the third on
                    result = half.run(x.to(device))
                close = closeness(result, expected)
                yield {
                    "model": entry.name,
                    "engine": name,
                    "size": f"{width}x{height}",
                    "db": round(close.psnr_db, 1),
                    "levels": round(close.max_levels, 3),
                    "passed": close.passed,
                }


def engines_on(device: torch.device, network: Network) -> list[str]:
    precision: RunPrecision = "fp16" if device.type == "cuda" else "fp32"
    return [name for name in ENGINES if find_engine(name).why_not(network, device, precision) is None]


def real_frame() -> Tensor:
    """float32 (1, 3, H, W): the first frame of the example clip."""
    source = probe(CLIP)
    frame = next(read_frames(source, Window(), print))
    planes = [torch.from_numpy(plane.copy())[None] for plane in frame.planes]
    return planes_to_rgb(planes, source.video.picture)


def speed(case: Case, device: torch.device, folder: Path, engine: str) -> dict[str, Any]:
    """One network by one engine alone, and in whole runs with the fastest encoder settings that there are."""
    weights, clip = folder / f"{case.name}.pth", folder / f"{case.name}.mkv"
    torch.save(random_weights(case.make), weights)
    if not clip.exists():  # of another engine's turn
        make_clip(clip, case.size, case.num_frames)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    options = UpscaleOptions(
        model=str(weights), device=str(device), engine=engine, scale=Fraction(2), preset="ultrafast", crf=30
    )
    upscaler = Upscaler(options)
    run_once(clip, folder, options, upscaler, stop=8)  # to warm up: algorithms are searched, memory is taken
    prepared = prepare(clip, folder / "x.mp4", options)
    batch = batch_size(prepared, upscaler)
    network_fps = network_only_fps(upscaler, case.size, batch)
    run = run_once(clip, folder, options, upscaler)
    flops = (upscaler.engine_info.flops_per_pixel or 0) * case.size[0] * case.size[1]
    of_network, encoder_busy = run["fps"] / network_fps["median"], run["busy"]["encode"]
    row = {
        "case": case.name,
        "engine": engine,
        "size": f"{case.size[0]}x{case.size[1]}",
        "precision": upscaler.engine_info.precision,
        "batch": batch,
        "network_only_fps": network_fps,
        "network_tflops": network_fps["median"] * flops / 1e12,
        "goal_fps": case.goal_fps,
        "end_to_end": run,
        "of_network_only": of_network,
        "encoder_is_the_wall": encoder_busy >= ENCODER_IS_THE_WALL,
        "profile": profile(clip, folder, options, upscaler, batch),
    }
    keeps_up = of_network >= MIN_OF_NETWORK or encoder_busy >= ENCODER_IS_THE_WALL or not case.goal_fps
    row["passed"] = network_fps["median"] >= case.goal_fps and keeps_up
    if device.type == "cuda":
        row["peak_gpu_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
        if torch.cuda.device_count() > 1:
            every = replace(options, device="cuda:all")
            row["all_gpus"] = run_once(clip, folder, every, Upscaler(every))
    return row


def random_weights(make: Callable[[], RRDBNet | SRVGGNetCompact]) -> dict[str, Tensor]:
    """The same for every run; scaled so that what comes out is a picture, as results that are none are made again."""
    torch.manual_seed(0)
    network = make().eval()
    if isinstance(network, RRDBNet):
        with torch.no_grad():
            spread = float(network(torch.rand((1, 3, 16, 16))).std())
            network.conv_last.weight.mul_(0.2 / max(spread, 1e-6))
            network.conv_last.bias = torch.nn.Parameter(torch.full((3,), 0.5))
    return network.state_dict()


def make_clip(path: Path, size: tuple[int, int], num_frames: int) -> None:
    """H.264 of a real frame that wanders, so that no two frames are the same."""
    width, height = size
    with av.open(str(CLIP)) as source:
        still = next(source.decode(video=0)).to_ndarray(
            width=width, height=height, format="rgb24", interpolation="BICUBIC"
        )
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "20", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            moved = np.ascontiguousarray(np.roll(still, 2 * number, axis=1), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        out.mux(stream.encode(None))


def network_only_fps(upscaler: Upscaler, size: tuple[int, int], batch: int) -> dict[str, float]:
    """Frames per second of the network on batches that are on the device already: of five stretches."""
    still = torch.nn.functional.interpolate(real_frame(), size=(size[1], size[0]), mode="bilinear")
    x = still.to(upscaler.device).repeat(batch, 1, 1, 1)
    num_calls = max(
        round(STRETCH_SECONDS / max(seconds_of(lambda: upscaler.run_network(x), upscaler.device, 3), 1e-6)), 1
    )
    rates = [batch / seconds_of(lambda: upscaler.run_network(x), upscaler.device, num_calls) for _ in range(5)]
    return {"min": min(rates), "median": statistics.median(rates), "max": max(rates)}


def seconds_of(call: Callable[[], object], device: torch.device, num_calls: int) -> float:
    """Of one call among several in a row; on CUDA by the device's clock."""
    if device.type != "cuda":
        began = time.perf_counter()
        for _ in range(num_calls):
            call()
        return (time.perf_counter() - began) / num_calls
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    with torch.cuda.device(device):
        begin.record()
        for _ in range(num_calls):
            call()
        end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000 / num_calls


class UncheckedRun(Run):
    """A run whose result is not held against its source: what random weights make is no likeness."""

    def _check(self) -> None:
        pass


def run_once(
    clip: Path, folder: Path, options: UpscaleOptions, upscaler: Upscaler, stop: int | None = None
) -> dict[str, Any]:
    """A whole run: frames per second of the stages, and how busy each was."""
    events: list[Finished] = []
    changed = UpscaleOptions(**{**vars(options), "stop": stop})
    prepared = prepare(clip, folder / "out.mp4", changed, overwrite=True)
    keep = lambda event: events.append(event) if isinstance(event, Finished) else None  # noqa: E731
    times = UncheckedRun(prepared, keep, upscaler=upscaler, restart=True).execute().stage_times
    num_frames = events[0].num_frames
    busy = {"decode": times.source_busy_seconds, "work": times.work_busy_seconds, "encode": times.sink_busy_seconds}
    return {
        "fps": num_frames / times.seconds,
        "frames": num_frames,
        "busy": {name: seconds / times.seconds for name, seconds in busy.items()},
        "recomputed": events[0].num_recomputed,
    }


def profile(clip: Path, folder: Path, options: UpscaleOptions, upscaler: Upscaler, batch: int) -> list[dict[str, Any]]:
    """What a few batches spend their time on, all of the worker's way: the fifteen longest kernels, on CUDA."""
    prepared = prepare(clip, folder / "out.mp4", options, overwrite=True)
    worker = open_worker(prepared, upscaler, batch)
    frame = next(read_frames(prepared.source, Window(), print))
    activities = [torch.profiler.ProfilerActivity.CPU]
    if upscaler.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)

    def batches() -> Iterator[Any]:
        for _ in range(4):
            filled = worker.free_inputs.get()
            filled.clear()
            for _ in range(batch):
                filled.append(frame.planes, frame.time)
            yield filled

    with torch.profiler.profile(activities=activities) as recorded:
        for out in worker.run(batches()):
            worker.free_outputs.put(out)
    on_cuda = upscaler.device.type == "cuda"

    def seconds(row: Any) -> float:
        return float(row.self_device_time_total if on_cuda else row.self_cpu_time_total) / 1e6

    rows = sorted(recorded.key_averages(), key=seconds, reverse=True)
    total = sum(seconds(row) for row in rows) or 1.0
    return [{"name": row.key[:80], "share": seconds(row) / total, "calls": row.count} for row in rows[:15]]


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    machine = report["machine"]
    lines = [
        f"# {machine['device']}, torch {machine['torch']}",
        "",
        f"Multiplies at most {report['peak']['tflops']:.1f} TFLOP/s ({report['peak']['by']}). All asked for is "
        f"{'met' if report['passed'] else 'NOT met'}.",
    ]
    if report["tests"] is not None:
        lines += ["", f"Tests marked gpu: {report['tests']['said'].strip().splitlines()[-1]}"]
    if report["gate"]:
        lines += ["", "| weights | engine | size | fp16 against fp32 | greatest difference |", "|---|---|---|---|---|"]
        lines += [
            f"| {r['model']} | {r['engine']} | {r['size']} | {r['db']} dB | {r['levels']} levels |"
            for r in report["gate"]
        ]
    lines += [
        "",
        "| network | engine | input | batch | alone, fps (min, max) | goal | TFLOP/s | of most | whole run "
        "| of alone |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["speed"]:
        alone, run = row["network_only_fps"], row["end_to_end"]
        lines.append(
            f"| {row['case']} {row['precision']} | {row['engine']} | {row['size']} | {row['batch']} | "
            f"{alone['median']:.1f} ({alone['min']:.1f}, {alone['max']:.1f}) | {row['goal_fps']} | "
            f"{row['network_tflops']:.1f} | {row['network_tflops'] / report['peak']['tflops']:.0%} | "
            f"{run['fps']:.1f} fps | {row['of_network_only']:.0%} |"
        )
    for row in report["speed"]:
        busy = ", ".join(f"{name} {share:.0%}" for name, share in row["end_to_end"]["busy"].items())
        shared = f"; on all GPUs {row['all_gpus']['fps']:.1f} fps" if "all_gpus" in row else ""
        lines += [
            "",
            f"{row['case']} by {row['engine']}: busy {busy}{shared}",
            "",
            "| kernel | share | calls |",
            "|---|---|---|",
        ]
        lines += [f"| `{k['name']}` | {k['share']:.1%} | {k['calls']} |" for k in row["profile"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
