"""Networks on PyTorch: fp32 on the CPU, fp16 or fp32 on CUDA, channels last on both."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from vidsr.devices.memory import memory_errors
from vidsr.engines.base import EngineInfo, Work
from vidsr.models.families import faster
from vidsr.models.network import Network
from vidsr.models.padded import pad_ends

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
# CUDA's kernels count the samples of a tensor in 32 bits, or take slower ways beyond. The hundredth is for the row and
# column by which the phases of a folded upsampling are larger than the picture.
_MOST_SAMPLES = 0.99 * 2**31


class TorchEngine:
    """Runs a network eagerly with PyTorch.

    Args:
        num_threads: of the whole process, as PyTorch has one setting for all it computes on the CPU.
        pads_ends: whether channels of zeros are added to the first and last layer, see `models.padded`.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Literal["fp32", "fp16"],
        *,
        num_threads: int | None = None,
        pads_ends: bool = False,
    ) -> None:
        if device.type == "cpu":
            _keep_freed_memory()
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        self._dtype = _DTYPES[precision]
        prepared = faster(network, half=precision == "fp16")
        if pads_ends:
            prepared = pad_ends(prepared)
        # Channels last is what tensor cores want, and on the CPU 10 to 20 % faster than planes.
        self._network = prepared.to(device=device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._info = EngineInfo(
            engine="torch",
            device=device,
            precision=precision,
            scale=network.scale,
            reach_px=network.reach_px,
            align_px=network.align_px,
            bytes_per_pixel=peak_bytes_per_pixel(network, self._dtype),
            max_pixels=most_pixels(network) if device.type == "cuda" else None,
            flops_per_pixel=network.flops_per_input_pixel,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        self._info.require_size(rgb_nchw)
        num_frames, _, height, width = rgb_nchw.shape
        with memory_errors(self._info.device, f"{num_frames} frames of {width}x{height}"), torch.inference_mode():
            return self.compute(rgb_nchw)

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        return work

    def compute(self, rgb_nchw: Tensor) -> Tensor:
        """What `run` does, with PyTorch's own errors."""
        x = rgb_nchw.to(dtype=self._dtype, memory_format=torch.channels_last)
        out: Tensor = self._network(x)
        return out.to(dtype=torch.float32, memory_format=torch.contiguous_format)


def peak_bytes_per_pixel(network: Network, dtype: torch.dtype) -> int:
    """What a network takes at most, in bytes per input pixel and frame."""
    return network.peak_samples * dtype.itemsize


def most_pixels(network: Network) -> int:
    """Input pixels, over all frames, up to which the largest tensor of a network can be counted in 32 bits."""
    return int(_MOST_SAMPLES / network.largest_samples)


@cache
def _keep_freed_memory() -> None:
    """Have glibc reuse the tens of megabytes that every layer frees instead of returning them to the system.

    Zeroing fresh pages anew for each layer took a quarter of the time of the compact network.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has no such switch
        return
    trim_threshold, mmap_threshold, keep_bytes = -1, -3, 1 << 30
    mallopt(mmap_threshold, keep_bytes)
    mallopt(trim_threshold, keep_bytes)
