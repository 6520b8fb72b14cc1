"""A run tells what it is doing as events; this draws a progress line of its own from them.

python examples/follow_progress.py [SOURCE] [--target FILE] [--model NAME] [--stop 1.5]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import vidsr
from vidsr.events import Event, Finished, Progress, Started


def show(event: Event) -> None:
    match event:
        case Started():
            print(f"{event.model} on {event.device} makes {event.target_size[0]}x{event.target_size[1]}")
        case Progress(num_frames_done=done, num_frames_expected=expected):
            bar = "#" * (30 * done // max(expected or done, 1))
            print(f"\r[{bar:<30}] {done}/{expected or '?'} {event.frames_per_second:.1f} fps", end="", flush=True)
        case Finished():
            print(f"\n{event.num_frames} frames are in {event.target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=Path(__file__).with_name("clip.mp4"))
    parser.add_argument("--target", type=Path, default=Path("followed_2x.mp4"))
    parser.add_argument("--model", default="auto")
    parser.add_argument("--stop", type=Fraction, help="seconds of the source to take; all if left out")
    args = parser.parse_args()

    options = vidsr.UpscaleOptions(model=args.model, stop=args.stop)
    vidsr.upscale_video(args.source, args.target, options, on_event=show, overwrite=True)


if __name__ == "__main__":
    main()
