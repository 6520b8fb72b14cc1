"""vidsr: video super-resolution with Real-ESRGAN networks.

import vidsr
vidsr.upscale_video("clip.mp4", "clip_2x.mp4", vidsr.UpscaleOptions(scale=Fraction(2)))
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Before torch is imported: its worker threads shall sleep while they wait for each other instead of spinning. With
# nothing else running that costs nothing; beside other programs, or beside our own encoder, spinning threads keep
# the ones they wait for from running, and took up to 25 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from vidsr.errors import VidsrError
from vidsr.options.upscale import UpscaleOptions
from vidsr.version import __version__

if TYPE_CHECKING:
    from vidsr.inference.upscaler import Upscaler
    from vidsr.run.upscale import Result, upscale_video
else:
    _HOMES = {"Result": "run.upscale", "upscale_video": "run.upscale", "Upscaler": "inference.upscaler"}

    def __getattr__(name):
        """What needs torch is imported when it is first asked for: that takes seconds, which a help text has not."""
        if name not in _HOMES:
            raise AttributeError(f"module 'vidsr' has no attribute {name!r}")
        return getattr(import_module(f"vidsr.{_HOMES[name]}"), name)


__all__ = ["Result", "UpscaleOptions", "Upscaler", "VidsrError", "__version__", "upscale_video"]
