"""vidsr beside other programs: the same clip, the same weights, the same size, in turn on this machine.

    pip install framelift-video opencv-python-headless imageio-ffmpeg
    python benchmarks/peers.py --media FOLDER --json peers.json --write docs/benchmarks.md

Programs: vidsr; the frame loop of Real-ESRGAN's own video script (stock_loop.py); framelift as it is by default, with
whole frames where its tiles are smaller, and on OpenVINO where that is installed. Each run is a process of its own;
rounds alternate, and the ratios are taken within a round. What each program writes is compared too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

from vidsr.errors import SourceError
from vidsr.measure.figures import Spread
from vidsr.measure.peak import describe
from vidsr.measure.tables import number_text, spread_text, table, write_block
from vidsr.media.read.probe import probe
from vidsr.models import weights_store
from vidsr.models.catalogue import ModelEntry, find_model
from vidsr.models.loading import load_network

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "examples" / "clip.mp4"
CRF, PRESET = "20", "veryfast"  # framelift's defaults; the same for all
SCALE = 2
_TILE_PX = 256  # framelift's default
_MEDIA_PIXELS = (100_000, 50_000)  # a clip of the folder that takes seconds, and not less than the one of the examples
_FRAMELIFT_MODELS = {
    "realesr-animevideov3": ("realesr-animevideov3", "realesr-animevideov3.pth"),
    "RealESRGAN_x4plus": ("realesrgan-x4plus", "RealESRGAN_x4plus.pth"),
    "RealESRGAN_x4plus_anime_6B": ("realesrgan-x4plus-anime-6B", "RealESRGAN_x4plus_anime_6B.pth"),
}
_FRAMELIFT = """
import json, sys, framelift
result = framelift.enhance_video(show_progress=False, **json.loads(sys.argv[1]))
print(json.dumps({"num_frames": result.frames_processed, "seconds": result.elapsed_seconds}))
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One clip and network."""

    name: str
    source: Path
    model: str
    num_frames: int
    original: Path | None = None  # what the source was made from, in the size that comes out


@dataclass
class Outcome:
    """What came of one program on one case."""

    whole_fps: list[float] = field(default_factory=list)  # of the whole process, start included
    steady_fps: list[float] = field(default_factory=list)  # by its own clock, models loaded
    num_frames: int = 0
    size: tuple[int, int] = (0, 0)
    psnr_to_vidsr: float | None = None  # of luma; None: equal
    psnr_to_original: float | None = None


@dataclass(frozen=True)
class Bench:
    """What is the same for all cases."""

    folder: Path  # of weights and of what is written
    framelift_python: str
    device: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="a folder of real videos, one of which is taken")
    parser.add_argument("--cases", default="", help="names, with commas; unset: all")
    parser.add_argument("--rounds", type=int, default=3, help="0: only show and write what --json has")
    parser.add_argument("--frames", type=int, help="of each case; unset: some seconds of work")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--framelift-python", default=sys.executable, help="a Python that has framelift installed")
    parser.add_argument("--json", type=Path, help="results to add to, case by case")
    parser.add_argument("--write", type=Path, help="a page whose block is made anew from all results")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    if given.json is not None and given.json.exists():
        results = json.loads(given.json.read_text(encoding="utf-8"))
    if given.rounds:
        for name, result in measure_cases(given):
            print(case_text(name, result), flush=True)
            results[name] = result
            if given.json is not None:
                given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    else:
        print(page_text(results))
    if given.write is not None:
        write_block(given.write, "peers", page_text(results))


def measure_cases(given: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, result) of each case that was asked for."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = make_cases(folder, given.media, given.frames)
        wanted = given.cases.split(",") if given.cases else [case.name for case in cases]
        unknown = set(wanted) - {case.name for case in cases}
        if unknown:
            raise SystemExit(f"no case {', '.join(unknown)}; there are {', '.join(case.name for case in cases)}")
        write_weights(folder, {case.model for case in cases if case.name in wanted})
        bench = Bench(folder, given.framelift_python, given.device)
        _link_ffmpeg(folder)
        for case in cases:
            if case.name in wanted:
                yield case.name, measure(case, bench, given.rounds)


def make_cases(folder: Path, media: Path | None, num_frames: int | None) -> list[Case]:
    """The clips, made or found."""
    compact, best = "realesr-animevideov3", "RealESRGAN_x4plus"
    cases = [Case(name="clip", source=CLIP, model=compact, num_frames=num_frames or 38)]
    if media is not None:
        cases.append(Case(name="real clip", source=_real_clip(media), model=compact, num_frames=num_frames or 16))
    # So long that starting and ending, which take seconds, hardly count.
    long = rewrite(CLIP, folder / "long.mp4", times=8)
    cases.append(Case(name="long clip", source=long, model=compact, num_frames=num_frames or 304))
    on_twos = rewrite(CLIP, folder / "on_twos.mp4", repeat=2, times=4)
    cases.append(Case(name="on twos", source=on_twos, model=compact, num_frames=num_frames or 304))
    half = rewrite(CLIP, folder / "half.mp4", shrink=2)
    cases.append(Case(name="RRDB at 2x", source=half, model=best, num_frames=num_frames or 20, original=CLIP))
    return cases


def _real_clip(media: Path) -> Path:
    """The first video of the folder that is neither large nor tiny."""
    most, fewest = _MEDIA_PIXELS
    for path in sorted(media.glob("*.mp4")):
        try:
            video = probe(path).video
        except SourceError:
            continue
        if fewest <= video.picture.width * video.picture.height <= most and video.num_frames_from_index >= 16:
            return path
    raise SystemExit(f"{media}: holds no .mp4 of {fewest} to {most} pixels with 16 frames; name another folder")


def rewrite(source: Path, target: Path, *, repeat: int = 1, shrink: int = 1, times: int = 1) -> Path:
    """A lossless copy with every frame shown several times, made smaller by Lanczos, or all of it several times."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        video = container.streams.video[0]
        rate = Fraction(video.average_rate or 25) * repeat
        stream: Any = out.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = video.width // shrink, video.height // shrink, "yuv420p"
        number = 0
        frames = list(container.decode(video))
        for frame in frames * times:
            small = frame.reformat(stream.width, stream.height, "yuv420p", interpolation="LANCZOS")
            for _ in range(repeat):
                small.pts, small.time_base = number, 1 / rate
                out.mux(stream.encode(small))
                number += 1
        out.mux(stream.encode(None))
    return target


