"""A video file in, the same file twice as large out: sound, chapters and tags come along.

python examples/upscale_clip.py [SOURCE] [--target FILE] [--model NAME] [--stop 1.5]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import vidsr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=Path(__file__).with_name("clip.mp4"))
    parser.add_argument("--target", type=Path, default=Path("clip_2x.mp4"))
    parser.add_argument("--model", default="auto")
    parser.add_argument("--stop", type=Fraction, help="seconds of the source to take; all if left out")
    args = parser.parse_args()

    options = vidsr.UpscaleOptions(scale=Fraction(2), model=args.model, stop=args.stop)
    result = vidsr.upscale_video(args.source, args.target, options, overwrite=True)
    print(f"{result.target}: {result.num_frames} frames in {result.seconds_elapsed:.1f} s")


if __name__ == "__main__":
    main()
