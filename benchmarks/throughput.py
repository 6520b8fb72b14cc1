"""How fast a clip is upscaled here, and how much of that speed is the network's.

    python benchmarks/throughput.py examples/clip.mp4 --model realesr-animevideov3 --device cpu

Prints network-only and end-to-end frames per second, their ratio, the arithmetic rate against this machine's
measured multiply peak, the busy share of each stage, and peak memory. Timings are medians over real frames.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch

from vidsr.color import planes_to_rgb
from vidsr.media.probe import probe
from vidsr.media.reader import Window, read_frames
from vidsr.options import UpscaleOptions
from vidsr.prepare import prepare
from vidsr.segments import batch_size
from vidsr.upscale import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--scale", default="2")
    parser.add_argument("--batch")
    parser.add_argument("--frames", type=int, default=30, help="frames to run end to end")
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--preset")
    parser.add_argument("--calls", type=int, default=5, help="network calls to time")
    arguments = parser.parse_args()

    names = ("model", "device", "precision", "scale", "batch", "codec", "preset")
    values = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    options = UpscaleOptions.from_mapping({**values, "stop": f"{arguments.frames}f"})
    with tempfile.TemporaryDirectory() as folder:
        run = Run(prepare(arguments.clip, Path(folder) / "out.mkv", options))
        device = run.upscaler.device
        network_fps = _network_fps(run, arguments.calls)
        result = run.execute()
    times = result.stage_times
    end_to_end_fps = result.num_frames / times.seconds
    batch = batch_size(run.prepared, run.upscaler)
    print(f"clip            {arguments.clip}, {result.num_frames} frames, batches of {batch}")
    print(f"model           {run.upscaler.model.name}, {run.upscaler.engine_info.precision} on {device}")
    print(f"network only    {network_fps:.3f} fps")
    print(f"end to end      {end_to_end_fps:.3f} fps, {end_to_end_fps / network_fps:.3f} of network only")
    flops = run.upscaler.engine_info.flops_per_pixel
    if flops:
        picture = probe(arguments.clip).video.picture
        rate = network_fps * flops * picture.width * picture.height / 1e9
        peak = _multiply_peak(device, run.upscaler.engine_info.precision)
        print(f"arithmetic      {rate:.1f} GFLOP/s, {rate / peak:.3f} of the measured peak of {peak:.1f}")
    stages = {"decode": times.source_busy_seconds, "work": times.work_busy_seconds, "encode": times.sink_busy_seconds}
    print("busy            " + ", ".join(f"{name} {busy / times.seconds:.2f}" for name, busy in stages.items()))
    print(f"peak memory     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB of the process")
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB")


def _network_fps(run: Run, num_calls: int) -> float:
    """Frames per second of the engine alone on a batch of the clip's first frame, already on the device."""
    device = run.upscaler.device
    picture = run.prepared.source.video.picture
    frame = next(read_frames(run.prepared.source, Window(), print))
    planes = [torch.from_numpy(plane.copy())[None].to(device) for plane in frame.planes]
    rgb = planes_to_rgb(planes, picture).repeat(batch_size(run.prepared, run.upscaler), 1, 1, 1)
    seconds = []
    for _ in range(num_calls + 1):
        began = time.perf_counter()
        run.upscaler.run_network(rgb)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return batch_size(run.prepared, run.upscaler) / statistics.median(seconds[1:])


def _multiply_peak(device: torch.device, precision: str) -> float:
    """GFLOP/s of the best of several square matrix products, the most this machine was seen to multiply."""
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.float16 if precision == "fp16" else torch.float32
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(10):
        began = time.perf_counter()
        torch.matmul(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best / 1e9


if __name__ == "__main__":
    main()
