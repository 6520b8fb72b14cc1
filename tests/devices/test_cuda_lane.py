"""What a GPU is trusted with, shown without one: order, the life of its memory, and that nothing waits for it."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from worker_frames import PromisingLane, doubled, make_format, make_frames, make_worker, stream

from vidsr.devices.lanes import CudaLane, HostLane
from vidsr.devices.memory import memory_errors
from vidsr.devices.names import settle
from vidsr.errors import DeviceMemoryError
from vidsr.frames import ColorTags, PictureFormat, pixel_layout
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.sizes import Orientation
from vidsr.run.frame_worker import FrameWorker, batch_size

DEVICE = torch.device("cuda:0")
POISON = "poison"


class LateStream:
    """Does nothing until it is waited for, then all in order; what it waits for itself, first."""

    def __init__(self):
        self.work = deque()

    def wait_stream(self, other):
        number = other.last_number
        self.add(lambda: other.catch_up(number))

    @property
    def last_number(self):
        return self.work[-1][0] if self.work else 0

    def add(self, what):
        LateStream.count += 1
        self.work.append((LateStream.count, what))

    def catch_up(self, number):
        while self.work and self.work[0][0] <= number:
            self.work.popleft()[1]()

    count = 0


class LateTensor:
    """A tensor as CUDA's allocator has it: forgotten, its memory is given to the next one of its own stream at once,
    whatever other streams still read there, unless it was told of them."""

    def __init__(self, gpu, value=POISON):
        self.gpu, self.home, self.cell = gpu, gpu.current, [value]
        self.recorded = set()

    def to(self, device, *, non_blocking):
        assert device == DEVICE and non_blocking, "the host would wait"
        return self.then(lambda value: value)

    def then(self, function):
        """The result of a kernel, or of a copy, on the current stream."""
        result = LateTensor(self.gpu)
        source, target = self.cell, result.cell
        self.gpu.use(self, result)
        self.gpu.current.add(lambda: target.__setitem__(0, function(source[0])))
        return result

    def copy_(self, other, *, non_blocking):
        assert non_blocking, "the host would wait"
        source, target = other.cell, self.cell
        self.gpu.use(other)
        self.gpu.current.add(lambda: target.__setitem__(0, source[0]))

    def record_stream(self, stream):
        self.recorded.add(stream)

    def __del__(self):
        users = self.gpu.users.get(id(self.cell), set())
        if self.home is not None and not users <= {self.home, *self.recorded}:
            self.cell[0] = POISON
            self.gpu.num_spoiled += 1


class LateGpu:
    def __init__(self, monkeypatch):
        self.current = None  # the host
        self.users, self.kept = {}, []
        self.num_spoiled = self.num_events = 0
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: LateStream())
        monkeypatch.setattr(torch.cuda, "stream", self.on)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.current)
        monkeypatch.setattr(torch.cuda, "Event", lambda **given: LateEvent(self, **given))

    @contextmanager
    def on(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def use(self, *tensors):
        for tensor in tensors:
            self.users.setdefault(id(tensor.cell), set()).add(self.current)
            self.kept.append(tensor.cell)  # its id stays its own


class LateEvent:
    def __init__(self, gpu, *, blocking=False, enable_timing=False):
        self.gpu, self.blocking, self.enable_timing = gpu, blocking, enable_timing

    def record(self, stream):
        self.stream, self.number = stream, stream.last_number

    def query(self):
        return False

    def synchronize(self):
        assert self.blocking or self.enable_timing, "the host would spin"
        self.gpu.num_events += 1
        self.stream.catch_up(self.number)


@pytest.fixture
def gpu(monkeypatch):
    benchmark = torch.backends.cudnn.benchmark
    yield LateGpu(monkeypatch)
    torch.backends.cudnn.benchmark = benchmark


def through(gpu, lane, source, target):
    """As the worker does it; the tensors on the device are forgotten while all is still to come."""
    (uploaded,) = lane.upload([source])
    with lane.computing():
        result = uploaded.then(lambda value: value + 1)
    return lane.download([result], [target])


def test_everything_is_there_when_it_was_waited_for_however_late_the_gpu_is(gpu):
    lane = CudaLane(DEVICE)
    sources = [LateTensor(gpu, 10 * n) for n in range(4)]
    targets = [LateTensor(gpu) for _ in range(4)]
    waits = [through(gpu, lane, source, target) for source, target in zip(sources, targets, strict=True)]
    assert {target.cell[0] for target in targets} == {POISON}
    assert gpu.num_events == 0, "starting waited for the device"
    for number, wait in enumerate(waits):
        wait()
        assert targets[number].cell[0] == 10 * number + 1
    assert gpu.num_spoiled == 0
    assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("method", ["wait_stream", "record_stream"])
def test_the_stand_in_would_notice(gpu, monkeypatch, method):
    owner = LateStream if method == "wait_stream" else LateTensor
    monkeypatch.setattr(owner, method, lambda self, stream: None)
    target = LateTensor(gpu)
    wait = through(gpu, CudaLane(DEVICE), LateTensor(gpu, 1), target)
    if method == "wait_stream":
        wait()
        assert target.cell[0] == POISON
    else:
        assert gpu.num_spoiled == 2


def test_memory_that_runs_out_spoils_nothing_that_is_on_its_way():
    source, target = make_format("gbrp", 6, 4), make_format("gbrp", 12, 8)
    lane = PromisingLane(2)
    worker = make_worker(source, target, lane, batch=4)
    upscale_tensor, sizes = worker._upscaler.upscale_tensor, []

    def short_of_memory(x, size):
        sizes.append(len(x))
        if len(sizes) > 4 and len(x) > 1:  # the first four batches went well, and two of them are still on their way
            raise DeviceMemoryError("a neighbour came")
        return upscale_tensor(x, size)

    worker._upscaler.upscale_tensor = short_of_memory
    frames = make_frames(source, 30)
    come = stream(worker, frames, batch=4, queue_batches=2)
    assert lane.num_in_flight_most == 3
    assert sizes[:7] == [4, 4, 4, 4, 4, 2, 1] and set(sizes[7:]) == {1}
    assert [stamp.pts for stamp, _ in come] == [10 * n for n in range(30)]
    for planes, (_, found) in zip(frames, come, strict=True):
        assert all(np.array_equal(f, doubled(p)) for f, p in zip(found, planes, strict=True))


class FarLane(HostLane):
    """To the device whose tensors have no values: whatever would have to look at one, and so wait, fails there."""


def meta_worker(source_name, target_name, model, turned, **given):
    color = ColorTags(matrix=1, full_range=False, siting="left")
    source, target = (
        PictureFormat(width=width, height=height, layout=pixel_layout(name), color=color)
        for name, width, height in ((source_name, 21, 17), (target_name, 42, 34))
    )
    engine = "torch" if model.startswith("real") else "auto"
    upscaler = Upscaler(UpscaleOptions(model=model, device="cpu", engine=engine, **given))
    upscaler.device = torch.device("meta")
    network = getattr(upscaler._engine, "_network", None)
    if network is not None:
        network.to("meta")
    lane, sizes = FarLane(), {"batch": 3, "queue_batches": 1}
    return FrameWorker(upscaler, source, target, turned, lane, time_base=Fraction(1), **sizes), source


@pytest.mark.parametrize("turned", [Orientation(), Orientation(flipped_x=True, flipped_y=True)])
@pytest.mark.parametrize(
    ("source", "target", "model", "given"),
    [
        ("yuv420p", "yuv420p", "realesr-animevideov3", {}),
        ("yuv420p", "yuv420p", "realesr-animevideov3", {"tile": 32, "blend": 0.5}),
        ("yuv422p10le", "yuv420p", "lanczos", {}),
        ("gbrp", "yuv444p10le", "bicubic", {}),
        ("gray12le", "gray", "nearest", {}),
        ("yuva444p", "yuva420p", "realesr-animevideov3", {"alpha": "network"}),
        ("gbrpf32le", "gbrpf32le", "realesr-animevideov3", {}),
        ("gbrp", "gbrpf16le", "lanczos", {}),
    ],
)
def test_a_batch_is_started_without_waiting_for_any_value(monkeypatch, source, target, model, turned, given):
    worker, picture = meta_worker(source, target, model, turned, **given)
    dtype = {"f16": torch.float16, "f32": torch.float32}.get(picture.layout.name[-5:-2])
    dtype = dtype or (torch.uint16 if picture.layout.depth > 8 else torch.uint8)
    planes = [torch.empty((3, *shape), dtype=dtype, device="meta") for shape in picture.plane_shapes]

    def start():
        with torch.inference_mode():
            return worker._compute(planes, worker._upscaler)

    assert {result.device.type for result in start()} == {"meta"}
    # Small constants from the host are copied to it once; a copy from pageable memory would make it wait each time.
    for name in ("tensor", "as_tensor", "from_numpy", "scalar_tensor"):
        monkeypatch.setattr(torch, name, None)
    start()


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "FIND was unable to find an engine to execute this computation",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_libraries_that_find_no_memory_are_understood(text):
    with (
        pytest.raises(DeviceMemoryError, match="cuda:0 ran out of memory on 2 frames"),
        memory_errors(DEVICE, "2 frames"),
    ):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="illegal memory access"), memory_errors(DEVICE, "2 frames"):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_fp32_is_fp32():
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        settle(torch.device("cpu"))
        assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
        settle(DEVICE)
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept


@pytest.mark.parametrize(
    ("flops_per_pixel", "size", "frames"),
    [
        (35.85e6, (1280, 720), 1),  # RealESRGAN_x4plus: its layers fill a GPU with one such frame
        (35.85e6, (640, 360), 4),
        (1.238e6, (1280, 720), 3),  # realesr-animevideov3 is done before the host has started the next batch
        (1.238e6, (1920, 1080), 1),
        (1.238e6, (160, 120), 32),
        (0.0, (1280, 720), 1),
        (None, (7680, 4320), 1),
    ],
)
def test_batches_fill_a_gpu(flops_per_pixel, size, frames):
    picture = SimpleNamespace(width=size[0], height=size[1])
    source = SimpleNamespace(video=SimpleNamespace(picture=picture))
    prepared = SimpleNamespace(options=UpscaleOptions(), source=source)
    upscaler = SimpleNamespace(device=DEVICE, engine_info=SimpleNamespace(flops_per_pixel=flops_per_pixel))
    assert batch_size(prepared, upscaler) == frames
    prepared.options = UpscaleOptions(batch=7)
    assert batch_size(prepared, upscaler) == 7
