"""Networks on the CPU by our own kernels: Winograd's F(6x6, 3x3) in fp32, compiled from native/."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from vidsr.devices.memory import memory_errors
from vidsr.devices.threads import threads_of_engine
from vidsr.engines.base import EngineInfo, Work
from vidsr.engines.winograd_layers import NotLoweredError, lower
from vidsr.engines.winograd_plan import FLOATS, LayerSpec, NetworkSpec, PictureSpec, plan_of, pointer
from vidsr.errors import DeviceError, UsageError
from vidsr.models.families import describe
from vidsr.models.graph import pad_to_multiple
from vidsr.models.network import Network

_LIBRARY = Path(__file__).with_name("_winograd.so")
_VERSION = 1  # of native/winograd/interface.cpp
_DONE, _NO_MEMORY = 0, 1
# Rows of tiles that the layers of a band go ahead of each other: the whole band's rows stay in the cache.
_BAND_TILES = 4
# Of local pictures only the rows in use are kept: from 80 rows on equally many for every height.
_PLANNED_HEIGHT_PX = 480


class WinogradEngine:
    """Runs a network on the CPU. Calls from several threads wait for each other.

    Args:
        network: one that `supports` has nothing against.
        num_threads: of this engine, which workers on the CPU share; None is as many as PyTorch uses in the thread
            that calls. The result is the same with any number.
        instruction_set: avx512, avx2 or portable; None is the best that this processor has.
        band_tiles: rows of tiles that layers go ahead of each other; 0 runs each over the whole picture.

    Raises:
        UsageError: a number that is too small.
        DeviceError: the compiled part is missing, or the network is of another kind: see `why_absent` and `supports`.
        DeviceMemoryError: the weights do not fit.

    `run` raises DeviceError where its threads cannot be started.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Literal["fp32", "fp16"],
        *,
        num_threads: int | None = None,
        instruction_set: str | None = None,
        band_tiles: int = _BAND_TILES,
    ) -> None:
        if num_threads is not None and num_threads < 1:
            raise UsageError(f"num_threads is {num_threads}; it must be 1 or more, or None for as many as PyTorch uses")
        if band_tiles < 0:
            raise UsageError(f"band_tiles is {band_tiles}; it must be 1 or more, or 0 for the whole picture")
        reason = why_absent() or supports(network)
        if reason is not None:
            raise DeviceError(f"the winograd engine cannot run this: {reason}; use the torch engine")
        if device.type != "cpu" or precision != "fp32":
            raise DeviceError(f"the winograd engine computes in fp32 on the CPU, not in {precision} on {device}")
        graph = describe(network)
        assert graph is not None
        name = (instruction_set or "").encode()
        self._library = _library()
        lanes = self._library.vidsr_lanes(name)
        if lanes == 0:
            raise DeviceError(f"this processor or build has no {instruction_set}; leave it unset for the best it has")
        plan = plan_of(graph, lanes)
        self._multiple_px, self._fold, self._num_threads = plan.multiple_px, plan.fold, num_threads
        spec = plan.spec(band_tiles)
        self._handle = ctypes.c_void_p()
        with memory_errors(device, "the weights"):
            _check(self._library.vidsr_network_create(ctypes.byref(spec), name, ctypes.byref(self._handle)))
        self._in_channels = plan.in_channels
        self._out_channels, self._doubled = plan.out_channels, plan.shuffle << plan.pictures[-1].doublings
        bytes_per_pixel, bytes_per_column = self._memory()
        self._info = EngineInfo(
            engine="winograd",
            device=device,
            precision="fp32",
            scale=network.scale,
            reach_px=network.reach_px,
            align_px=network.align_px,
            bytes_per_pixel=bytes_per_pixel,
            bytes_per_column=bytes_per_column,
            flops_per_pixel=network.flops_per_input_pixel,
        )

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle:
            self._library.vidsr_network_destroy(handle)

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        num_frames, _, height, width = rgb_nchw.shape
        with memory_errors(self._info.device, f"{num_frames} frames of {width}x{height}"), torch.inference_mode():
            x = pad_to_multiple(rgb_nchw, self._multiple_px)
            if self._fold > 1:
                x = functional.pixel_unshuffle(x, self._fold)
            x = x.contiguous()
            size = x.shape[2] * self._doubled, x.shape[3] * self._doubled
            out = torch.empty((num_frames, self._out_channels, *size), dtype=torch.float32, device="cpu")
            self._compute(x, out)
            return out[..., : height * self._info.scale, : width * self._info.scale].contiguous()

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        return work

    def _memory(self) -> tuple[int, int]:
        """Bytes per pixel and per column of the input: of the pictures as the kernels plan them, and the tensors."""
        height = width = _PLANNED_HEIGHT_PX
        low, high = (self._picture_bytes(rows, width) / width for rows in (height, 2 * height))
        of_pixel = (high - low) / height
        of_column = low - height * of_pixel
        num_values = self._in_channels + self._out_channels * self._doubled**2
        copies = 1 if self._fold == 1 else 2  # before it is folded, and while what was padded is cut off
        return int(of_pixel + 4 * num_values * copies) // self._fold**2, int(of_column) // self._fold

    def _picture_bytes(self, height: int, width: int) -> float:
        num_bytes = ctypes.c_double()
        _check(self._library.vidsr_network_picture_bytes(self._handle, height, width, ctypes.byref(num_bytes)))
        return num_bytes.value

    def _compute(self, x_nchw: Tensor, out_nchw: Tensor) -> None:
        """Fill `out_nchw`. What is wrong with the tensors is said here: the kernels would read beyond them."""
        num_frames, channels, height, width = x_nchw.shape
        expected = (num_frames, self._out_channels, height * self._doubled, width * self._doubled)
        if channels != self._in_channels or out_nchw.shape != expected or min(height, width) < 1:
            raise ValueError(
                f"got {tuple(x_nchw.shape)} to become {tuple(out_nchw.shape)}; expected {self._in_channels} channels "
                f"of at least one pixel, to become {expected}"
            )
        run = self._library.vidsr_network_run
        num_threads = threads_of_engine(self._num_threads)
        _check(run(self._handle, pointer(x_nchw), num_frames, height, width, pointer(out_nchw), num_threads))