def write_weights(folder: Path, models: set[str]) -> None:
    """vidsr's own weights as the files that the others expect."""
    for model in models:
        entry = find_model(model)
        assert isinstance(entry, ModelEntry)
        network = load_network(weights_store.obtain(entry))
        state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        torch.save({"params_ema": state}, folder / _FRAMELIFT_MODELS[model][1])


def _link_ffmpeg(folder: Path) -> None:
    """framelift runs the ffmpeg program; imageio-ffmpeg brings one, under another name."""
    if shutil.which("ffmpeg") is None and "FRAMELIFT_FFMPEG" not in os.environ:
        ffmpeg: Any = import_module("imageio_ffmpeg")
        (folder / "ffmpeg").symlink_to(ffmpeg.get_ffmpeg_exe())
        os.environ["FRAMELIFT_FFMPEG"] = str(folder)


def commands(case: Case, bench: Bench) -> dict[str, list[str]]:
    """Each program's command; `{target}` stands for what it writes."""
    source, frames = str(case.source), str(case.num_frames)
    vidsr = [sys.executable, "-m", "vidsr", "upscale", source, "--output", "{target}", "--json", "--model", case.model]
    vidsr += ["--scale", str(SCALE), "--codec", "libx264", "--crf", CRF, "--preset", PRESET, "--pix-fmt", "yuv420p"]
    vidsr += ["--device", bench.device, "--stop", f"{frames}f", "--overwrite"]
    found = {"vidsr": vidsr}
    if case.original is not None:
        found["vidsr --fit before"] = [*vidsr, "--fit", "before"]
    framelift_model, weights = _FRAMELIFT_MODELS[case.model]
    stock = [sys.executable, str(ROOT / "benchmarks" / "stock_loop.py"), source, "{target}", "--stop", frames]
    stock += ["--weights", str(bench.folder / weights), "--scale", str(SCALE), "--crf", CRF, "--preset", PRESET]
    found["stock loop"] = stock
    options = {"input_path": source, "output_path": "{target}", "model": framelift_model, "scale": SCALE}
    options |= {"ai_strength": 1.0, "max_frames": case.num_frames, "audio": False, "weights_dir": str(bench.folder)}
    options |= {"crf": int(CRF), "x264_preset": PRESET, "device": bench.device}
    variants: dict[str, dict[str, object]] = {"framelift": {}}
    picture = probe(case.source).video.picture
    if max(picture.width, picture.height) > _TILE_PX:
        variants["framelift, whole frames"] = {"tile": 0}
    if bench.device == "cpu" and _has(bench.framelift_python, "openvino"):
        variants["framelift on OpenVINO"] = {"tile": 0, "backend": "openvino"}
    for name, more in variants.items():
        found[name] = [bench.framelift_python, "-c", _FRAMELIFT, json.dumps(options | more)]
    return found


