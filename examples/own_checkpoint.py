"""A checkpoint of your own instead of a model's name: vidsr finds out the network from the weights.

    python examples/own_checkpoint.py [CHECKPOINT] [--source FILE] [--target FILE]

Without a checkpoint it takes the file of a model that is on this machine, to show that its path will do.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import vidsr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("--source", type=Path, default=Path(__file__).with_name("clip.mp4"))
    parser.add_argument("--target", type=Path, default=Path("own_2x.mp4"))
    parser.add_argument("--stop", type=Fraction, help="seconds of the source to take; all if left out")
    args = parser.parse_args()

    checkpoint = args.checkpoint or vidsr.Upscaler(vidsr.UpscaleOptions(model="realesr-animevideov3")).model.path
    options = vidsr.UpscaleOptions(model=str(checkpoint), stop=args.stop)
    try:
        upscaler = vidsr.Upscaler(options)
    except vidsr.VidsrError as error:  # no such file, damaged, or an architecture that vidsr does not know
        raise SystemExit(str(error)) from error
    print(f"{upscaler.model.name}: a {upscaler.engine_info.scale}x network")
    vidsr.upscale_video(args.source, args.target, options, overwrite=True)
    print(args.target)


if __name__ == "__main__":
    main()