def why_absent() -> str | None:
    """Why the compiled part cannot be used here, as a sentence; None where it can."""
    if not _LIBRARY.is_file():
        return f"{_LIBRARY.name} was not built when vidsr was installed, which takes a C++17 compiler (GCC or Clang)"
    try:
        _library()
    except OSError as error:
        return f"{_LIBRARY.name} cannot be loaded: {error}"
    except (ImportError, AttributeError):
        return f"{_LIBRARY.name} was built from another version of vidsr; install it again"
    return None


def supports(network: Network) -> str | None:
    """Why this network cannot be run, as a sentence; None where it can."""
    graph = describe(network)
    if graph is None:
        return f"nothing is known of what a {type(network).__name__} does"
    try:
        lower(graph)
    except NotLoweredError as error:
        return str(error)
    return None


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_LIBRARY))
    found = (ctypes.c_int * 4)()
    library.vidsr_abi(found)
    expected = (_VERSION, *map(ctypes.sizeof, (PictureSpec, LayerSpec, NetworkSpec)))
    if tuple(found) != expected:
        raise ImportError(f"{_LIBRARY} speaks {tuple(found)}, not {expected}")
    library.vidsr_lanes.argtypes = (ctypes.c_char_p,)
    library.vidsr_network_create.argtypes = (
        ctypes.POINTER(NetworkSpec),
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_void_p),
    )
    library.vidsr_network_run.argtypes = (ctypes.c_void_p, FLOATS, *[ctypes.c_int] * 3, FLOATS, ctypes.c_int)
    library.vidsr_network_picture_bytes.argtypes = (
        ctypes.c_void_p,
        *[ctypes.c_int] * 2,
        ctypes.POINTER(ctypes.c_double),
    )
    library.vidsr_last_error.restype = ctypes.c_char_p
    library.vidsr_network_destroy.argtypes = (ctypes.c_void_p,)
    library.vidsr_network_destroy.restype = None
    return library


def _check(status: int) -> None:
    if status == _NO_MEMORY:
        raise MemoryError("the winograd engine's arena")
    if status != _DONE:
        said = _library().vidsr_last_error().decode(errors="replace")
        raise DeviceError(f"the winograd engine failed: {said}; try OMP_NUM_THREADS=1 or --engine torch")
