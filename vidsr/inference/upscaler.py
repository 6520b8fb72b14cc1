"""The `Upscaler`: pictures in, larger pictures out, by a network or a classical kernel, at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidsr.devices.memory import free_bytes, give_back_memory, memory_errors
from vidsr.devices.names import device_name, resolve_devices, settle
from vidsr.devices.stopwatch import Stopwatch
from vidsr.engines.base import Engine, EngineInfo, IdentityEngine, Work
from vidsr.engines.choice import choose_engine
from vidsr.engines.measured import Measurement, measured_key, recall_measured
from vidsr.engines.table import find_engine
from vidsr.errors import DeviceMemoryError, UsageError
from vidsr.events import Notice, OnEvent, ignore
from vidsr.inference.memory_limits import Limit, recall, remember
from vidsr.inference.model_choice import choose_model
from vidsr.inference.tiling import run_tiled
from vidsr.inference.unchanged_regions import Regions
from vidsr.models import weights_store
from vidsr.models.catalogue import ModelEntry, find_model
from vidsr.models.loading import blend_networks, load_network
from vidsr.models.network import Network
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.resample import Kernel, resize
from vidsr.pixels.sizes import network_input_size, output_size

# RRDB networks reach 349 pixels far, but with 64 pixels of context x4plus stays within 0.3 levels (93 dB) of the
# whole on a sharp frame and within 3.7 levels (65 dB) on a soft, grainy one; with 32 pixels it was 6.8 and more.
MAX_OVERLAP_PX = 64
_SMALLEST_TILE_PX = 32
# Share of the free memory that one call may take by estimate; the rest is for decoder, encoder and neighbours.
_MEMORY_SHARE = 0.5


class Upscaler:
    """Upscales pictures as the options say, on the first of their devices. One instance belongs to one thread.

    Args:
        options: everything but the video-only fields is used.
        on_event: told of weights being downloaded, and of memory that does not suffice.

    Raises:
        UsageError: options that contradict the model. DeviceError, WeightsError, DownloadError.
    """

    def __init__(self, options: UpscaleOptions | None = None, on_event: OnEvent = ignore) -> None:
        self.options = options or UpscaleOptions()
        self.on_event = on_event
        self.devices = resolve_devices(self.options.device)
        self.device = self.devices[0]
        settle(self.device, self.options.threads)
        self._others: list[Upscaler] = []
        self._num_sharing = 1  # upscalers that work at once in the memory of this one's device
        self.network_watch = Stopwatch(self.device)
        self.precision = self._precision()
        self.model = choose_model(self.options, self.device, on_event)
        self._kernel: Kernel = "lanczos"
        self.engine_reason = ""  # why this engine; of a network only
        self._engine = self._load_engine(on_event)
        path = self.model.path
        self._network_name = self.model.name if path is None else f"{path.name} of {path.stat().st_size} bytes"
        # What fits, by (height, width) of the network's input: frames at once, and the side of a tile.
        self._fitting: dict[tuple[int, int], tuple[int, int]] = {}
        self._given_tile: int | None = None
        self._adapts = True  # to memory that runs out; not while its launches are recorded
        self.tile_px = 0  # side of the tiles of the last picture; 0 is whole

    @property
    def is_network(self) -> bool:
        """Whether pictures go through a network, and not through a classical kernel alone."""
        return self.model.path is not None and self.options.blend > 0

    @property
    def engine_info(self) -> EngineInfo:
        return self._engine.info

    @cached_property
    def exact(self) -> Upscaler:
        """The same in fp32, made when first asked for; itself where that is what it computes in."""
        if self._engine.info.precision == "fp32":
            return self
        # By the reference engine: what it gives must not depend on what this machine was measured to be fast with.
        engine = "torch" if self.engine_reason else self.options.engine  # of a network only
        return Upscaler(replace(self.options, precision="fp32", engine=engine), self.on_event)

    def team(self, at_most: int) -> list[Upscaler]:
        """One for each of the options' devices, itself first; the others are made when first asked for."""
        for device in self.devices[1 + len(self._others) : at_most]:
            # Of one engine, as they make one video, and as the journal names one.
            engine = self._engine.info.engine if self.is_network else self.options.engine
            other = replace(self.options, device=str(device), engine=engine)
            self._others.append(Upscaler(other, self.on_event))
        members = [self, *self._others][:at_most]
        num_sharing = len(members) if self.device.type == "cpu" else 1
        for member in members:
            if member._num_sharing != num_sharing:
                member._num_sharing = num_sharing
                member._fitting.clear()
        return members

    def _load_engine(self, on_event: OnEvent) -> Engine:
        denoises, engine = self.options.denoise < 1, self.options.engine
        if engine != "auto":
            find_engine(engine)  # says what is wrong with the name, whatever the model is
        if self.model.path is None:
            if denoises:
                raise UsageError(f"denoise needs realesr-general-x4v3; {self.model.name} is no network")
            if engine != "auto":
                raise UsageError(f"engine {engine} was asked for, but {self.model.name} is no network; use auto")
            self._kernel = cast(Kernel, self.model.name)
        if self.options.blend == 0:
            self._kernel = "lanczos"
        if self.model.path is None or self.options.blend == 0:
            return IdentityEngine(self.device)
        network = load_network(self.model.path)
        if denoises:
            network = self._denoised(network, on_event)
        chosen = choose_engine(engine, network, self.device, self.precision, self._measured(network))
        self.engine_reason = chosen.reason
        if self.options.threads is not None:
            chosen = replace(chosen, num_threads=self.options.threads)
        return chosen.open(network, self.device, self.precision)

    def _measured(self, network: Network) -> list[Measurement]:
        try:
            return recall_measured(measured_key(network, self.device, self.precision))
        except ValueError as error:
            self.on_event(Notice(text=str(error)))
            return []

    def _precision(self) -> Literal["fp32", "fp16"]:
        if self.options.precision == "auto":
            return "fp16" if self.device.type == "cuda" else "fp32"
        if self.options.precision == "fp16" and self.device.type == "cpu":
            raise UsageError("precision fp16 was asked for on the CPU, where it is slower than fp32; use fp32 or auto")
        return self.options.precision

    def _denoised(self, network: Network, on_event: OnEvent) -> Network:
        sibling_name = self.model.entry.denoise_sibling if self.model.entry else None
        if sibling_name is None:
            raise UsageError(f"denoise needs --model realesr-general-x4v3; {self.model.name} has no weaker sibling")
        sibling = find_model(sibling_name)
        assert isinstance(sibling, ModelEntry)
        weaker = load_network(weights_store.obtain(sibling, on_event))
        return blend_networks(network, weaker, self.options.denoise)

    def tile_px_for(self, size: tuple[int, int], out_size: tuple[int, int]) -> int:
        """Side of the tiles that pictures of one (width, height) would begin with now, if made another; 0 is whole."""
        width, height = network_input_size(*size, *out_size, self._engine.info.scale, self.options.fit == "before")
        _, tile_px = self._begin_with(torch.empty((1, 3, height, width), device="meta"), free_bytes(self.device))
        return tile_px

    def begin_with_tiles(self, tile_px: int | None) -> None:
        """Compute the next pictures in tiles of this side (0: whole), whatever memory is free, unless it runs out.

        None lets the free memory decide again.

        A run that goes on does as before its interruption: other tiles can make other pictures.
        """
        self._fitting.clear()
        self._given_tile = tile_px

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what comes out for pictures of that size."""
        return output_size(width, height, self.options)

    def new_regions(self) -> Regions | None:
        """For pictures that follow each other; None where whole pictures are the better way.

        On a GPU, what to compute would have to be waited for.
        """
        info = self._engine.info
        if self.device.type != "cpu" or not Regions.suit(info.reach_px, info.align_px):
            return None
        return Regions(scale=info.scale, reach_px=info.reach_px, align_px=info.align_px)

    def as_one_launch(self, work: Work) -> Work:
        """What does the same as a work of which `upscale_tensor` is a part, launched as one where the engine can."""

        def at_what_fits(tensors: Sequence[Tensor]) -> list[Tensor]:
            self._adapts = False
            try:
                return work(tensors)
            finally:
                self._adapts = True

        return self._engine.as_one_launch(work, at_what_fits)

    def upscale_tensor(
        self, rgb_nchw: Tensor, size: tuple[int, int] | None = None, regions: Regions | None = None
    ) -> Tensor:
        """Upscale a batch of pictures.

        Args:
            rgb_nchw: float32 (N, 3, H, W), R'G'B' with 0 black and 1 white, on any device.
            size: output (width, height); None takes it from the options.
            regions: from `new_regions`, which remembers the picture before; the two must stay as they are.

        Returns:
            float32 (N, 3, height, width) on the upscaler's device, unclamped; with `regions`, good until the next call.

        Raises:
            DeviceMemoryError: a single frame in the smallest tiles does not fit.
        """
        if rgb_nchw.ndim != 4 or rgb_nchw.shape[1] != 3 or rgb_nchw.dtype != torch.float32:
            raise UsageError(
                f"got {rgb_nchw.dtype} of shape {tuple(rgb_nchw.shape)}; pictures are float32 (N, 3, H, W)"
            )
        x = rgb_nchw.to(self.device)
        width, height = size or self.output_size(x.shape[3], x.shape[2])
        with torch.inference_mode():
            return self._upscale(x, width, height, regions)

    def upscale_image(self, image: NDArray[np.uint8], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Upscale one picture.

        Args:
            image: (H, W, 3) uint8, R'G'B'.
            size: output (width, height); None takes it from the options.

        Returns:
            (height, width, 3) uint8, rounded.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"got {image.dtype} of shape {image.shape}; a picture is uint8 (H, W, 3)")
        x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(self.device)
        out = self.upscale_tensor(x.to(torch.float32) / 255, size)
        codes = (out[0] * 255).round_().clamp_(0, 255).to(torch.uint8)
        return cast(NDArray[np.uint8], codes.permute(1, 2, 0).contiguous().cpu().numpy())

    def _upscale(self, x: Tensor, width: int, height: int, regions: Regions | None) -> Tensor:
        in_width, in_height = network_input_size(
            x.shape[3], x.shape[2], width, height, self._engine.info.scale, self.options.fit == "before"
        )
        seen = x if (in_height, in_width) == x.shape[2:] else resize(x, in_height, in_width, "bicubic")
        large = self.run_network(seen) if regions is None else self._run_regions(seen, regions)
        out = resize(large, height, width, self._kernel)
        blend = self.options.blend
        if 0 < blend < 1:
            out = torch.lerp(resize(x, height, width, "lanczos"), out, blend)
        return out

    def _run_regions(self, x: Tensor, regions: Regions) -> Tensor:
        """As `run_network`, where possible in crops, whose tiles say nothing of those of whole pictures."""
        tile_px, num_partly = self.tile_px, regions.num_partly
        out = regions.run(x, self.run_network)
        if regions.num_partly > num_partly:
            self.tile_px = tile_px
        return out

    def run_network(self, x: Tensor) -> Tensor:
        """The network alone, at its own scale: float32 (N, 3, H, W) on the upscaler's device in and out.

        Where memory runs short it goes on with fewer frames at once, then with smaller tiles: the same frames again.
        """
        height, width = x.shape[-2:]
        if not self._adapts:
            return self._run_in_pieces(x, *self._fitting[height, width])
        free_at_first: int | None = None
        did_not_fit: tuple[int, int] | None = None
        while True:
            fitting = self._fitting.get((height, width))
            if fitting is None:
                free_at_first = free_bytes(self.device)
                fitting = self._begin_with(x, free_at_first)
            try:
                with self.network_watch.running():
                    out = self._run_in_pieces(x, *fitting)
            except DeviceMemoryError:
                smaller = self._less(x, *fitting)
            else:
                self._fitting[height, width] = fitting
                self.tile_px = fitting[1]
                if did_not_fit is not None:
                    self._note_limit(x, did_not_fit, fitting, free_at_first)
                return out
            did_not_fit = did_not_fit or (min(fitting[0], x.shape[0]), fitting[1])
            self._fitting[height, width] = smaller
            # Behind the handler, whose traceback would keep alive what is to be freed.
            give_back_memory(x.device)

    def _begin_with(self, x: Tensor, free: int) -> tuple[int, int]:
        """The estimate, or what is remembered to have fitted where that is less; in the given tiles if any are."""
        num_frames, tile = self._estimate(x, free)
        if self._given_tile is not None:
            return num_frames if tile == self._given_tile else 1, self._given_tile
        limit = recall(self._limit_key(x))
        if limit is None or not limit.holds(free):
            return num_frames, tile
        whole = max(x.shape[-2:])
        side, remembered_side = tile or whole, limit.tile_px or whole
        if side < remembered_side or (side == remembered_side and num_frames <= limit.num_frames):
            return num_frames, tile
        known = limit.num_frames, limit.tile_px
        self.on_event(Notice(text=f"begins with {_size_text(*known)}: more did not fit into memory last time"))
        return known

    def _note_limit(self, x: Tensor, did_not_fit: tuple[int, int], fits: tuple[int, int], free: int | None) -> None:
        self.on_event(Notice(text=f"out of memory with {_size_text(*did_not_fit)}: goes on with {_size_text(*fits)}"))
        free = free_bytes(self.device) if free is None else free
        remember(self._limit_key(x), Limit(num_frames=fits[0], tile_px=fits[1], free_bytes=free))

    def _limit_key(self, x: Tensor) -> str:
        info, size = self._engine.info, f"{x.shape[-1]}x{x.shape[-2]}"
        return ", ".join((device_name(self.device), info.engine, info.precision, self._network_name, size))

    def _run_in_pieces(self, x: Tensor, max_frames: int, tile: int) -> Tensor:
        num_frames, _, height, width = x.shape
        with memory_errors(self.device, f"{num_frames} frames of {width}x{height}"):
            pieces = [self._run_tiled(piece, tile) for piece in torch.split(x, max_frames)]
            return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _less(self, x: Tensor, max_frames: int, tile: int) -> tuple[int, int]:
        """The next smaller (frames at once, tile) to try after running out of memory."""
        num_frames = min(x.shape[0], max_frames)
        if num_frames > 1:
            return num_frames // 2, tile
        side = tile or max(x.shape[-2:])
        smaller = side // 2
        if smaller < _SMALLEST_TILE_PX:
            raise DeviceMemoryError(
                f"{self.device}: out of memory with one frame in tiles of {side} pixels; "
                "close what else uses it, or choose a smaller model or --device cpu"
            )
        return 1, smaller

    def _run_tiled(self, x: Tensor, tile: int) -> Tensor:
        info = self._engine.info
        overlap = min(info.reach_px, MAX_OVERLAP_PX)
        # Wide enough to leave no edge; wider would let in more of where a tile lacks context (at half the overlap
        # 6.7 levels instead of 3.7 on the hardest frame).
        fade = overlap // 8 if overlap < info.reach_px else 0
        return run_tiled(
            self._engine.run, x, scale=info.scale, tile=tile, overlap=overlap, align=info.align_px, fade=fade
        )

    def _estimate(self, x: Tensor, free: int) -> tuple[int, int]:
        """(frames at once, tile side) to begin with: whole frames, 0, if one fits, else the largest tiles that do."""
        info, (height, width) = self._engine.info, x.shape[2:]
        num_bytes = _MEMORY_SHARE / self._num_sharing * free
        tile = self.options.tile
        if tile:
            height, width = (min(tile + 2 * MAX_OVERLAP_PX, side) for side in (height, width))
        num_frames = info.most_frames(height, width, num_bytes)
        if num_frames >= 1 or tile is not None:
            return max(num_frames, 1), tile or 0
        return 1, max(info.largest_side(num_bytes) - 2 * MAX_OVERLAP_PX, _SMALLEST_TILE_PX)


def _size_text(num_frames: int, tile: int) -> str:
    if tile:
        return f"tiles of {tile} pixels" + (f", {num_frames} frames at once" if num_frames > 1 else "")
    return "whole frames" if num_frames == 1 else f"{num_frames} whole frames at once"