def _has(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def measure(case: Case, bench: Bench, num_rounds: int) -> dict[str, Any]:
    """Run all programs in turn; as plain values."""
    programs = commands(case, bench)
    outcomes = {name: Outcome() for name in programs}
    targets = {name: bench.folder / f"{number}.mp4" for number, name in enumerate(programs)}
    for _ in range(num_rounds):
        for name, command in programs.items():
            whole_seconds, report = run([part.replace("{target}", str(targets[name])) for part in command])
            outcome = outcomes[name]
            outcome.num_frames = report["num_frames"]
            outcome.whole_fps.append(outcome.num_frames / whole_seconds)
            outcome.steady_fps.append(outcome.num_frames / report["seconds"])
            print(f"{case.name}: {name}: {outcome.whole_fps[-1]:.3f} fps", file=sys.stderr, flush=True)
    for name, outcome in outcomes.items():
        frames = list(luma_frames(targets[name], case.num_frames))
        outcome.num_frames, outcome.size = len(frames), (frames[0].shape[1], frames[0].shape[0])
        outcome.psnr_to_vidsr = psnr(frames, luma_frames(targets["vidsr"], case.num_frames))
        if case.original is not None:
            outcome.psnr_to_original = psnr(frames, luma_frames(case.original, case.num_frames))
    picture = probe(case.source).video.picture
    return {
        "source": f"{case.source.name}, {picture.width}x{picture.height}, {case.num_frames} frames",
        "model": case.model,
        "machine": describe(torch.device(bench.device)),
        "programs": {name: asdict(outcome) for name, outcome in outcomes.items()},
    }


def run(command: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole process, and its own report: the last line that tells of frames and seconds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}: {done.stderr[-2000:]}")
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for report in reversed(reports):
        if "num_frames" in report:
            return seconds, {"num_frames": report["num_frames"], "seconds": _seconds(report)}
    raise SystemExit(f"{' '.join(command)}\nsaid nothing of its frames: {done.stdout[-2000:]}")


def _seconds(report: dict[str, Any]) -> float:
    return float(report["seconds"] if "seconds" in report else report["seconds_elapsed"])


def luma_frames(path: Path, num_frames: int) -> Iterator[NDArray[np.float64]]:
    """(H, W) codes of the first frames; of luma alone, as programs tag the colours differently or not at all."""
    with av.open(str(path)) as container:
        for frame in islice(container.decode(video=0), num_frames):
            plane = frame.planes[0]
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            yield lines[:, : plane.width].astype(np.float64)


def psnr(frames: Sequence[NDArray[np.float64]], others: Iterator[NDArray[np.float64]]) -> float | None:
    """Over all frames together, in dB of 255; None: equal. Another size or number of frames ends the program."""
    errors = []
    for number, other in enumerate(others):
        if number >= len(frames) or frames[number].shape != other.shape:
            raise SystemExit(f"frame {number}: other sizes or fewer frames; the programs did not do the same")
        errors.append(float(np.square(frames[number] - other).mean()))
    if len(errors) != len(frames):
        raise SystemExit(f"{len(frames)} frames against {len(errors)}; the programs did not do the same")
    error = sum(errors) / len(errors)
    return 10 * math.log10(255**2 / error) if error else None


def case_text(name: str, result: dict[str, Any]) -> str:
    """A heading and a table."""
    programs: dict[str, dict[str, Any]] = result["programs"]
    has_original = any(outcome["psnr_to_original"] is not None for outcome in programs.values())
    header = ("program", "whole process, fps", "vidsr is faster by", "frames only, fps", "vidsr is faster by")
    header_end = ("PSNR to vidsr", *(["PSNR to the original"] if has_original else []))
    rows = []
    for program, outcome in programs.items():
        row = [program]
        for key in ("whole_fps", "steady_fps"):
            row.append(spread_text(Spread.of(outcome[key])))
            ratios = [a / b for a, b in zip(programs["vidsr"][key], outcome[key], strict=True)]
            row.append("-" if program == "vidsr" else spread_text(Spread.of(ratios), 2))
        row.append("-" if program == "vidsr" else _decibels(outcome["psnr_to_vidsr"]))
        if has_original:
            row.append(_decibels(outcome["psnr_to_original"]))
        rows.append(row)
    size = "x".join(map(str, programs["vidsr"]["size"]))
    return f"**{name}**: {result['source']}, to {size} by {result['model']}\n\n{table((*header, *header_end), rows)}"


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{number_text(value, 1)} dB"


def page_text(results: dict[str, Any]) -> str:
    machines = dict.fromkeys(_machine(result["machine"]) for result in results.values())
    return "\n\n".join([*machines, *(case_text(name, result) for name, result in results.items())])


def _machine(machine: dict[str, str]) -> str:
    return (
        f"{machine['device']}; processors {machine['processors']}, torch {machine['torch']}, vidsr {machine['vidsr']}."
    )


if __name__ == "__main__":
    main()
