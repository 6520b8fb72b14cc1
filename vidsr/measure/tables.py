"""Figures as tables that read well on a terminal and are Markdown too, and blocks of pages that are made anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vidsr.errors import TargetError, UsageError
from vidsr.measure.figures import STAGES, Figures, Spread, names

# Between rounds the same matrix product should take the same time; where it differs by more, say so.
_STEADY = 0.1


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned: the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def spread_text(spread: Spread | None, digits: int | None = None) -> str:
    """ "7.70 (7.61 to 7.82)": the median, and the range of all. Digits behind the point; None: three in all."""
    if spread is None:
        return "-"
    middle, low, high = (number_text(value, digits) for value in (spread.median, spread.min, spread.max))
    return middle if low == high else f"{middle} ({low} to {high})"


def number_text(value: float, digits: int | None = None) -> str:
    """Without an exponent; three digits that count where `digits` is None."""
    if digits is None:
        whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
        digits = max(3 - whole, 0)
    return f"{value:.{digits}f}"


def bench_text(all_figures: Sequence[Figures]) -> str:
    """Everything a reader needs: the machine, the tables, how steady it was."""
    parts = [_machine_text(all_figures), speed_table(all_figures), stages_table(all_figures)]
    parts += [memory_table(all_figures), steadiness_text(all_figures)]
    return "\n\n".join(part for part in parts if part)


def speed_table(all_figures: Sequence[Figures]) -> str:
    rates = ("network only, fps", "end to end, fps", "of network only", "GFLOP/s", "of peak")
    header = ("model, input", "on", *rates, "PSNR", "levels")
    rows = []
    for name, figures in zip(names(all_figures), all_figures, strict=True):
        network, run = figures.network, figures.run
        rows.append(
            (
                name,
                figures.where,
                spread_text(None if network is None else network.fps),
                spread_text(run.fps),
                spread_text(run.of_network, 2),
                spread_text(None if network is None else network.gflops, 0),
                spread_text(None if network is None else network.of_peak, 2),
                "-" if network is None else "equal" if network.psnr_db is None else f"{network.psnr_db:.1f} dB",
                "-" if network is None else f"{network.max_levels:.3f}",
            )
        )
    return table(header, rows)


def stages_table(all_figures: Sequence[Figures]) -> str:
    """How much of the run's time each stage was at work; they overlap."""
    header = ("busy, of the run's time", *STAGES, "frames", "start and end")
    rows = [
        (
            name,
            *(f"{100 * figures.run.busy[stage]:.1f} %" for stage in STAGES),
            str(figures.run.num_frames),
            f"{figures.run.fixed_seconds:.2f} s",
        )
        for name, figures in zip(names(all_figures), all_figures, strict=True)
    ]
    return table(header, rows)


def memory_table(all_figures: Sequence[Figures]) -> str:
    has_gpu = any(figures.memory.gpu_peak_bytes is not None for figures in all_figures)
    header = ("memory", "before the first frame", "steady", "peak", "kB per input pixel")
    rows = []
    for name, figures in zip(names(all_figures), all_figures, strict=True):
        memory = figures.memory
        in_mib = [_mib(value) for value in (memory.start_bytes, memory.steady_bytes, memory.peak_bytes)]
        used, before = (
            (memory.gpu_peak_bytes, 0) if has_gpu and memory.gpu_peak_bytes else (memory.peak_bytes, memory.start_bytes)
        )
        num_pixels = figures.size[0] * figures.size[1] * figures.batch
        per_pixel = "-" if used is None or before is None else f"{(used - before) / num_pixels / 1000:.2f}"
        rows.append((name, *in_mib, per_pixel, *([_mib(memory.gpu_peak_bytes)] if has_gpu else [])))
    return table((*header, *(["GPU peak"] if has_gpu else [])), rows)


def steadiness_text(all_figures: Sequence[Figures]) -> str:
    """How much the machine's own speed varied, by the best product of each round."""
    lines = []
    for device, precision in dict.fromkeys((figures.device, figures.precision) for figures in all_figures):
        networks = [
            figures.network
            for figures in all_figures
            if figures.network is not None and (figures.device, figures.precision) == (device, precision)
        ]
        if not networks:
            continue
        low = min(network.peak_gflops.min for network in networks)
        best = max(networks, key=lambda network: network.peak.gflops).peak
        lines.append(
            f"Peak of {device} in {precision}: {best.gflops:.0f} GFLOP/s ({best.by}); from round to round {low:.0f} "
            f"to {best.gflops:.0f}."
        )
        if low < (1 - _STEADY) * best.gflops:
            lines.append(
                "The machine was not quiet, or changes its clock: what lies closer together than these rounds do "
                "may well be equal. Ratios are taken within one round each."
            )
    return "\n".join(lines)


def write_block(page: Path, name: str, text: str) -> None:
    """Put text between `<!-- begin NAME -->` and `<!-- end NAME -->` in a page, in place of what stood there.

    Raises:
        UsageError: the page has no such lines. TargetError: it cannot be written.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    try:
        before = page.read_text(encoding="utf-8")
        after, num_blocks = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", before, flags=re.DOTALL
        )
        if num_blocks != 1:
            raise UsageError(f"{page}: has {num_blocks} blocks between {begin} and {end}; one was expected")
        page.write_text(after, encoding="utf-8")
    except OSError as error:
        raise TargetError(f"{page}: cannot be written ({error.strerror})") from error


def _mib(num_bytes: int | None) -> str:
    return "-" if num_bytes is None else f"{num_bytes / 2**20:.0f} MiB"


def _machine_text(all_figures: Sequence[Figures]) -> str:
    lines = []
    for machine in {figures.machine["device"]: figures.machine for figures in all_figures}.values():
        others = ", ".join(f"{key} {value}" for key, value in machine.items() if key not in ("device", "system"))
        lines.append(f"{machine['device']}; {others}; {machine['system']}.")
    return "\n".join(lines)
