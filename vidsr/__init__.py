"""vidsr: video super-resolution with Real-ESRGAN networks.

import vidsr
vidsr.upscale_video("clip.mp4", "clip_2x.mp4", vidsr.UpscaleOptions(scale=Fraction(2)))
"""

from __future__ import annotations

__version__ = "0.1.0"

from vidsr.errors import VidsrError
from vidsr.options import UpscaleOptions
from vidsr.upscale import Result, upscale_video
from vidsr.upscaler import Upscaler

__all__ = ["Result", "UpscaleOptions", "Upscaler", "VidsrError", "__version__", "upscale_video"]
