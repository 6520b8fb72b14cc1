"""Making segments: frames through the worker into segment files, each recorded in the journal when it is complete."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from vidsr.errors import RunStoppedError
from vidsr.events import Notice, OnEvent, Progress
from vidsr.media.picture_writer import PictureWriter
from vidsr.media.reader import DecodedFrame, Window
from vidsr.media.source import read_frames
from vidsr.media.writer import SegmentWriter, target_errors
from vidsr.pipeline.journal import Journal
from vidsr.pipeline.plan import Segment
from vidsr.pipeline.stage import StageTimes, run_stages
from vidsr.prepare import Prepared
from vidsr.space import shortage
from vidsr.tally import Tally
from vidsr.transfer import HostBatch, open_lane
from vidsr.upscaler import Upscaler
from vidsr.worker import FrameWorker

QUEUE_BATCHES = 2
# Frames per network call: one keeps a CPU busy; a GPU wants about a 720p frame's worth of pixels at once.
_PIXELS_PER_CUDA_BATCH = 1280 * 720
_MAX_CUDA_BATCH = 16


def batch_size(prepared: Prepared, upscaler: Upscaler) -> int:
    """Frames per network call: as asked for, or as many as suit the device."""
    if prepared.options.batch is not None:
        return prepared.options.batch
    if upscaler.device.type == "cpu":
        return 1
    picture = prepared.source.video.picture
    return max(1, min(_PIXELS_PER_CUDA_BATCH // (picture.width * picture.height), _MAX_CUDA_BATCH))


def open_worker(prepared: Prepared, upscaler: Upscaler, batch: int) -> FrameWorker:
    """The worker for a run, with `batch` frames per network call."""
    return FrameWorker(
        upscaler,
        prepared.source.video.picture,
        prepared.picture,
        prepared.orientation,
        open_lane(upscaler.device),
        time_base=prepared.delivered.video.time_base,
        batch=batch,
        queue_batches=QUEUE_BATCHES,
    )


def read(prepared: Prepared, window: Window, on_notice: Callable[[str], None]) -> Iterator[DecodedFrame]:
    stop_at_damage = prepared.options.on_decode_error == "stop"
    return read_frames(prepared.source, window, on_notice, prepared.fields, stop_at_damage=stop_at_damage)


class SegmentMaker:
    """Makes what a journal does not have yet, in order, without a pause between neighbouring segments.

    Args:
        prepared: the run.
        upscaler: what is done to pictures.
        journal: of the run's work folder, whose lock the caller holds.
        on_event: told of progress and of what there is to know of the source.
        wants_stop: set from any thread, it ends the work after the segment that is being made.
    """

    def __init__(
        self,
        prepared: Prepared,
        upscaler: Upscaler,
        journal: Journal,
        on_event: OnEvent,
        wants_stop: threading.Event,
    ) -> None:
        self._prepared, self._upscaler, self._journal = prepared, upscaler, journal
        self._on_event, self._wants_stop = on_event, wants_stop
        self._began = self._segment_began = time.perf_counter()
        self._num_frames_before = self._num_frames_done = journal.num_frames
        self._has_warned = False

    def make_all(self) -> StageTimes:
        """Make all that is left; how long each stage worked on it.

        Raises:
            RunStoppedError: the caller wanted it to. TargetError, SourceError, DeviceMemoryError, NumericError: what
                is in the journal stays there.
        """
        self._warn_of_space()
        worker = open_worker(self._prepared, self._upscaler, batch_size(self._prepared, self._upscaler))
        times = [self._make(worker, group) for group in _neighbours(self._journal.remaining)]
        if worker.tally.num_recomputed:
            text = f"{worker.tally.num_recomputed} frames were no pictures at first and were computed again in fp32"
            self._on_event(Notice(text=text))
        return worker.with_device_times(StageTimes.total(times))

    def _make(self, worker: FrameWorker, group: Sequence[Segment]) -> StageTimes:
        window = Window(group[0].start, group[-1].stop)
        tile_px = self._journal.tile_px_before(group[0])
        if tile_px is not None:
            self._upscaler.begin_with_tiles(tile_px)
        return run_stages(
            lambda: self._filled_batches(worker, window),
            worker.run,
            lambda batches: self._encode(worker, group, batches),
            capacity=QUEUE_BATCHES,
            rings=(worker.free_inputs, worker.free_outputs),
        )

    def _filled_batches(self, worker: FrameWorker, window: Window) -> Iterator[HostBatch]:
        batch: HostBatch | None = None
        for frame in read(self._prepared, window, lambda text: self._on_event(Notice(text=text))):
            if batch is None:
                batch = worker.free_inputs.get()
                batch.times = []
            batch.append(frame.planes, frame.time)
            if len(batch) == batch.capacity:
                yield batch
                batch = None
        if batch is not None:
            yield batch

    def _encode(self, worker: FrameWorker, group: Sequence[Segment], batches: Iterator[HostBatch]) -> None:
        left, tally = deque(group), Tally()
        writer: SegmentWriter | PictureWriter | None = None
        try:
            for batch in batches:
                for index, stamp in enumerate(batch.times):
                    while len(left) > 1 and left[1].start is not None and stamp.pts >= left[1].start:
                        writer, finished = None, writer
                        self._finish(left.popleft(), finished, tally)
                        tally = Tally()
                    writer = writer or self._open_writer(left[0])
                    shifted = dataclasses.replace(stamp, pts=stamp.pts - self._prepared.shift)
                    writer.write([plane[index] for plane in batch.planes], shifted)
                    tally += batch.tallies[index]
                worker.free_outputs.put(batch)
                self._report(writer.num_frames if writer is not None else 0)
            while left:
                writer, finished = None, writer
                self._finish(left.popleft(), finished, tally)
                tally = Tally()
        except BaseException:
            if writer is not None:
                writer.abandon()
            raise

    def _open_writer(self, segment: Segment) -> SegmentWriter | PictureWriter:
        path, settings = self._prepared.plan.segment_path(segment), self._prepared.encode_settings
        if settings.naming is None:
            return SegmentWriter(path, settings)
        first = 1 + self._journal.num_frames_before(segment)
        return PictureWriter(
            path, dataclasses.replace(settings, naming=dataclasses.replace(settings.naming, first=first))
        )

    def _finish(self, segment: Segment, writer: SegmentWriter | PictureWriter | None, tally: Tally) -> None:
        """Close a segment and record it. A damaged source may have had no frame for it."""
        if writer is not None:
            try:
                writer.close()
            except BaseException:
                writer.abandon()
                raise
        now = time.perf_counter()
        with target_errors(self._prepared.target):
            self._journal.add(segment, tally, now - self._segment_began, self._upscaler.tile_px)
        self._segment_began = now
        self._num_frames_done = self._journal.num_frames  # a sum over all segments: not for every batch
        self._warn_of_space()
        if self._wants_stop.is_set() and self._journal.remaining:
            raise RunStoppedError(
                f"{self._prepared.target}: stopped with {len(self._journal.records)} of "
                f"{len(self._prepared.plan.segments)} segments done; the same command goes on from there"
            )

    def _warn_of_space(self) -> None:
        """Say once that the disk will be too small, by what the finished segments have taken."""
        line = None if self._has_warned else shortage(self._prepared, self._journal.records.values())
        if line is not None:
            self._has_warned = True
            self._on_event(Notice(text=line))

    def _report(self, num_frames_in_segment: int) -> None:
        self._on_event(
            Progress(
                num_frames_done=self._num_frames_done + num_frames_in_segment,
                num_frames_expected=self._prepared.plan.num_frames_expected,
                seconds_elapsed=time.perf_counter() - self._began,
                num_frames_before=self._num_frames_before,
            )
        )


def _neighbours(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments grouped into runs without a gap, which are read in one go."""
    groups: list[list[Segment]] = []
    for segment in segments:
        if groups and groups[-1][-1].index + 1 == segment.index:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups
