"""One batch's way over the device: planes up, RGB, network, requested size, planes, down again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vidsr.color import alpha_to_float, float_to_alpha, planes_to_rgb, rgb_to_planes
from vidsr.engines.devices import memory_errors
from vidsr.frames import PictureFormat
from vidsr.pipeline.stage import Channel
from vidsr.resample import resize
from vidsr.transfer import HostBatch, Lane
from vidsr.upscaler import Upscaler


class FrameWorker:
    """The middle stage: turns batches of source planes into batches of target planes.

    Args:
        upscaler: what is done to the RGB pictures.
        source, target: formats of the two sides.
        lane: the way to the upscaler's device.
        batch: frames per batch.
        queue_batches: batches that may wait between two stages; sizes the rings.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        source: PictureFormat,
        target: PictureFormat,
        lane: Lane,
        *,
        batch: int,
        queue_batches: int,
    ) -> None:
        self._upscaler, self._source, self._target, self._lane = upscaler, source, target, lane
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
        width, height = self._target.width, self._target.height
        rgb = self._upscaler.upscale_tensor(planes_to_rgb(planes, self._source), (width, height))
        results = rgb_to_planes(rgb, self._target)
        if self._target.layout.has_alpha:
            if self._source.layout.has_alpha:
                alpha = resize(alpha_to_float(planes[-1], self._source), height, width, "lanczos")
            else:
                alpha = rgb.new_ones((rgb.shape[0], 1, height, width))  # opaque
            results.append(float_to_alpha(alpha, self._target))
        return results

    def _collect(self, batch: HostBatch, out: HostBatch, wait: Callable[[], None]) -> HostBatch:
        wait()
        self.free_inputs.put(batch)
        return out
