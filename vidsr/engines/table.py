"""Every engine in one table: a new one is a file beside this, a row here, a line in the contract test."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Literal, Protocol

import torch

from vidsr.engines import compiled, graphs, openvino, winograd
from vidsr.engines.base import Engine
from vidsr.engines.torch import TorchEngine
from vidsr.errors import UsageError
from vidsr.models.network import Network
from vidsr.version import __version__

RunPrecision = Literal["fp32", "fp16"]


class OpensEngine(Protocol):
    """What the class of an engine is to this table."""

    def __call__(
        self, network: Network, device: torch.device, precision: RunPrecision, *, num_threads: int | None = None
    ) -> Engine:
        """Get a network ready to run.

        Args:
            network: loaded weights on the CPU; the engine may keep it, move it and change its memory layout.
            device: where pictures come from and go to.
            precision: what to compute in.
            num_threads: processors to use; None leaves it to the engine. What it means off the CPU is up to it.
        """
        ...


def _of_vidsr() -> str:
    return __version__


def _of_torch() -> str:
    return f"{__version__}, torch {torch.__version__}"


def _of_openvino() -> str:
    return f"{__version__}, openvino {metadata.version('openvino')}"


def _is_here() -> None:
    return None


def _runs_all(network: Network) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class EngineRow:
    """One engine: what it is, where it runs, and how it is opened."""

    name: str
    summary: str
    precisions: Mapping[str, tuple[RunPrecision, ...]]  # by the type of device: cpu, cuda
    open: OpensEngine
    why_absent: Callable[[], str | None] = _is_here  # what is missing on this machine and what to do; None: nothing
    supports: Callable[[Network], str | None] = _runs_all  # why it cannot run a network; None: it can
    version: Callable[[], str] = _of_vidsr  # of all that decides its speed; where it is here
    uses_threads: bool = True  # whether their number matters to its speed on the CPU
    by_name_only: bool = False  # neither measured nor chosen by `auto`; the row says why
    by_default: bool = False  # whether `auto` takes it on a machine that was not measured

    def why_not(self, network: Network, device: torch.device, precision: RunPrecision) -> str | None:
        """Why it cannot run that network there, as the end of a sentence; None: it can."""
        absent = self.why_absent()
        if absent is not None:
            return f"it is not on this machine: {absent}"
        if device.type not in self.precisions:
            return f"it runs on {' and '.join(self.precisions)}, not on {device.type}"
        known = self.precisions[device.type]
        if precision not in known:
            return f"it computes in {' and '.join(known)} on {device.type}, not in {precision}"
        return self.supports(network)


# The first of those by default that can run a network is what `auto` takes where nothing was measured.
ENGINES: tuple[EngineRow, ...] = (
    EngineRow(
        name="winograd",
        summary="our own kernels for the processor, a fifth of the multiplications",
        precisions={"cpu": ("fp32",)},
        open=winograd.WinogradEngine,
        why_absent=winograd.why_absent,
        supports=winograd.supports,
        by_default=True,
    ),
    EngineRow(
        name="torch",
        summary="PyTorch, one operation after the other; the reference",
        precisions={"cpu": ("fp32",), "cuda": ("fp16", "fp32")},
        open=TorchEngine,
        version=_of_torch,
        by_default=True,
    ),
    EngineRow(
        name="cuda-graphs",
        summary="PyTorch, all layers of a shape launched as one",
        precisions={"cuda": ("fp16", "fp32")},
        open=graphs.CudaGraphEngine,
        why_absent=graphs.why_absent,
        version=_of_torch,
    ),
    EngineRow(
        name="cuda-graphs-padded",
        summary="the same, with the network's first and last layer filled up to 8 channels",
        precisions={"cuda": ("fp16", "fp32")},
        open=partial(graphs.CudaGraphEngine, pads_ends=True),
        why_absent=graphs.why_absent,
        version=_of_torch,
    ),
    EngineRow(
        name="compiled",
        summary="PyTorch, compiled at the first frame for minutes; by name only",
        precisions={"cuda": ("fp16", "fp32")},
        open=compiled.CompiledEngine,
        why_absent=compiled.why_absent,
        version=_of_torch,
        by_name_only=True,  # compiling takes longer than a clip
    ),
    EngineRow(
        name="openvino",
        summary="OpenVINO on the processor",
        precisions={"cpu": ("fp32",)},
        open=openvino.OpenVinoEngine,
        why_absent=openvino.why_absent,
        supports=openvino.supports,
        version=_of_openvino,
    ),
    EngineRow(
        name="openvino-gpu",
        summary="OpenVINO on Intel's graphics unit, all else on the processor",
        precisions={"cpu": ("fp32",)},
        open=partial(openvino.OpenVinoEngine, unit="GPU"),
        why_absent=partial(openvino.why_absent, "GPU"),
        supports=openvino.supports,
        version=_of_openvino,
        uses_threads=False,
    ),
)


def find_engine(name: str) -> EngineRow:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    row = next((row for row in ENGINES if row.name == name), None)
    if row is None:
        known = [row.name for row in ENGINES]
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"engine is {name!r}; it must be auto, {' or '.join(known)}{hint}")
    return row
