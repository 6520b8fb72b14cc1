"""Which devices a run uses, what they are called, and how much memory they have left."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vidsr.devices import granted
from vidsr.devices.memory import free_bytes
from vidsr.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """The torch device of `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        DeviceError: no such device on this machine, or a name of another form.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise DeviceError(f"device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"torch {torch.__version__} sees no GPU" if built else f"torch {torch.__version__} is built without CUDA"
        raise DeviceError(f"device {name} was asked for, but {why}; try --device cpu or auto")
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise DeviceError(f"device {name} was asked for, but there are {count} GPUs, cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", int(index or 0))


def resolve_devices(names: str) -> tuple[torch.device, ...]:
    """The torch devices of one name as `resolve_device` takes it, of several with commas between, or of `cuda:all`.

    The CPU may be named more than once: so many workers then share it.

    Raises:
        DeviceError: one is not there, a GPU is named twice, or GPUs and the CPU are mixed, whose results differ.
    """
    listed = [name.strip() for name in names.split(",")]
    if listed == ["cuda:all"]:
        resolve_device("cuda")
        return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count()))
    if len(listed) > 1 and {"auto", "cuda:all"} & set(listed):
        raise DeviceError(f"device is {names!r}; auto and cuda:all stand alone, a list names its devices one by one")
    devices = tuple(resolve_device(name) for name in listed)
    if len({device.type for device in devices}) > 1:
        raise DeviceError(
            f"device is {names!r}; GPUs compute in fp16 and the CPU in fp32, so that parts of one video would differ: "
            "name GPUs only, or cpu"
        )
    twice = [str(device) for device, count in Counter(devices).items() if count > 1 and device.type == "cuda"]
    if twice:
        raise DeviceError(
            f"device is {names!r}; {twice[0]} is there twice, and gains nothing by it: name each GPU once"
        )
    return devices


def settle(device: torch.device, num_threads: int | None = None) -> None:
    """What is right for the whole process before it computes on a device.

    What is called fp32 is that: torch's convolutions otherwise use TF32 on CUDA, which keeps 10 bits of each factor, no
    more than fp16 does. And torch has no more threads than processors were granted: it counts those of a container's
    host, whose threads would then wait for each other with most of them held back.

    Args:
        num_threads: that torch is to have; None leaves it as it is, within what was granted.
    """
    num_granted = granted.num_processors()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    elif "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > num_granted:
        torch.set_num_threads(num_granted)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def device_name(device: torch.device) -> str:
    """What people call it, e.g. "NVIDIA H100" or "Intel(R) Xeon(R) (2 threads)"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor_name()} ({torch.get_num_threads()} threads)"


def machine_name(device: torch.device) -> str:
    """The same by what there is and not by what is used of it, e.g. "Intel(R) Xeon(R), 2 processors"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor_name()}, {granted.num_processors()} processors"


def _processor_name() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return name


def device_names(devices: Sequence[torch.device]) -> str:
    """As `device_name`, of several: "2 x NVIDIA H100"."""
    counts = Counter(device_name(device) for device in devices)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())


@dataclass(frozen=True, kw_only=True)
class Device:
    """One that can be asked for."""

    name: str  # as options take it
    description: str  # what people call it; why there is none
    free_bytes: int | None

    def __str__(self) -> str:
        free = "" if self.free_bytes is None else f", {self.free_bytes / 2**30:.1f} GiB free"
        return f"{self.name}: {self.description}{free}"


def list_devices() -> list[Device]:
    """The CPU, and each GPU; a row of its own says where there is none."""
    devices = [torch.device("cpu"), *(torch.device("cuda", index) for index in range(torch.cuda.device_count()))]
    rows = [
        Device(name=str(device), description=device_name(device), free_bytes=free_bytes(device)) for device in devices
    ]
    if len(rows) > 1:
        return rows
    return [*rows, Device(name="cuda", description=f"none (torch {torch.__version__})", free_bytes=None)]
