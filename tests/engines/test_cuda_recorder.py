"""How CUDA graphs are recorded: torch's own way of doing it, on stand-ins for devices, streams and graphs."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from vidsr.devices.memory import free_bytes
from vidsr.engines.recording import CudaRecorder, ReadTensors
from vidsr.errors import DeviceError

FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")


class Cuda:
    """Devices with a current stream each; what is launched on a stream that is being recorded is not done, but kept."""

    def __init__(self, monkeypatch):
        self.state = threading.local()
        self.num_recording = self.most_recording = 0
        self.graphs = []
        monkeypatch.setattr(torch.cuda, "device", self.device)
        monkeypatch.setattr(
            torch.cuda, "Stream", lambda device=None: Stream(self.current if device is None else device)
        )
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: OnStream(self, stream))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.stream_of(device))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self.graphs.append(Graph(self)) or self.graphs[-1])
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
        for name in ("synchronize", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, lambda *args: None)
        monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
        monkeypatch.setattr(torch.cuda.graph, "default_capture_stream", None)

    @property
    def current(self):
        return getattr(self.state, "device", FIRST)

    def stream_of(self, device):
        streams = self.state.__dict__.setdefault("streams", {})
        return streams.setdefault(device, Stream(device))

    @contextmanager
    def device(self, device):
        before, self.state.device = self.current, device
        yield
        self.state.device = before

    def launch(self, device, kernel):
        """A kernel on tensors of a device, from the calling thread."""
        graph = self.stream_of(device).graph
        if graph is None:
            kernel()
        else:
            graph.kernels.append(kernel)


class OnStream:
    """No generator, as torch leaves it open where ending a recording fails."""

    def __init__(self, cuda, stream):
        self.cuda, self.stream = cuda, stream

    def __enter__(self):
        device = self.stream.device
        self.before = self.cuda.current, self.cuda.stream_of(device)
        self.cuda.state.device, self.cuda.state.streams[device] = device, self.stream

    def __exit__(self, *error):
        self.cuda.state.device, self.cuda.state.streams[self.stream.device] = self.before


class Stream:
    def __init__(self, device):
        self.device, self.graph = device, None

    def wait_stream(self, other):
        pass


class Graph:
    def __init__(self, cuda):
        self.cuda, self.kernels, self.failure = cuda, [], None

    def capture_begin(self, *pool, capture_error_mode, **further):
        assert capture_error_mode == "thread_local"
        self.stream = self.cuda.stream_of(self.cuda.current)
        assert self.stream.graph is None, "recorded twice at once"
        self.stream.graph = self
        self.cuda.num_recording += 1
        self.cuda.most_recording = max(self.cuda.most_recording, self.cuda.num_recording)

    def capture_end(self):
        self.stream.graph = None
        self.cuda.num_recording -= 1
        if self.failure is not None:
            raise self.failure

    def replay(self):
        for kernel in self.kernels:
            kernel()


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def added(cuda, device, one, seconds=0.0):
    """A work on tensors of that device."""

    def work(tensors):
        out = torch.zeros_like(tensors[0])
        time.sleep(seconds)
        cuda.launch(device, lambda: out.copy_(tensors[0] + one))
        return [out]

    return work


def replayed(recording, x):
    recording.static_in[0].copy_(x)
    recording.replay()
    return recording.static_out[0].clone()


def test_each_device_records_on_a_stream_of_its_own(cuda):
    for device in (FIRST, SECOND, FIRST):
        recording = CudaRecorder(device)(added(cuda, device, 1), [torch.zeros(3)])
        for value in (0.0, 5.0):
            assert torch.equal(replayed(recording, torch.full((3,), value)), torch.full((3,), value + 1))
        assert cuda.graphs[-1].stream.device == device
    streams = [graph.stream for graph in cuda.graphs]
    assert len(set(map(id, streams))) == 3
    assert cuda.stream_of(FIRST) not in streams


def test_one_recorder_keeps_its_stream(cuda):
    recorder = CudaRecorder(SECOND)
    for _ in range(2):
        recorder(added(cuda, SECOND, 1), [torch.zeros(3)])
    first, second = cuda.graphs
    assert first.stream is second.stream


def test_launches_that_are_missing_are_found_out(cuda):
    def elsewhere(tensors):  # what torch's own stream, which belongs to the first device, leads to on another
        return added(cuda, FIRST, 1)(tensors)

    with pytest.raises(DeviceError, match=r"cuda:1: recorded launches give another result .* use --engine torch"):
        CudaRecorder(SECOND)(elsewhere, [torch.zeros(3)])


def test_a_replay_that_gives_something_else_is_found_out(cuda):
    calls = []

    def moody(tensors):
        calls.append(None)
        return added(cuda, FIRST, 1 if len(calls) < 3 else 1.02)(tensors)

    with pytest.raises(DeviceError, match="another result"):
        CudaRecorder(FIRST)(moody, [torch.zeros(3)])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32])
def test_results_of_every_kind_are_compared(cuda, dtype):
    out = torch.zeros(200, dtype=dtype)

    def work(tensors):
        cuda.launch(FIRST, lambda: out.copy_(tensors[0]))
        return [out]

    x = torch.arange(200).to(dtype)
    assert torch.equal(CudaRecorder(FIRST)(work, [x]).static_out[0], x)


def test_what_is_not_finite_in_both_is_the_same(cuda):
    out = torch.zeros(3)

    def work(tensors):
        cuda.launch(FIRST, lambda: out.copy_(tensors[0] / 0))
        return [out]

    recording = CudaRecorder(FIRST)(work, [torch.tensor([0.0, 1.0, -1.0])])
    assert recording.static_out[0].isnan().tolist() == [True, False, False]


def test_no_two_threads_record_at_once(cuda):
    def record(device):
        for _ in range(3):
            CudaRecorder(device)(added(cuda, device, 1, seconds=0.005), [torch.zeros(3)])

    threads = [threading.Thread(target=record, args=(device,)) for device in (FIRST, SECOND)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cuda.graphs) == 6 and cuda.most_recording == 1


def test_why_a_recording_failed_is_not_hidden_by_its_end(cuda):
    calls = []

    def work(tensors):
        calls.append(None)
        if len(calls) > 2:  # while it is recorded
            cuda.graphs[-1].failure = RuntimeError("operation failed due to a previous error during capture")
            raise torch.OutOfMemoryError("CUDA out of memory")
        return added(cuda, FIRST, 1)(tensors)

    before = cuda.stream_of(FIRST)
    words = r"cuda:0: launches could not be recorded \(OutOfMemoryError: CUDA out of memory\); use --engine torch"
    with pytest.raises(DeviceError, match=words) as caught:
        CudaRecorder(FIRST)(work, [torch.zeros(3)])
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert cuda.stream_of(FIRST) is before and gc.isenabled()


def test_a_lack_of_memory_that_ends_well_stays_one(cuda):
    calls = []

    def work(tensors):
        calls.append(None)
        if len(calls) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return added(cuda, FIRST, 1)(tensors)

    with pytest.raises(torch.OutOfMemoryError):
        CudaRecorder(FIRST)(work, [torch.zeros(3)])


def test_no_other_graph_ends_while_one_is_recorded(cuda):
    """A worker and its recordings hold each other: they go when Python's collector comes, which may be at any time."""
    ends, began = [], []

    class Circle:
        def __init__(self):
            self.itself = self

        def __del__(self):
            ends.append(cuda.num_recording)

    def work(tensors):
        began.append(cuda.num_recording)
        if cuda.num_recording:
            for _ in range(3000):  # more than the collector's first threshold
                Circle()
        return added(cuda, FIRST, 1)(tensors)

    Circle()
    CudaRecorder(FIRST)(work, [torch.zeros(3)])
    gc.collect()
    assert began == [0, 0, 1] and len(ends) == 3001
    assert set(ends) == {0}, "the collector came while it was recorded"


