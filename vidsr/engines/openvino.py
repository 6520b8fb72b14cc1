"""Networks on OpenVINO, for Intel's processors and their graphics units; an optional extra."""

from __future__ import annotations

import threading
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from vidsr.devices.memory import memory_errors
from vidsr.engines.base import EngineInfo, Work
from vidsr.engines.openvino_model import build_model, cannot_lower
from vidsr.engines.torch import peak_bytes_per_pixel
from vidsr.errors import DeviceError
from vidsr.models.families import describe
from vidsr.models.graph import pad_to_multiple
from vidsr.models.network import Network

_UNIT_NAMES = {"CPU": "processor", "GPU": "graphics unit"}
# What OpenVINO and the libraries below it say when memory runs out; it has no exception type of its own.
_MEMORY_WORDS = ("bad_alloc", "out of memory", "allocate", "CL_OUT_OF", "CL_MEM_OBJECT_ALLOCATION_FAILURE")

_core_lock = threading.Lock()


class OpenVinoEngine:
    """Runs a network on one unit that OpenVINO knows; pictures come from main memory and go back to it.

    Args:
        network: one that `supports` has nothing against.
        device: the CPU.
        precision: fp32; OpenVINO would take bf16 by itself where the processor has it, which is 48 to 58 dB off.
        num_threads: of the processor; None: all.
        unit: OpenVINO's name of what computes: CPU or GPU.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Literal["fp32", "fp16"],
        *,
        num_threads: int | None = None,
        unit: Literal["CPU", "GPU"] = "CPU",
    ) -> None:
        graph = describe(network)
        assert graph is not None
        config: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if unit == "CPU" and num_threads is not None:
            config["INFERENCE_NUM_THREADS"] = num_threads
        self._compile = partial(_core().compile_model, build_model(graph, type(network).__name__), unit, config)
        try:
            self._request: Any = self._compile().create_infer_request()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DeviceError(f"OpenVINO cannot use its {unit}: {reason}; try --engine auto") from error
        self._multiple_px = graph.multiple_px
        self._info = EngineInfo(
            engine="openvino" if unit == "CPU" else "openvino-gpu",
            device=device,
            precision=precision,
            scale=network.scale,
            reach_px=network.reach_px,
            align_px=network.align_px,
            bytes_per_pixel=peak_bytes_per_pixel(network, torch.float32),
            flops_per_pixel=network.flops_per_input_pixel,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    def run(self, rgb_nchw: Tensor) -> Tensor:
        num_frames, _, height, width = rgb_nchw.shape
        scale = self._info.scale
        with memory_errors(self._info.device, f"{num_frames} frames of {width}x{height}", _MEMORY_WORDS):
            out_nchw = self._infer(pad_to_multiple(rgb_nchw, self._multiple_px).contiguous())
            return out_nchw[..., : height * scale, : width * scale].contiguous()

    def as_one_launch(self, work: Work, recordable: Work) -> Work:
        return work

    def _infer(self, x_nchw: Tensor) -> Tensor:
        import openvino

        num_frames, channels, height, width = x_nchw.shape
        scale = self._info.scale
        size = num_frames, channels, height * scale, width * scale
        out_nchw = torch.empty(size, dtype=torch.float32, device="cpu")
        if self._request is None:
            self._request = self._compile().create_infer_request()
        # Both lie in our memory: nothing is copied on the way in or out.
        self._request.set_input_tensor(openvino.Tensor(x_nchw.numpy(), shared_memory=True))
        self._request.set_output_tensor(openvino.Tensor(out_nchw.numpy(), shared_memory=True))
        try:
            self._request.infer()
        except BaseException:
            # What was broken off keeps the sizes it had come to, and would refuse every other from then on.
            self._request = None
            raise
        return out_nchw


def _core() -> Any:
    """The one `openvino.Core` of this process, which lives as long as it.

    On Linux a core's plugin for the CPU gives the thread that first uses it a stack for signal handlers, and frees that
    when the core and all it compiled are gone. With two cores that end in the order they began, or one that ends in
    another thread, the thread keeps a freed stack, and the next Ctrl-C is a segmentation fault (2025.1 to 2026.4).
    """
    with _core_lock:
        return _make_core()


@cache
def _make_core() -> Any:
    import openvino

    return openvino.Core()


@cache
def _units() -> tuple[str, ...] | str:
    """The units OpenVINO sees here, or why it sees none."""
    try:
        core = _core()
    except ModuleNotFoundError as error:
        if error.name == "openvino":
            return 'pip install "vidsr-upscale[openvino]"'
        return f"openvino is installed but does not load: {error}"
    except ImportError as error:
        return f"openvino is installed but does not load: {error}"
    return tuple(core.available_devices)


def why_absent(unit: Literal["CPU", "GPU"] = "CPU") -> str | None:
    """What is missing for this engine on this machine; None: nothing."""
    units = _units()
    if isinstance(units, str):
        return units
    if any(name.partition(".")[0] == unit for name in units):
        return None
    return f"OpenVINO sees no {_UNIT_NAMES[unit]} of Intel, only {', '.join(units) or 'nothing'}"


def supports(network: Network) -> str | None:
    """Why a network cannot be run; None: it can."""
    graph = describe(network)
    return f"nothing is known of what a {type(network).__name__} does" if graph is None else cannot_lower(graph)
