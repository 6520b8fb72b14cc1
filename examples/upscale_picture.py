"""One picture as a NumPy array in, a larger array out; here it is a frame of the clip, written as a PNG.

python examples/upscale_picture.py [SOURCE] [--target FILE] [--model NAME] [--scale 4]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import vidsr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=Path(__file__).with_name("clip.mp4"))
    parser.add_argument("--target", type=Path, default=Path("picture_4x.png"))
    parser.add_argument("--model", default="auto")
    parser.add_argument("--scale", type=Fraction, default=Fraction(4))
    args = parser.parse_args()

    with av.open(str(args.source)) as container:  # FFmpeg reads pictures as well as videos
        image = np.asarray(next(container.decode(video=0)).to_ndarray(format="rgb24"), np.uint8)
    upscaler = vidsr.Upscaler(vidsr.UpscaleOptions(scale=args.scale, model=args.model))
    larger = upscaler.upscale_image(image)  # (height, width, 3), uint8, RGB
    av.VideoFrame.from_ndarray(larger, format="rgb24").save(args.target)
    print(f"{args.target}: {larger.shape[1]}x{larger.shape[0]} by {upscaler.model.name}")


if __name__ == "__main__":
    main()
