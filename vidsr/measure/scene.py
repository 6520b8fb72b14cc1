"""The picture to measure with: drawn by rule, the same everywhere, with edges, texture, fine lines and grain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SEED = 7
_TRAVEL_PX = 48  # how far the camera pans before it turns round
_GRAIN_LEVELS = 4.0
_GRAIN_MARGIN_PX = 64
_CELLS_PX = (64, 16, 4)  # of the texture, coarse to fine
_NUM_DISKS, _NUM_BARS = 12, 8


class Scene:
    """A painted scene that a camera pans over; no frame is the one before it.

    Args:
        width, height: of the frames, in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        generator = np.random.default_rng(_SEED)
        self._canvas = _paint(generator, height + _TRAVEL_PX, width + _TRAVEL_PX)
        grain_shape = (height + _GRAIN_MARGIN_PX, width + _GRAIN_MARGIN_PX, 1)
        self._grain = generator.normal(0, _GRAIN_LEVELS, grain_shape).astype(np.float32)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 R'G'B' of frame `number`."""
        left, top = _back_and_forth(3 * number, _TRAVEL_PX), _back_and_forth(2 * number, _TRAVEL_PX)
        window = self._canvas[top : top + self._height, left : left + self._width]
        left, top = 37 * number % _GRAIN_MARGIN_PX, 23 * number % _GRAIN_MARGIN_PX
        grain = self._grain[top : top + self._height, left : left + self._width]
        codes: NDArray[np.uint8] = np.clip(np.rint(window + grain), 0, 255).astype(np.uint8)
        return codes


def random_picture(width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 in which every value is equally likely: the hardest picture there is."""
    return np.random.default_rng(_SEED).integers(0, 256, (height, width, 3), np.uint8)


def _back_and_forth(distance: int, length: int) -> int:
    return length - abs(distance % (2 * length) - length)


def _paint(generator: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 3) in levels of 255: a lit ground with texture, then disks, bars, and rings that grow finer."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 70 + 100 * (y / height) + 20 * (x / width)
    for cell_px, levels in zip(_CELLS_PX, (24.0, 12.0, 6.0), strict=True):
        light += levels * _smooth_noise(generator, height, width, cell_px)
    picture: NDArray[np.float32] = light[..., None] * np.array([1.0, 0.92, 0.78], np.float32)
    side = min(height, width)
    for _ in range(_NUM_DISKS):
        radius = side * generator.uniform(0.03, 0.16)
        distance = np.hypot(x - width * generator.uniform(), y - height * generator.uniform())
        _cover(picture, radius - distance, generator.uniform(0, 255, 3))
    for _ in range(_NUM_BARS):
        angle, half_width = generator.uniform(0, np.pi), side * generator.uniform(0.004, 0.03)
        across = (x - width * generator.uniform()) * np.sin(angle) - (y - height * generator.uniform()) * np.cos(angle)
        _cover(picture, half_width - np.abs(across), generator.uniform(0, 255, 3))
    radius = 0.25 * side
    distance = np.hypot(x - 0.7 * width, y - 0.4 * height)
    rings = 127 + 100 * np.cos(np.pi / 4 * distance**2 / radius)
    _cover(picture, radius - distance, np.repeat(rings[..., None], 3, axis=2))
    return picture


def _cover(picture: NDArray[np.float32], inside_px: NDArray[np.float32], color: NDArray[np.float64]) -> None:
    """Paint what lies inside, with an edge as soft as a camera's: one pixel."""
    share = np.clip(inside_px + 0.5, 0, 1)[..., None]
    picture += share * (color - picture)


def _smooth_noise(generator: np.random.Generator, height: int, width: int, cell_px: int) -> NDArray[np.float32]:
    """(height, width) in [-1, 1]: random values on a grid of cells, straight lines between."""
    grid = generator.uniform(-1, 1, (height // cell_px + 2, width // cell_px + 2)).astype(np.float32)
    row, down = np.divmod(np.arange(height), cell_px)
    column, right = np.divmod(np.arange(width), cell_px)
    down_share = (down / cell_px).astype(np.float32)[:, None]
    right_share = (right / cell_px).astype(np.float32)
    lines: NDArray[np.float32] = grid[row] * (1 - down_share) + grid[row + 1] * down_share
    noise: NDArray[np.float32] = lines[:, column] * (1 - right_share) + lines[:, column + 1] * right_share
    return noise
