"""Figures as a picture: frames per second of each case on a logarithmic scale, drawn as SVG by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from vidsr.measure.figures import Figures, Spread
from vidsr.measure.tables import number_text

_WIDTH, _LEFT, _RIGHT = 860, 300, 110  # of all, of the names, of the figures behind the marks
_TOP, _ROW, _BOTTOM = 64, 38, 36
_NETWORK_COLOR, _RUN_COLOR, _GRID_COLOR, _TEXT_COLOR = "#9aa5b1", "#1f6feb", "#e4e7eb", "#323f4b"
_STEPS = (1, 2, 5)


def svg(all_figures: Sequence[Figures]) -> str:
    """One row per case: the range and the median of the network alone, and of the whole run."""
    spreads = [spread for figures in all_figures for spread in _spreads(figures) if spread is not None]
    ticks = _ticks(min(spread.min for spread in spreads), max(spread.max for spread in spreads))
    height = _TOP + _ROW * len(all_figures) + _BOTTOM

    def at(fps: float) -> float:
        share = math.log(fps / ticks[0]) / math.log(ticks[-1] / ticks[0])
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    machines = dict.fromkeys(figures.machine["device"] for figures in all_figures)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{_TEXT_COLOR}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "Frames per second: " + ", ".join(machines), size=14),
        *_legend(),
    ]
    for tick in ticks:
        x = at(tick)
        parts.append(_line(x, _TOP - 8, x, height - _BOTTOM + 4, _GRID_COLOR, 1))
        parts.append(_text(x, height - _BOTTOM + 20, f"{tick:g}", anchor="middle"))
    for row, figures in enumerate(all_figures):
        y = _TOP + _ROW * row + _ROW / 2
        parts.append(_text(16, y - 3, f"{figures.model}"))
        width_in, height_in, width_out, height_out = *figures.size, *figures.target_size
        about = f"{width_in}x{height_in} to {width_out}x{height_out}, {figures.where}"
        parts.append(_text(16, y + 11, about, size=10, color="#7b8794"))
        network_fps, run_fps = _spreads(figures)
        if network_fps is not None:
            parts += _mark(at, network_fps, y - 6, _NETWORK_COLOR)
        assert run_fps is not None
        parts += _mark(at, run_fps, y + 6, _RUN_COLOR)
        parts.append(_text(_WIDTH - _RIGHT + 16, y + 4, f"{number_text(run_fps.median)} fps"))
    return "\n".join([*parts, "</svg>", ""])


def _spreads(figures: Figures) -> tuple[Spread | None, Spread | None]:
    return (figures.network.fps if figures.network is not None else None), figures.run.fps


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... from below the lowest to above the highest."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [step * 10.0**power for power in range(first, last + 1) for step in _STEPS]
    below = max((tick for tick in every if tick <= low), default=every[0])
    above = min((tick for tick in every if tick > high), default=every[-1])
    return [tick for tick in every if below <= tick <= above]


def _legend() -> list[str]:
    parts, x = [], _LEFT
    for color, text in ((_NETWORK_COLOR, "network only"), (_RUN_COLOR, "end to end: decode, network, resize, encode")):
        parts += [f'<circle cx="{x}" cy="40" r="4.5" fill="{color}"/>', _text(x + 10, 44, text)]
        x += 110
    return parts


def _mark(at: Callable[[float], float], fps: Spread, y: float, color: str) -> list[str]:
    return [
        _line(at(fps.min), y, at(fps.max), y, color, 3),
        f'<circle cx="{at(fps.median):.1f}" cy="{y:.1f}" r="4.5" fill="{color}"/>',
    ]


def _line(x1: float, y1: float, x2: float, y2: float, color: str, width: int) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}" '
        'stroke-linecap="round"/>'
    )


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", color: str = _TEXT_COLOR) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
    )
