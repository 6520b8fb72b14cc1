"""One batch's way over the device: planes up, RGB, network, requested size, planes, down again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from vidsr.devices.lanes import Lane, open_lane
from vidsr.devices.memory import free_bytes, give_back_memory, memory_errors
from vidsr.errors import DeviceMemoryError, NumericError
from vidsr.events import Notice
from vidsr.frames import PictureFormat, clock_text
from vidsr.inference.upscaler import Upscaler
from vidsr.pipeline.stage import Channel, StageTimes
from vidsr.pipeline.tally import Tally
from vidsr.pixels.color import alpha_to_float, float_to_alpha, rgb_to_planes
from vidsr.pixels.guard import NUM_MEASURES, fault, measure, worse_of
from vidsr.pixels.linear_light import decode_srgb, encode_srgb, enlarge_light
from vidsr.pixels.resample import resize
from vidsr.pixels.sizes import Orientation
from vidsr.run.batch import HostBatch
from vidsr.run.prepare import Prepared
from vidsr.run.source_picture import to_rgb, turned

QUEUE_BATCHES = 2
# Frames per network call: one keeps a CPU busy. A GPU wants about a 720p frame's worth of pixels at once to be filled,
# and of cheap networks as much as takes the largest GPUs about 10 ms, since the host takes 1 or 2 to start a batch.
_PIXELS_PER_CUDA_BATCH = 1280 * 720
_FLOPS_PER_CUDA_BATCH = 4e12
_MAX_CUDA_BATCH = 32


class FrameWorker:
    """The middle stage: turns batches of source planes into batches of target planes.

    Args:
        upscaler: what is done to the RGB pictures.
        source, target: formats of the two sides.
        orientation: how the source's pictures are turned on the way.
        lane: the way to the upscaler's device.
        time_base: seconds per tick of the frames' times, for messages.
        batch: frames per batch.
        queue_batches: batches that may wait between two stages; sizes the rings.
        num_workers: that work at once on this machine, and share its memory.

    Raises:
        DeviceMemoryError: this machine has not the memory that frames of such a size need at the very least.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        source: PictureFormat,
        target: PictureFormat,
        orientation: Orientation,
        lane: Lane,
        *,
        time_base: Fraction,
        batch: int,
        queue_batches: int,
        num_workers: int = 1,
    ) -> None:
        self._upscaler, self._source, self._target, self._lane = upscaler, source, target, lane
        self._network_seconds_before = upscaler.network_watch.seconds
        self._orientation = orientation
        self._dither = target.layout.depth < source.layout.depth
        self._time_base = time_base
        self._max_frames = batch  # at once; fewer where memory runs short
        self.tally = Tally()  # of all frames so far
        work = partial(self._compute, upscaler=upscaler)
        self._launch = upscaler.as_one_launch(work)
        self._is_one_launch = self._launch is not work
        self._regions = upscaler.new_regions() if batch == 1 else None
        self._free_measures = deque(
            torch.empty((batch, NUM_MEASURES), pin_memory=lane.pinned) for _ in range(lane.depth + 1)
        )
        # One being filled, one being read, those in the queue between and those in flight.
        num_batches = queue_batches + lane.depth + 2
        num_computing = num_workers if upscaler.device.type == "cpu" else 0
        _require_memory(source, target, num_workers * num_batches * batch, num_computing)
        self.free_inputs = Channel(
            num_batches, [HostBatch(source, batch, pinned=lane.pinned) for _ in range(num_batches)]
        )
        self.free_outputs = Channel(
            num_batches, [HostBatch(target, batch, pinned=lane.pinned) for _ in range(num_batches)]
        )

    def run(self, batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        """Process batches in order, several in flight where the lane allows.

        Inputs go back to `free_inputs`; the consumer gives the outputs back to `free_outputs`.

        Raises:
            NumericError: a frame is no picture, in fp32 neither. DeviceMemoryError: one frame alone does not fit.
        """
        in_flight: deque[tuple[HostBatch, HostBatch, Tensor, Callable[[], None]]] = deque()
        for batch in batches:
            in_flight.append(self._submit(batch))
            if len(in_flight) > self._lane.depth:
                yield self._collect(*in_flight.popleft())
        while in_flight:
            yield self._collect(*in_flight.popleft())

    def _submit(self, batch: HostBatch) -> tuple[HostBatch, HostBatch, Tensor, Callable[[], None]]:
        out = self.free_outputs.get()
        out.times, out.repeats = list(batch.times), dict(batch.repeats)
        measures = self._free_measures.popleft()
        if self._regions is not None and not batch.follows:
            self._regions.forget()
        wait = self._start(batch.filled, [*out.filled, measures[: len(batch)]], self._upscaler)
        return batch, out, measures, wait

    def _start(self, planes: Sequence[Tensor], into: Sequence[Tensor], upscaler: Upscaler) -> Callable[[], None]:
        """Start computing target planes and measures of host planes; the returned function waits for them."""
        what = f"colour and size of {len(planes[0])} frames of {self._target.width}x{self._target.height}"
        with memory_errors(upscaler.device, what):
            on_device = self._lane.upload(planes)
            with self._lane.computing(), torch.inference_mode():
                results = self._compute_what_fits(on_device, upscaler)
            return self._lane.download(results, into)

    def _compute_what_fits(self, planes: Sequence[Tensor], upscaler: Upscaler) -> list[Tensor]:
        """As `_compute`, with fewer frames at once where memory runs short: the same frames again."""
        num_frames, is_usual = len(planes[0]), upscaler is self._upscaler
        fills_up = is_usual and self._lane.one_shape
        while True:
            at_once = self._max_frames if fills_up else min(self._max_frames, num_frames)
            try:
                with memory_errors(upscaler.device, f"{at_once} frames"):
                    full = [_filled_up(plane, at_once) for plane in planes] if fills_up else planes
                    pieces = zip(*(torch.split(plane, at_once) for plane in full), strict=True)
                    parts = [self._launch(piece) if is_usual else self._compute(piece, upscaler) for piece in pieces]
                    results = [torch.cat(part) for part in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]
                    return [result[:num_frames] for result in results]
            except DeviceMemoryError:
                if at_once == 1:
                    raise
            self._max_frames = at_once // 2
            text = f"out of memory with colour and size of {at_once} frames at once: goes on with {self._max_frames}"
            upscaler.on_event(Notice(text=text))
            # Behind the handler, whose traceback would keep alive what is to be freed.
            give_back_memory(planes[0].device)

    def _compute(self, planes: Sequence[Tensor], upscaler: Upscaler) -> list[Tensor]:
        """Source planes to target planes and their measures, all on the device."""
        rgb_nchw = to_rgb(planes, self._source, self._orientation)
        out_nchw = self._enlarge(rgb_nchw, upscaler)
        measures = measure(rgb_nchw, out_nchw, is_light=self._source.layout.is_float)
        results = rgb_to_planes(self._recode(out_nchw), self._target, dither=self._dither)
        if self._target.layout.has_alpha:
            alpha_nchw, alpha_measures = self._alpha(planes, out_nchw, upscaler)
            measures = worse_of(measures, alpha_measures)
            results.append(float_to_alpha(alpha_nchw, self._target))
        return [*results, measures]

    def _enlarge(self, rgb_nchw: Tensor, upscaler: Upscaler) -> Tensor:
        """The source's RGB, linear or coded, in the target's size."""
        width, height = self._target.width, self._target.height
        further = [] if self._regions is None else [self._regions]

        def network(coded_nchw: Tensor) -> Tensor:
            return upscaler.upscale_tensor(coded_nchw, (width, height), *further)

        # Networks know coded pictures only; kernels add up light itself, as renderers do.
        if self._source.layout.is_float and upscaler.is_network:
            return enlarge_light(rgb_nchw, height, width, lambda coded: _nan_if_infinite(network(coded)))
        return network(rgb_nchw)

    def _recode(self, rgb_nchw: Tensor) -> Tensor:
        """RGB as the target's planes hold it: linear light in floating point, never below black, else coded."""
        if self._source.layout.is_float == self._target.layout.is_float:
            return rgb_nchw
        return decode_srgb(rgb_nchw.clamp_min(0)) if self._target.layout.is_float else encode_srgb(rgb_nchw)

    def _alpha(self, planes: Sequence[Tensor], out_nchw: Tensor, upscaler: Upscaler) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) in [0, 1]: the source's alpha enlarged, opaque where it has none; and its measures."""
        num_frames, _, height, width = out_nchw.shape
        if not self._source.layout.has_alpha:
            return out_nchw.new_ones((num_frames, 1, height, width)), out_nchw.new_zeros((num_frames, NUM_MEASURES))
        alpha_nchw = turned(alpha_to_float(planes[-1], self._source), self._orientation)
        if upscaler.options.alpha == "lanczos":
            large_nchw = resize(alpha_nchw, height, width, "lanczos")
        else:
            as_gray = upscaler.upscale_tensor(alpha_nchw.expand(-1, 3, -1, -1).contiguous(), (width, height))
            large_nchw = as_gray.mean(1, keepdim=True)
        return large_nchw, measure(alpha_nchw, large_nchw)

    def with_device_times(self, times: StageTimes) -> StageTimes:
        """The times of a run with where those of the work went, over all frames so far."""
        network_seconds = self._upscaler.network_watch.seconds - self._network_seconds_before
        return replace(
            times,
            copy_in_busy_seconds=self._lane.copy_in.seconds,
            compute_busy_seconds=self._lane.compute.seconds,
            # Within one launch nothing is timed by itself.
            network_busy_seconds=self._lane.compute.seconds if self._is_one_launch else network_seconds,
            copy_out_busy_seconds=self._lane.copy_out.seconds,
        )

    def _collect(self, batch: HostBatch, out: HostBatch, measures: Tensor, wait: Callable[[], None]) -> HostBatch:
        wait()
        out.tallies = []
        for index in range(len(out)):
            found = fault(measures[index])
            if found is not None:
                self._compute_again(batch, out, index, measures, found)
            red, green, blue = measures[index, :3].tolist()
            num_partly = 0 if self._regions is None else self._regions.num_partly - self.tally.num_partly
            one = Tally(
                num_frames=1,
                num_recomputed=int(found is not None),
                num_partly=num_partly,
                drift_sum=(red, green, blue),
            )
            out.tallies.append(one)
            self.tally = sum((one.repeated for _ in out.repeats.get(index, ())), self.tally + one)
        self._free_measures.append(measures)
        self.free_inputs.put(batch)
        return out

    def _compute_again(self, batch: HostBatch, out: HostBatch, index: int, measures: Tensor, found: str) -> None:
        """Replace one frame, while its source is still in `batch`, by what fp32 makes of it."""
        one = slice(index, index + 1)
        if self._regions is not None:
            self._regions.forget()
        into = [*(tensor[one] for tensor in out.filled), measures[one]]
        self._start([tensor[one] for tensor in batch.filled], into, self._upscaler.exact)()
        found_again = fault(measures[index])
        if found_again is not None:
            pts = out.times[index].pts
            raise NumericError(
                f"the frame at {clock_text(pts * self._time_base)} (pts {pts}): {self._upscaler.model.name} returned "
                f"{found}, and in fp32 once more {found_again}; a picture was expected. Try another --model, or look "
                "at the source there"
            )


