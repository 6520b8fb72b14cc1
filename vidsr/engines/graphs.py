"""Networks on PyTorch as CUDA graphs: the launches of all layers recorded once for a shape, then replayed as one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vidsr.engines.base import EngineInfo
from vidsr.engines.devices import memory_errors
from vidsr.engines.torch import TorchEngine
from vidsr.errors import DeviceMemoryError
from vidsr.models.loading import Network

# Whole frames need one shape and a short last batch another; a frame in tiles has up to nine.
_MAX_SHAPES = 12
# A recording that was not used for so many calls makes room for another.
_IDLE_CALLS = 200

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Recording:
    """One shape's work: put a batch into `static_in`, call `replay`, and the result lies in `static_out`."""

    static_in: Tensor
    static_out: Tensor
    replay: Callable[[], None]


Record = Callable[[Callable[[Tensor], Tensor], Tensor], Recording]


class CudaGraphEngine:
    """As `TorchEngine`, but what recurs is replayed.

    The first batch of a shape runs eagerly, so that a size that comes once costs no recording.

    Args:
        make_recorder: what it gives makes a `Recording` of a function on a batch; the default makes CUDA graphs.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Literal["fp32", "fp16"],
        *,
        num_threads: int | None = None,
        make_recorder: Callable[[], Record] | None = None,
    ) -> None:
        eager = TorchEngine(network, device, precision, num_threads=num_threads)
        self._compute = eager.compute
        self._make_recorder = make_recorder or CudaRecorder
        self._record = self._make_recorder()
        self._recordings: OrderedDict[Shape, Recording] = OrderedDict()  # the least recently used first
        self._last_call: dict[Shape, int] = {}
        self._not_recordable: set[Shape] = set()
        self._num_calls = 0
        self._info = replace(eager.info, engine="cuda-graphs")

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        num_frames, _, height, width = rgb_nchw.shape
        with memory_errors(self._info.device, f"{num_frames} frames of {width}x{height}"), torch.inference_mode():
            recording = self._recording(rgb_nchw)
            if recording is None:
                return self._run_eagerly(rgb_nchw)
            recording.static_in.copy_(rgb_nchw)
            recording.replay()
            return recording.static_out.clone()  # the next replay, of whatever shape, writes over it

    def _run_eagerly(self, rgb_nchw: Tensor) -> Tensor:
        try:
            return self._compute(rgb_nchw)
        except (torch.OutOfMemoryError, MemoryError):
            self.forget()  # their memory may be what was missing, and what is tried next has another shape
            raise

    def _recording(self, rgb_nchw: Tensor) -> Recording | None:
        """The recording of a shape, made when it comes for the second time; None: run eagerly."""
        shape = tuple(rgb_nchw.shape)
        self._num_calls += 1
        is_new = shape not in self._last_call
        self._last_call[shape] = self._num_calls
        if shape in self._recordings:
            self._recordings.move_to_end(shape)
            return self._recordings[shape]
        if is_new or shape in self._not_recordable or not self._has_room():
            return None
        try:
            self._recordings[shape] = self._record(self._compute, rgb_nchw)
        except (torch.OutOfMemoryError, MemoryError, DeviceMemoryError):
            # Recording needs buffers of its own; without them the shape may still fit.
            self.forget()
            self._not_recordable.add(shape)
            return None
        return self._recordings[shape]

    def _has_room(self) -> bool:
        if len(self._recordings) < _MAX_SHAPES:
            return True
        oldest = next(iter(self._recordings))
        if self._num_calls - self._last_call[oldest] < _IDLE_CALLS:
            return False  # all are in use: taking turns would record for ever
        del self._recordings[oldest]
        return True

    def forget(self) -> None:
        """Drop all recordings and the memory they hold; shapes are recorded anew when they recur."""
        self._recordings.clear()
        self._last_call.clear()
        self._record = self._make_recorder()  # a pool of memory is of use to the graphs it was begun with


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory: they are replayed one after the other, never at once."""

    _NUM_WARM_UPS = 2  # libraries choose algorithms and allocate workspaces, which must not happen while recording

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, compute: Callable[[Tensor], Tensor], example_nchw: Tensor) -> Recording:
        device = example_nchw.device
        with torch.cuda.device(device):
            static_in = example_nchw.clone(memory_format=torch.contiguous_format)
            side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            current = torch.cuda.current_stream(device)
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(self._NUM_WARM_UPS):
                    compute(static_in)
            current.wait_stream(side)
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # Other threads copy frames meanwhile; only this thread's calls are held to what a recording allows.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                static_out = compute(static_in)
        return Recording(static_in=static_in, static_out=static_out, replay=graph.replay)


def why_absent() -> str | None:
    """What is missing for this engine on this machine; None: nothing."""
    return None if torch.cuda.is_available() else f"torch {torch.__version__} sees no CUDA device"
