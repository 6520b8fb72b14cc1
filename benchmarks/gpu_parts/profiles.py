"""What a few batches spend the device's time on, all of the worker's way: by kind of work, and by kernel."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, record_function

from gpu_parts.bench import Bench
from gpu_parts.cases import Case
from gpu_parts.steps import Figures, Part, Step
from vidsr.inference.unchanged_regions import Regions
from vidsr.inference.upscaler import Upscaler
from vidsr.measure.tables import table
from vidsr.media.read.video import DecodedFrame
from vidsr.run.batch import HostBatch
from vidsr.run.frame_worker import FrameWorker, open_worker
from vidsr.run.prepare import read

_NUM_BATCHES = 3
_NUM_LONGEST = 15
_NETWORK, _PICTURE = "vidsr network", "vidsr picture"
# In the network, by the operation that launched a kernel; the first that fits.
_BY_OPERATION = (
    ("cat", r"aten::cat$"),
    ("activation", r"aten::(leaky_relu|prelu|_prelu_kernel)"),
    ("mul, add", r"aten::(mul|add|sub|lerp)"),
    ("copy", r"aten::(copy|clone|contiguous|to|fill|zero)"),
)
# By the kernel's own name, where nothing else tells: a recorded graph has no operations.
_BY_KERNEL = (
    ("transfer", r"Memcpy (HtoD|DtoH)"),
    ("copy", r"Memcpy|Memset|copy_kernel|nchwToNhwc|nhwcToNchw"),
    ("cat", r"CatArray"),
    ("activation", r"leaky_relu|prelu"),
    ("convolution", r"conv|fprop|cudnn|implicit|xmma|cutlass|gemm|nvjet"),
    ("mul, add", r"CUDAFunctor_add|MulFunctor|AddFunctor|BinaryFunctor|AUnaryFunctor|BUnaryFunctor"),
)


class SpannedUpscaler(Upscaler):
    """Marks what is the network's, and what is done to its result."""

    def run_network(self, x: Tensor) -> Tensor:
        with record_function(_NETWORK):
            return super().run_network(x)

    def upscale_tensor(
        self, rgb_nchw: Tensor, size: tuple[int, int] | None = None, regions: Regions | None = None
    ) -> Tensor:
        with record_function(_PICTURE):
            return super().upscale_tensor(rgb_nchw, size, regions)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One kernel on a GPU, or one operation on the CPU."""

    name: str
    operations: tuple[str, ...]  # what it was launched by, the innermost first
    seconds: float

    @property
    def kind(self) -> str:
        return kind_of(self.name, self.operations)


def kind_of(name: str, operations: Sequence[str]) -> str:
    """What kind of work a kernel is.

    Args:
        name: its own.
        operations: PyTorch's that launched it, the innermost first.
    """
    of_kernel = next((kind for kind, pattern in _BY_KERNEL if re.search(pattern, name)), "other")
    if of_kernel == "transfer":
        return of_kernel
    innermost = next((operation for operation in operations if operation.startswith("aten::")), None)
    if innermost is None:
        return of_kernel
    if _NETWORK not in operations:
        return "resize" if _PICTURE in operations else "colour and checks"
    if re.match(r"aten::(cudnn|mkldnn|_slow|slow|miopen|thnn)?_?conv", innermost):
        return "convolution"
    if any("conv" in operation for operation in operations):
        return "bias"  # what a convolution launches beside itself
    return next((kind for kind, pattern in _BY_OPERATION if re.match(pattern, innermost)), of_kernel)


def steps(bench: Bench) -> Iterator[Step]:
    for case in bench.cases:
        yield Step(name=case.name, needs_seconds=8, measure=partial(measure, bench, case))


def measure(bench: Bench, case: Case) -> Figures:
    """By plain PyTorch, whose kernels are those of the other engines but for `compiled`."""
    options = bench.options(case)
    upscaler, batch = SpannedUpscaler(options), bench.batch(case)
    prepared = bench.prepare(case, options, max(batch, 2))
    worker = open_worker(prepared, upscaler, batch)
    frames = list(read(prepared, prepared.window, lambda text: None))[:batch]
    _pass(worker, frames)  # to warm up
    on_cuda = bench.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with warnings.catch_warnings():
        # Of several cycles, which there are none of; torch 2.11 says so each time.
        warnings.filterwarnings("ignore", message="Warning: Profiler clears events")
        with torch.profiler.profile(activities=activities) as recorded:
            _pass(worker, frames)
    found = list(_works(recorded.events(), on_cuda=on_cuda))
    if not found:
        raise RuntimeError("the profiler saw no kernels: it may not be allowed to")
    return {"case": case.name, "batch": batch, **shares(found)}


def _pass(worker: FrameWorker, frames: Sequence[DecodedFrame]) -> None:
    def batches() -> Iterator[HostBatch]:
        for _ in range(_NUM_BATCHES):
            filled = worker.free_inputs.get()
            filled.clear()
            for frame in frames:
                filled.append(frame.planes, frame.time)
            yield filled

    for out in worker.run(batches()):
        worker.free_outputs.put(out)


def _works(events: Any, *, on_cuda: bool) -> Iterator[Work]:
    """Args: events: the profiler's, which it has no type for."""
    linked: dict[str, float] = defaultdict(float)  # seconds by kernel
    for event in events:
        if event.device_type != DeviceType.CPU:
            continue
        operations, ancestor = [], event
        while ancestor is not None:
            operations.append(ancestor.name)
            ancestor = ancestor.cpu_parent
        if not on_cuda:
            yield Work(name=event.name, operations=tuple(operations), seconds=event.self_cpu_time_total / 1e6)
        for kernel in event.kernels:
            if kernel.name not in (_NETWORK, _PICTURE):  # a span, as the device sees it
                linked[kernel.name] += kernel.duration / 1e6
                yield Work(name=kernel.name, operations=tuple(operations), seconds=kernel.duration / 1e6)
    for event in events:
        is_kernel = event.device_type == DeviceType.CUDA and not event.is_user_annotation
        if is_kernel and event.name not in (*linked, _NETWORK, _PICTURE):
            yield Work(name=event.name, operations=(), seconds=event.self_device_time_total / 1e6)


