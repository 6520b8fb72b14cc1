"""Networks on PyTorch, compiled by torch.compile: activations, residuals and joins fused into fewer kernels.

For CUDA only: on the CPU it took 438 ms where eager PyTorch took 458 (animevideov3, 320x180), after 8 to 32 seconds of
compiling in every process. On CUDA it is unmeasured.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from vidsr.devices.memory import memory_errors
from vidsr.engines.base import EngineInfo, Work
from vidsr.engines.torch import TorchEngine
from vidsr.models.network import Network


class CompiledEngine:
    """As `TorchEngine`, compiled for all sizes: at the first call, and again where N or a side is 1 for the first time.

    Compiling took 20 seconds for a network of one block.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Literal["fp32", "fp16"],
        *,
        num_threads: int | None = None,
    ) -> None:
        eager = TorchEngine(network, device, precision, num_threads=num_threads)
        # Sizes as variables: tiles and last batches would each be compiled anew.
        self._compute = torch.compile(eager.compute, dynamic=True)
        self._info = replace(eager.info, engine="compiled")

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        self._info.require_size(rgb_nchw)
        num_frames, _, height, width = rgb_nchw.shape
        with memory_errors(self._info.device, f"{num_frames} frames of {width}x{height}"), torch.inference_mode():
            return self._compute(rgb_nchw)

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        return work


def why_absent() -> str | None:
    """What is missing for this engine on this machine; None: nothing."""
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "torch.compile needs triton: pip install triton"
    if shutil.which("cc") is None and shutil.which("gcc") is None and shutil.which("clang") is None:
        return "torch.compile needs a C compiler"
    return None
