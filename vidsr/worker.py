"""One batch's way over the device: planes up, RGB, network, requested size, planes, down again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vidsr.color import alpha_to_float, float_to_alpha, planes_to_rgb, rgb_to_planes
from vidsr.engines.devices import memory_errors
from vidsr.frames import PictureFormat
from vidsr.geometry import Orientation
from vidsr.light import decode_srgb, encode_srgb, enlarge_light
from vidsr.pipeline.stage import Channel
from vidsr.resample import resize
from vidsr.transfer import HostBatch, Lane
from vidsr.upscaler import Upscaler


class FrameWorker:
    """The middle stage: turns batches of source planes into batches of target planes.

    Args:
        upscaler: what is done to the RGB pictures.
        source, target: formats of the two sides.
        orientation: how the source's pictures are turned on the way.
        lane: the way to the upscaler's device.
        batch: frames per batch.
        queue_batches: batches that may wait between two stages; sizes the rings.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        source: PictureFormat,
        target: PictureFormat,
        orientation: Orientation,
        lane: Lane,
        *,
        batch: int,
        queue_batches: int,
    ) -> None:
        self._upscaler, self._source, self._target, self._lane = upscaler, source, target, lane
        self._orientation = orientation
        self._dither = target.layout.depth < source.layout.depth
        self._drift_sum: Tensor | None = None
        self._num_frames = 0
        # One being filled, one being read, those in the queue between and those in flight.
        num_batches = queue_batches + lane.depth + 2
        self.free_inputs = Channel(
            num_batches, [HostBatch(source, batch, pinned=lane.pinned) for _ in range(num_batches)]
        )
        self.free_outputs = Channel(
            num_batches, [HostBatch(target, batch, pinned=lane.pinned) for _ in range(num_batches)]
        )

    def run(self, batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        """Process batches in order, several in flight where the lane allows.

        Inputs go back to `free_inputs`; the consumer gives the outputs back to `free_outputs`.
        """
        in_flight: deque[tuple[HostBatch, HostBatch, Callable[[], None]]] = deque()
        for batch in batches:
            in_flight.append(self._submit(batch))
            if len(in_flight) > self._lane.depth:
                yield self._collect(*in_flight.popleft())
        while in_flight:
            yield self._collect(*in_flight.popleft())

    def _submit(self, batch: HostBatch) -> tuple[HostBatch, HostBatch, Callable[[], None]]:
        out = self.free_outputs.get()
        out.times = list(batch.times)
        what = f"colour and size of {len(batch)} frames of {self._target.width}x{self._target.height}"
        with memory_errors(self._upscaler.device, what):
            planes = self._lane.upload(batch.filled)
            with self._lane.computing(), torch.inference_mode():
                results = self._compute(planes)
            return batch, out, self._lane.download(results, out.filled)

    def _compute(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """Source planes to target planes, both on the device."""
        rgb_nchw = _turn(planes_to_rgb(planes, self._source), self._orientation)
        out_nchw = self._enlarge(rgb_nchw)
        self._note_drift(rgb_nchw, out_nchw)
        results = rgb_to_planes(self._recode(out_nchw), self._target, dither=self._dither)
        if self._target.layout.has_alpha:
            results.append(float_to_alpha(self._alpha(planes, out_nchw), self._target))
        return results

    def _enlarge(self, rgb_nchw: Tensor) -> Tensor:
        """The source's RGB, linear or coded, in the target's size."""
        width, height = self._target.width, self._target.height
        # Networks know coded pictures only; kernels add up light itself, as renderers do.
        if self._source.layout.is_float and self._upscaler.is_network:
            return enlarge_light(
                rgb_nchw, height, width, lambda coded: self._upscaler.upscale_tensor(coded, (width, height))
            )
        return self._upscaler.upscale_tensor(rgb_nchw, (width, height))

    def _recode(self, rgb_nchw: Tensor) -> Tensor:
        """RGB as the target's planes hold it: linear light in floating point, never below black, else coded."""
        if self._source.layout.is_float == self._target.layout.is_float:
            return rgb_nchw
        return decode_srgb(rgb_nchw.clamp_min(0)) if self._target.layout.is_float else encode_srgb(rgb_nchw)

    def _alpha(self, planes: Sequence[Tensor], out_nchw: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1]: the source's alpha enlarged; opaque where it has none."""
        num_frames, _, height, width = out_nchw.shape
        if not self._source.layout.has_alpha:
            return out_nchw.new_ones((num_frames, 1, height, width))
        alpha_nchw = _turn(alpha_to_float(planes[-1], self._source), self._orientation)
        if self._upscaler.options.alpha == "lanczos":
            return resize(alpha_nchw, height, width, "lanczos")
        as_gray = self._upscaler.upscale_tensor(alpha_nchw.expand(-1, 3, -1, -1).contiguous(), (width, height))
        return as_gray.mean(1, keepdim=True)

    def _note_drift(self, rgb_nchw: Tensor, out_nchw: Tensor) -> None:
        drift = (out_nchw.mean((2, 3)) - rgb_nchw.mean((2, 3))).sum(0)
        self._drift_sum = drift if self._drift_sum is None else self._drift_sum + drift
        self._num_frames += rgb_nchw.shape[0]

    def color_drift(self) -> tuple[float, float, float]:
        """Mean of the results less that of the sources, over all frames so far: R', G' and B' in [0, 1] units."""
        if self._drift_sum is None:
            return 0.0, 0.0, 0.0
        red, green, blue = (self._drift_sum / self._num_frames).tolist()
        return red, green, blue

    def _collect(self, batch: HostBatch, out: HostBatch, wait: Callable[[], None]) -> HostBatch:
        wait()
        self.free_inputs.put(batch)
        return out


def _turn(x_nchw: Tensor, orientation: Orientation) -> Tensor:
    if orientation == Orientation():
        return x_nchw
    turned = x_nchw.transpose(-1, -2) if orientation.transposed else x_nchw
    axes = [axis for axis, flipped in ((-1, orientation.flipped_x), (-2, orientation.flipped_y)) if flipped]
    return turned.flip(axes).contiguous() if axes else turned.contiguous()
