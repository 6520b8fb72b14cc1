"""Work on a GPU, recorded once for the shapes of its tensors and launched as one from then on."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vidsr.devices.memory import memory_errors, only_one_allocates
from vidsr.engines.base import Work
from vidsr.engines.gate import MOST_SHARE_OFF, TYPICAL_LEVELS
from vidsr.errors import DeviceError, DeviceMemoryError

# Whole frames need one shape; a frame in tiles has up to nine.
_MAX_SHAPES = 12
# A recording that was not used for so many calls makes room for another.
_IDLE_CALLS = 200

Shapes = tuple[tuple[torch.dtype, torch.Size], ...]


@dataclass(frozen=True)
class Recording:
    """The work on tensors of some shapes: put them into `static_in`, call `replay`, the results lie in `static_out`."""

    static_in: Sequence[Tensor]
    static_out: Sequence[Tensor]
    replay: Callable[[], None]
    reads: Sequence[Tensor] = ()  # what else it looks at, and where: must stay as long as it does


Record = Callable[[Work, Sequence[Tensor]], Recording]


class Recordings:
    """All the works of one engine: they share a recorder, and so the memory that recordings work in.

    Args:
        make_recorder: what it gives makes a `Recording` of a work on some tensors.
    """

    def __init__(self, make_recorder: Callable[[], Record]) -> None:
        self._make_recorder = make_recorder
        self._works: WeakSet[RecordedWork] = WeakSet()
        self.record = make_recorder()

    def of(self, work: Work, recordable: Work) -> RecordedWork:
        """The work, recorded when tensors of the same shapes come for the second time.

        Args:
            work: what is called where nothing is recorded.
            recordable: the same, always in the same launches; it is this that is recorded.
        """
        recorded = RecordedWork(work, recordable, self)
        self._works.add(recorded)
        return recorded

    def forget(self) -> None:
        """Drop what was recorded and the memory it holds; shapes are recorded anew when they recur."""
        for work in self._works:
            work.forget()
        self.record = self._make_recorder()  # a pool of memory is of use to the graphs it was begun with


class RecordedWork:
    """Called like the work itself; made by `Recordings`.

    Belongs to one thread, and to one stream of its device: what the next call writes over, this one may still read.
    """

    def __init__(self, work: Work, recordable: Work, shared: Recordings) -> None:
        self._work, self._recordable, self._shared = work, recordable, shared
        self._recordings: OrderedDict[Shapes, Recording] = OrderedDict()  # the least recently used first
        self._last_call: dict[Shapes, int] = {}
        self._not_recordable: set[Shapes] = set()
        self._num_calls = 0

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        with torch.inference_mode():  # as what is recorded belongs to it
            recording = self._recording(tensors)
            if recording is None:
                return self._run(tensors)
            for static, tensor in zip(recording.static_in, tensors, strict=True):
                static.copy_(tensor)
            recording.replay()
            return [out.clone() for out in recording.static_out]  # the next replay, of whatever shape, writes over them

    def _run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        try:
            return self._work(tensors)
        except (torch.OutOfMemoryError, MemoryError, DeviceMemoryError):
            # Their memory may be what was missing, and what is tried next has another shape.
            self._shared.forget()
            raise

    def _recording(self, tensors: Sequence[Tensor]) -> Recording | None:
        """The recording for such tensors, made when they come for the second time; None: run as it is."""
        shapes = tuple((tensor.dtype, tensor.shape) for tensor in tensors)
        self._num_calls += 1
        is_new = shapes not in self._last_call
        self._last_call[shapes] = self._num_calls
        if shapes in self._recordings:
            self._recordings.move_to_end(shapes)
            return self._recordings[shapes]
        if is_new or shapes in self._not_recordable or not self._has_room():
            return None
        try:
            # The driver's lack of memory is no exception of its own in torch.
            with memory_errors(tensors[0].device, "a recording"):
                self._recordings[shapes] = self._shared.record(self._recordable, tensors)
        except DeviceMemoryError:
            # Recording needs buffers of its own; without them the shapes may still fit.
            self._shared.forget()
            self._not_recordable.add(shapes)
            return None
        return self._recordings[shapes]

    def _has_room(self) -> bool:
        if len(self._recordings) < _MAX_SHAPES:
            return True
        oldest = next(iter(self._recordings))
        if self._num_calls - self._last_call[oldest] < _IDLE_CALLS:
            return False  # all are in use: taking turns would record for ever
        del self._recordings[oldest]
        return True

    def forget(self) -> None:
        """Drop the recordings."""
        self._recordings.clear()
        self._last_call.clear()


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory: they are replayed one after the other, never at once.

    Each is replayed once and compared with the work itself: a graph in which launches are missing raises nothing, and
    would repeat one picture for ever.

    Raises:
        DeviceError: the replay gives something else.
    """

    _NUM_WARM_UPS = 2  # libraries choose algorithms and allocate workspaces, which must not happen while recording
    _POISON = 77  # no result yet

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, work: Work, examples: Sequence[Tensor]) -> Recording:
        with only_one_allocates(), torch.cuda.device(self._device):
            if self._stream is None:
                # By default torch records on one stream for the whole process, which belongs to the first device that
                # recorded: of the work of another device nothing would be recorded.
                self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            if not self._graphs:  # a pool goes with the last graph that works in it
                self._pool = torch.cuda.graph_pool_handle()
            static_in = [example.clone(memory_format=torch.contiguous_format) for example in examples]
            current = torch.cuda.current_stream(self._device)
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for _ in range(self._NUM_WARM_UPS - 1):
                    work(static_in)
                with ReadTensors() as read:  # the last time, when all that is kept from call to call has been made
                    expected = work(static_in)
            graph = torch.cuda.CUDAGraph()
            self._graphs.add(graph)
            static_out = self._capture(graph, self._stream, work, static_in)
            current.wait_stream(self._stream)
            for out in static_out:
                out.fill_(self._POISON)
            graph.replay()
            if any(_differ(out, wanted) for out, wanted in zip(static_out, expected, strict=True)):
                raise DeviceError(
                    f"{self._device}: recorded launches give another result than the same work launched one by one; "
                    "use --engine torch"
                )
        return Recording(static_in=static_in, static_out=static_out, replay=graph.replay, reads=read.tensors)

    def _capture(
        self, graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, work: Work, static_in: Sequence[Tensor]
    ) -> list[Tensor]:
        failure: BaseException | None = None
        try:
            # The current stream around it, for where ending it fails: its own would stay the current one. Other threads
            # copy frames meanwhile; only this thread's calls are held to what a recording allows.
            with (
                _nothing_collected(),
                torch.cuda.stream(torch.cuda.current_stream(self._device)),
                torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"),
            ):
                try:
                    static_out = work(static_in)
                except BaseException as error:
                    failure = error
                    raise
        except RuntimeError as error:
            if failure is None or failure is error:
                raise
            # Ending it failed as well, which hides why, and leaves torch's allocator as if it still went on.
            raise DeviceError(
                f"{self._device}: launches could not be recorded ({type(failure).__name__}: {failure}); "
                "use --engine torch"
            ) from failure
        return static_out


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep Python's collector from ending another graph within the block: what that calls breaks a recording off."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class ReadTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gathers what the enclosed work reads and has not made itself: weights, constants that are kept, its input.

    A recording knows their addresses only, and a cache may drop a constant long before the recording goes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found: dict[int, Tensor] = {}
        self._made: set[int] = set()

    @property
    def tensors(self) -> list[Tensor]:
        return list(self._found.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for tensor in _tensors_in((args, kwargs)):
            address = tensor.untyped_storage().data_ptr()
            if address not in self._made:
                self._found[address] = tensor
        result = func(*args, **(kwargs or {}))
        addresses = {tensor.untyped_storage().data_ptr() for tensor in _tensors_in(result)}
        self._made |= addresses - self._found.keys()
        return result


def _tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _differ(found: Tensor, expected: Tensor) -> bool:
    """Whether more samples than the gate allows are further apart than it takes for typical; waits for the device."""
    found, expected = found.to(torch.float32), expected.to(torch.float32)
    reach = max(float(expected.nan_to_num().abs().max()), 1.0)
    close = torch.isclose(found, expected, rtol=0, atol=TYPICAL_LEVELS / 255 * reach, equal_nan=True)
    return float(close.to(torch.float32).mean()) < 1 - MOST_SHARE_OFF