def test_an_end_that_fails_is_told(cuda):
    calls = []

    def work(tensors):
        calls.append(None)
        if len(calls) > 2:
            cuda.graphs[-1].failure = RuntimeError("CUDA error: out of memory")
        return added(cuda, FIRST, 1)(tensors)

    with pytest.raises(RuntimeError, match="CUDA error: out of memory"):
        CudaRecorder(FIRST)(work, [torch.zeros(3)])


@pytest.mark.parametrize("inference", [False, True])
def test_what_is_read_and_not_made_is_kept(inference):
    weight, constant, unused = torch.rand(4, 4), torch.rand(4), torch.rand(4)
    x = torch.rand(2, 4)
    with torch.inference_mode(inference), ReadTensors() as read:
        y = (x @ weight).add_(constant)
        (y * 2 + weight.view(16)[:4]).relu_()
    addresses = {tensor.untyped_storage().data_ptr() for tensor in read.tensors}
    assert addresses == {tensor.untyped_storage().data_ptr() for tensor in (x, weight, constant)}
    assert unused.data_ptr() not in addresses


def test_a_constant_of_a_cache_lives_as_long_as_the_recording(cuda):
    cache = []

    def work(tensors):
        if not cache:
            cache.append(torch.tensor([1.0, 2.0, 3.0]))
        out = torch.zeros(3)
        cuda.launch(FIRST, lambda: torch.add(tensors[0], cache[0], out=out))
        return [out]

    recording = CudaRecorder(FIRST)(work, [torch.zeros(3)])
    address = cache[0].untyped_storage().data_ptr()
    cache.clear()
    assert address in {tensor.untyped_storage().data_ptr() for tensor in recording.reads}


def test_memory_of_recordings_is_not_free(monkeypatch):
    def segment(device, pool, total, active):
        return {"device": device, "segment_pool_id": pool, "total_size": total, "active_size": active}

    segments = [
        segment(1, (0, 0), 100, 60),
        segment(1, (0, 0), 10, 0),
        segment(1, (0, 1), 5000, 1000),  # a graph's
        segment(0, (0, 0), 700, 0),
    ]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**6, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: segments)
    assert free_bytes(SECOND) == 10**6 + 40 + 10


def test_the_stand_in_shows_what_torch_does_by_itself(cuda):
    """One stream for the whole process, of the device that recorded first: what the recorder keeps away from."""
    for device in (FIRST, SECOND):
        with cuda.device(device), torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
            pass
    assert [graph.stream.device for graph in cuda.graphs] == [FIRST, FIRST]


def test_a_pool_is_shared_by_the_recordings_of_a_recorder(cuda, monkeypatch):
    pools = []
    handles = iter([(0, 1), (0, 2), (0, 3)])
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(handles))
    begin = Graph.capture_begin
    monkeypatch.setattr(Graph, "capture_begin", lambda self, *pool, **given: pools.append(pool) or begin(self, **given))
    recorders = [CudaRecorder(FIRST), CudaRecorder(FIRST)]
    kept = [recorder(added(cuda, FIRST, 1), [torch.zeros(3)]) for recorder in (*recorders, recorders[0])]
    assert pools == [((0, 1),), ((0, 2),), ((0, 1),)]
    kept.clear()
    cuda.graphs.clear()
    gc.collect()
    recorders[0](added(cuda, FIRST, 1), [torch.zeros(3)])
    assert pools[-1] == ((0, 3),), "a pool whose graphs are gone"
