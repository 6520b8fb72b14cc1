"""Networks on PyTorch as CUDA graphs: all launches of a network, or of a whole batch's way, replayed as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from vidsr.devices.memory import memory_errors
from vidsr.engines.base import EngineInfo, Work
from vidsr.engines.recording import CudaRecorder, Record, Recordings
from vidsr.engines.torch import TorchEngine
from vidsr.models.network import Network


class CudaGraphEngine:
    """As `TorchEngine`, but what recurs is replayed.

    The first batch of a shape runs eagerly, so that a size that comes once costs no recording.

    Args:
        pads_ends: as `TorchEngine` has it.
        make_recorder: what it gives makes recordings; the default makes CUDA graphs.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Literal["fp32", "fp16"],
        *,
        num_threads: int | None = None,
        pads_ends: bool = False,
        make_recorder: Callable[[], Record] | None = None,
    ) -> None:
        eager = TorchEngine(network, device, precision, num_threads=num_threads, pads_ends=pads_ends)
        self._compute = eager.compute
        self._recordings = Recordings(make_recorder or partial(CudaRecorder, device))
        self._network = self._recordings.of(self._network_alone, self._network_alone)
        self._is_part = False  # of other work that is being recorded
        self._info = replace(eager.info, engine="cuda-graphs-padded" if pads_ends else "cuda-graphs")

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        self._info.require_size(rgb_nchw)
        num_frames, _, height, width = rgb_nchw.shape
        with memory_errors(self._info.device, f"{num_frames} frames of {width}x{height}"), torch.inference_mode():
            network = self._network_alone if self._is_part else self._network
            return network([rgb_nchw])[0]

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        def as_a_whole(tensors: Sequence[Tensor]) -> list[Tensor]:
            with self._part_of_a_whole():
                return recordable(tensors)

        return self._recordings.of(work, as_a_whole)

    def _network_alone(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [self._compute(tensors[0])]

    @contextmanager
    def _part_of_a_whole(self) -> Iterator[None]:
        self._is_part = True
        try:
            yield
        finally:
            self._is_part = False


def why_absent() -> str | None:
    """What is missing for this engine on this machine; None: nothing."""
    return None if torch.cuda.is_available() else f"torch {torch.__version__} sees no CUDA device"
