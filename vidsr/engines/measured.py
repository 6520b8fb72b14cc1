"""What engines were measured to do on this machine: kept by `vidsr tune`, used by `auto`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from vidsr.cache import cache_folder, keep_entry, read_entries
from vidsr.devices.names import machine_name
from vidsr.engines.gate import Closeness
from vidsr.models.network import Network

# Devices times networks times precisions; the oldest go when there are more.
_MAX_ENTRIES = 200


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One engine with one number of threads at one size."""

    engine: str
    version: str  # of the engine, as its row of the table says it
    num_threads: int | None  # None: as the engine likes
    width: int  # of the network's input, in pixels
    height: int
    frames_per_second: float  # by the median call; 0 where it failed
    psnr_db: float  # of the worst frame against fp32 PyTorch's; at most 200, which stands for equal
    share_off: float  # see `gate.Closeness`, like the next
    max_levels: float
    error: str | None = None  # what went wrong, instead of a result

    def __post_init__(self) -> None:
        numbers = (self.frames_per_second, self.psnr_db, self.share_off, self.max_levels, self.width, self.height)
        if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
            raise ValueError(f"{self}: not a measurement")
        if self.num_threads is not None and (type(self.num_threads) is not int or self.num_threads < 1):
            raise ValueError(f"{self}: not a number of threads")

    @property
    def passed(self) -> bool:
        """Whether the engine may be chosen: it worked, and what it gave is close enough to fp32 PyTorch."""
        close = Closeness(psnr_db=self.psnr_db, share_off=self.share_off, max_levels=self.max_levels)
        return self.error is None and close.passed and self.frames_per_second > 0

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


def measured_path() -> Path:
    """The file; beside the weights, as VIDSR_CACHE names that folder and no other."""
    return cache_folder() / "engines.json"


def measured_key(network: Network, device: torch.device, precision: str) -> str:
    """What measurements belong to: this machine's device, an architecture and its size, a precision.

    Weights do not matter: a network trained anew is as fast.
    """
    shape = f"{type(network).__name__} {network.scale}x, {network.num_parameters} parameters"
    return f"{machine_name(device)}; {shape}; {precision}"


def remember_measured(key: str, measurements: Sequence[Measurement]) -> None:
    """Keep measurements in place of earlier ones. A folder that cannot be written to is let be."""
    keep_entry(measured_path(), key, [asdict(m) for m in measurements], max_entries=_MAX_ENTRIES)


def recall_measured(key: str) -> list[Measurement]:
    """What was kept under a key; nothing where nothing was.

    Raises:
        ValueError: the file is damaged; the message says which and what to do.
    """
    entries = read_entries(measured_path())
    try:
        if entries is None:
            raise ValueError("no table")
        return [Measurement(**fields) for fields in entries.get(key, [])]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{measured_path()} is damaged and not used; `vidsr tune` makes it anew") from error
