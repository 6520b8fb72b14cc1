"""Which engine runs a network: the one asked for, the fastest of those measured here, or the default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vidsr.engines.base import Engine
from vidsr.engines.measured import Measurement
from vidsr.engines.table import ENGINES, EngineRow, RunPrecision, find_engine
from vidsr.errors import UsageError
from vidsr.models.network import Network

# The default stays where another is faster by less than timings waver.
_WORTH_A_CHANGE = 1.03


@dataclass(frozen=True, kw_only=True)
class ChosenEngine:
    """The engine of a run and why it is that one."""

    row: EngineRow
    reason: str
    num_threads: int | None = None  # None: as the engine likes

    def open(self, network: Network, device: torch.device, precision: RunPrecision) -> Engine:
        return self.row.open(network, device, precision, num_threads=self.num_threads)


def choose_engine(
    name: str,
    network: Network,
    device: torch.device,
    precision: RunPrecision,
    measured: Sequence[Measurement] = (),
) -> ChosenEngine:
    """The engine that `auto` or a name means for a network on a device.

    Args:
        measured: what is known of this network on this device in this precision.

    Raises:
        UsageError: no such engine, or it cannot run this network here; the message says why.
    """
    if name != "auto":
        row = find_engine(name)
        why_not = row.why_not(network, device, precision)
        if why_not is not None:
            raise UsageError(f"engine {name} was asked for, but {why_not}; try --engine auto")
        best = fastest([m for m in measured if m.engine == name and m.version == row.version()])
        return ChosenEngine(row=row, reason="asked for", num_threads=best.num_threads if best else None)
    # Asking whether an engine is here may import its library: only those that could be chosen are asked.
    asked = [row for row in ENGINES if row.by_default or any(row.name == m.engine for m in measured)]
    able = {row.name: row for row in asked if row.why_not(network, device, precision) is None}
    current = [m for m in measured if m.engine in able and m.version == able[m.engine].version()]
    failed = {m.engine for m in current} - {m.engine for m in current if m.passed}
    default = next((row for row in able.values() if row.by_default and row.name not in failed), able["torch"])
    best = fastest(current)
    if best is None:
        why = "measured with other versions than these" if measured else "not measured on this machine"
        return ChosenEngine(row=default, reason=f"default; {why}, which `vidsr tune` does")
    of_default = fastest([m for m in current if m.engine == default.name])
    if of_default is not None and best.frames_per_second < _WORTH_A_CHANGE * of_default.frames_per_second:
        best = of_default
    other = fastest([m for m in current if m.engine != best.engine])
    against = f", {other.engine} {other.frames_per_second:.3g}" if other else ""
    reason = f"tuned on this machine: {best.frames_per_second:.3g} fps at {best.size}{against}"
    return ChosenEngine(row=able[best.engine], reason=reason, num_threads=best.num_threads)


def fastest(measured: Sequence[Measurement]) -> Measurement | None:
    """The fastest measurement, at the largest size measured, that passed the gate; None: none did."""
    passed = [m for m in measured if m.passed]
    largest = max((m.width * m.height for m in passed), default=0)
    return max((m for m in passed if m.width * m.height == largest), key=lambda m: m.frames_per_second, default=None)