def shares(works: Sequence[Work]) -> Figures:
    """`seconds` of all, shares of the kinds, and the longest kernels."""
    total = sum(work.seconds for work in works)
    by_kind: dict[str, float] = defaultdict(float)
    by_name: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for work in works:
        by_kind[work.kind] += work.seconds
        by_name[work.name] += work.seconds
        calls[work.name] += 1
    longest = sorted(by_name, key=by_name.__getitem__, reverse=True)[:_NUM_LONGEST]
    return {
        "seconds": total,
        "launches": len(works) // _NUM_BATCHES,
        "kinds": {
            kind: seconds / total for kind, seconds in sorted(by_kind.items(), key=lambda item: item[1], reverse=True)
        },
        "longest": [{"name": name[:100], "share": by_name[name] / total, "calls": calls[name]} for name in longest],
    }


def line(figures: Figures) -> str:
    kinds = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in figures["kinds"].items() if share >= 0.005)
    ms = 1000 * figures["seconds"] / _NUM_BATCHES
    return f"{figures['launches']} launches and {ms:.2f} ms a batch of {figures['batch']}: {kinds}"


def text(all_figures: Sequence[Figures]) -> str:
    kinds = list(dict.fromkeys(kind for figures in all_figures for kind in figures["kinds"]))
    header = ("network", "batch", "launches", "ms", *kinds)
    rows = [
        (
            figures["case"],
            str(figures["batch"]),
            str(figures["launches"]),
            f"{1000 * figures['seconds'] / _NUM_BATCHES:.2f}",
            *(f"{100 * figures['kinds'].get(kind, 0):.1f} %" for kind in kinds),
        )
        for figures in all_figures
    ]
    return table(header, rows)


def longest_text(all_figures: Sequence[Figures]) -> str:
    """The longest kernels, a table for each network."""
    tables = []
    for figures in all_figures:
        rows = [(f"`{k['name']}`", f"{100 * k['share']:.1f} %", str(k["calls"])) for k in figures["longest"]]
        tables.append(table((f"{figures['case']}, the longest kernels", "share", "calls"), rows))
    return "\n\n".join(tables)


PART = Part(name="profile", steps=steps, line=line, text=text)
