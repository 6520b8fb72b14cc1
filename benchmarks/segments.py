"""What cutting a run into segments costs: the same clip in many segments and in one, in turn.

    python benchmarks/segments.py --write docs/benchmarks.md
    python benchmarks/segments.py --model realesr-animevideov3 --frames 400

The clip is drawn, with a keyframe every 50 frames. By default no network runs: a border costs the same with one, and
the fewer seconds there are beside it, the better it can be seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from unittest import mock

from vidsr.inference.upscaler import Upscaler
from vidsr.measure.clip import write_clip
from vidsr.measure.figures import Spread
from vidsr.measure.tables import spread_text, table, write_block
from vidsr.options.upscale import UpscaleOptions
from vidsr.options.values import parse_size
from vidsr.pipeline.plan import make_plan
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run

_KEYFRAME_EVERY = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nearest")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="96x64")
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="a page whose block is made anew")
    given = parser.parse_args()
    options = UpscaleOptions(model=given.model, device=given.device, scale=Fraction(2))
    width, height = parse_size(given.size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = write_clip(folder / "clip.mov", width, height, given.frames, keyframe_every=_KEYFRAME_EVERY)
        upscaler = Upscaler(options)
        run(clip, folder / "warm.mkv", upscaler, is_cut=False, stop=min(given.frames, 20))
        many, one, num_segments = list[float](), list[float](), 0
        for number in range(given.rounds):
            # In turns first and second, so that a drift of the machine does not count for one of them.
            for is_cut in (True, False) if number % 2 == 0 else (False, True):
                seconds, num = run(clip, folder / f"{number}{is_cut}.mkv", upscaler, is_cut=is_cut)
                (many if is_cut else one).append(seconds)
                num_segments = max(num_segments, num)
    pairs = list(zip(many, one, strict=True))
    overheads = [100 * (cut / whole - 1) for cut, whole in pairs]
    borders = [1000 * (cut - whole) / max(num_segments - 1, 1) for cut, whole in pairs]
    text = table(
        (f"{given.frames} frames of {width}x{height}, {upscaler.model.name}", "seconds"),
        [
            (f"in {num_segments} segments", spread_text(Spread.of(many))),
            ("in one", spread_text(Spread.of(one))),
            ("overhead within each pair", f"{spread_text(Spread.of(overheads), 1)} %"),
            ("a border", f"{spread_text(Spread.of(borders), 0)} ms"),
        ],
    )
    print(text)
    if given.write is not None:
        write_block(given.write, "segments", text)


def run(clip: Path, target: Path, upscaler: Upscaler, *, is_cut: bool, stop: int | None = None) -> tuple[float, int]:
    """(seconds of the run, segments it was made in)."""
    options = replace(upscaler.options, stop=stop)
    # Longer segments are not offered to users: a crash would cost more than they could save.
    plan = make_plan if is_cut else partial(make_plan, max_frames=10**9)
    with mock.patch("vidsr.run.prepare.make_plan", plan):
        prepared = prepare(clip, target, options)
    began = time.perf_counter()
    Run(prepared, upscaler=upscaler).execute()
    return time.perf_counter() - began, len(prepared.plan.segments)


if __name__ == "__main__":
    main()