def _require_memory(source: PictureFormat, target: PictureFormat, num_frames: int, num_computing: int) -> None:
    """Refuse what cannot fit by any reckoning: a system that lends more than it has would end the process later.

    Counted are the rings, and for each worker that computes on the host, one frame as RGB: as it comes, as it is
    enlarged, and that once more while it becomes planes.
    """
    num_bytes = num_frames * (source.num_bytes + target.num_bytes)
    num_bytes += num_computing * 12 * (source.width * source.height + 2 * target.width * target.height)
    free = free_bytes(torch.device("cpu"))
    if num_bytes > free:
        raise DeviceMemoryError(
            f"frames of {source.width}x{source.height} made {target.width}x{target.height} need at least "
            f"{num_bytes / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free; choose a smaller scale or "
            "batch; if the source is not that large, it is damaged"
        )


def _filled_up(plane: Tensor, multiple: int) -> Tensor:
    """(N, h, w) with its last frame repeated until N is a multiple."""
    num_frames = len(plane)
    if num_frames % multiple == 0:
        return plane
    filled = plane.new_empty((-(-num_frames // multiple) * multiple, *plane.shape[1:]))
    filled[:num_frames].copy_(plane)
    filled[num_frames:].copy_(plane[-1:])
    return filled


def _nan_if_infinite(x_nchw: Tensor) -> Tensor:
    """NaN for infinity, which clipping would turn into plain white."""
    return torch.where(x_nchw.isfinite(), x_nchw, torch.nan)


def batch_size(prepared: Prepared, upscaler: Upscaler) -> int:
    """Frames per network call: as asked for, or as many as suit the device."""
    if prepared.options.batch is not None:
        return prepared.options.batch
    if upscaler.device.type == "cpu":
        return 1
    picture = prepared.source.video.picture
    flops_per_pixel = upscaler.engine_info.flops_per_pixel
    num_pixels = max(_PIXELS_PER_CUDA_BATCH, int(_FLOPS_PER_CUDA_BATCH / flops_per_pixel) if flops_per_pixel else 0)
    return max(1, min(num_pixels // (picture.width * picture.height), _MAX_CUDA_BATCH))


def open_worker(prepared: Prepared, upscaler: Upscaler, batch: int, num_workers: int = 1) -> FrameWorker:
    """A worker for a run, one of so many, with `batch` frames per network call."""
    return FrameWorker(
        upscaler,
        prepared.source.video.picture,
        prepared.picture,
        prepared.orientation,
        open_lane(upscaler.device),
        time_base=prepared.delivered.video.time_base,
        batch=batch,
        queue_batches=QUEUE_BATCHES,
        num_workers=num_workers,
    )
