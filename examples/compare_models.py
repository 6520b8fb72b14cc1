"""Which model gives back most of a picture? Shrink one, upscale it with each, compare with the original.

    python examples/compare_models.py [SOURCE] [--models NAME NAME ...]

Two things to know before believing the number: shrinking is kinder than what happens to real footage, and
networks that invent detail look better than their PSNR says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import torch

import vidsr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=Path(__file__).with_name("clip.mp4"))
    parser.add_argument("--models", nargs="+", default=["nearest", "bicubic", "lanczos", "realesr-animevideov3"])
    args = parser.parse_args()

    with av.open(str(args.source)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    original_nchw = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    original_nchw = original_nchw[..., : image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    small_nchw = torch.nn.functional.avg_pool2d(original_nchw, 2)
    for model in args.models:
        upscaler = vidsr.Upscaler(vidsr.UpscaleOptions(model=model))  # twice the size is the default
        again_nchw = upscaler.upscale_tensor(small_nchw).cpu().clamp(0, 1)
        psnr = -10 * torch.log10((again_nchw - original_nchw).square().mean())
        print(f"{model:<28} {psnr.item():6.2f} dB")


if __name__ == "__main__":
    main()
