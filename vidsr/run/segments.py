"""Making segments: frames through the workers into segment files, each recorded in the journal when it is complete.

Each device has a line of its own: a thread that decodes, one that works, one that encodes. A line takes a run of
segments when it has read those before, and goes on without a pause.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from vidsr.devices.threads import shared_threads
from vidsr.errors import RunStoppedError
from vidsr.events import Notice, OnEvent, Progress
from vidsr.inference.upscaler import Upscaler
from vidsr.media.errors import target_errors
from vidsr.media.read.video import Window
from vidsr.media.write.pictures import PictureWriter
from vidsr.media.write.segment import SegmentWriter
from vidsr.pipeline.handout import Handout
from vidsr.pipeline.journal import Journal
from vidsr.pipeline.plan import Segment
from vidsr.pipeline.stage import Channel, StageTimes, run_side_by_side, run_stages
from vidsr.pipeline.tally import Tally
from vidsr.run.batch import HostBatch
from vidsr.run.disk_space import shortage
from vidsr.run.frame_worker import QUEUE_BATCHES, FrameWorker, batch_size, open_worker
from vidsr.run.prepare import Prepared, read
from vidsr.run.repeated_frames import distinct_batches


class SegmentMaker:
    """Makes what a journal does not have yet, on as many devices as the upscaler has.

    Args:
        prepared: the run.
        upscaler: what is done to pictures.
        journal: of the run's work folder, whose lock the caller holds.
        on_event: told of progress and of what there is to know of the source; from several threads.
        wants_stop: set from any thread, it ends the work after the segments that are being made.
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
        self.on_event, self._wants_stop = on_event, wants_stop
        self._lock = threading.Lock()  # for what follows, which all lines share
        self._began = self._last_finished = time.perf_counter()
        self._num_frames_before = self._num_frames_done = journal.num_frames
        self._num_frames_open: dict[_Line, int] = {}  # of segments that are being made
        self._has_warned = False

    def make_all(self) -> StageTimes:
        """Make all that is left; how long each stage worked on it.

        Raises:
            RunStoppedError: the caller wanted it to. TargetError, SourceError, DeviceMemoryError, NumericError: what
                is in the journal stays there.
        """
        self._warn_of_space()
        remaining = self._journal.remaining
        if not remaining:
            return StageTimes.total([])
        team = self._upscaler.team(at_most=len(remaining))
        self._note_idle(len(remaining))
        self._choose_tiles(team, remaining[0])
        handout, batch = Handout(remaining, len(team)), batch_size(self._prepared, self._upscaler)
        workers = [open_worker(self._prepared, upscaler, batch, len(team)) for upscaler in team]
        lines = [
            _Line(self, self._prepared, upscaler, worker, handout)
            for upscaler, worker in zip(team, workers, strict=True)
        ]
        with shared_threads(len(team)) as take_share:
            run_side_by_side(
                [functools.partial(line.run, take_share) for line in lines],
                rings=[ring for line in lines for ring in line.rings],
            )
        if any(line.was_stopped for line in lines) and self._journal.remaining:
            raise self._stopped()
        num_recomputed = sum(line.worker.tally.num_recomputed for line in lines)
        if num_recomputed:
            text = f"{num_recomputed} frames were no pictures at first and were computed again in fp32"
            self.on_event(Notice(text=text))
        return StageTimes.side_by_side(line.times for line in lines if line.times is not None)

    def _choose_tiles(self, team: Sequence[Upscaler], first: Segment) -> None:
        """The same on all devices as in earlier runs: networks of long reach make other pictures of other tiles."""
        tile_px = self._journal.tile_px_near(first)
        if tile_px is None and len(team) > 1:
            source, target = self._prepared.source.video.picture, self._prepared.picture
            size = self._prepared.orientation.size(source.width, source.height)
            sides = [upscaler.tile_px_for(size, (target.width, target.height)) for upscaler in team]
            tile_px = min(sides, key=lambda side: side or math.inf)
        for upscaler in team:
            upscaler.begin_with_tiles(tile_px)

    def _note_idle(self, num_segments: int) -> None:
        num_devices = len(self._upscaler.devices)
        if 0 < num_segments < num_devices:
            text = f"{num_segments} of {num_devices} devices work: so many segments are left, which no two can share"
            self.on_event(Notice(text=text))

    def finish(self, segment: Segment, writer: SegmentWriter | PictureWriter | None, tally: Tally, line: _Line) -> None:
        """Close a segment and record it. A damaged source may have had no frame for it.

        Raises:
            RunStoppedError: that was the last one of its line, as the caller wants to stop.
        """
        if writer is not None:
            try:
                writer.close()
            except BaseException:
                writer.abandon()
                raise
        with self._lock:
            # Since the last one of any line: their sum is the time of all, and gives the rate of all lines together.
            seconds, self._last_finished = time.perf_counter() - self._last_finished, time.perf_counter()
        with target_errors(self._prepared.target):
            self._journal.add(segment, tally, seconds, line.upscaler.tile_px)
        with self._lock:
            self._num_frames_done = self._journal.num_frames  # a sum over all segments: not for every batch
            self._num_frames_open[line] = 0
            self._warn_of_space()
        if self._wants_stop.is_set() and self._journal.remaining:
            raise self._stopped()

    def _stopped(self) -> RunStoppedError:
        return RunStoppedError(
            f"{self._prepared.target}: stopped with {len(self._journal.records)} of "
            f"{len(self._prepared.plan.segments)} segments done; the same command goes on from there"
        )

    def _warn_of_space(self) -> None:
        """Say once that the disk will be too small, by what the finished segments have taken."""
        line = None if self._has_warned else shortage(self._prepared, self._journal.records.values())
        if line is not None:
            self._has_warned = True
            self.on_event(Notice(text=line))

    def report(self, num_frames_in_segment: int, line: _Line) -> None:
        """Tell how far all lines are, one of which has so many frames in the segment that it is making."""
        with self._lock:  # until it is told, so that the count never goes back
            self._num_frames_open[line] = num_frames_in_segment
            self.on_event(
                Progress(
                    num_frames_done=self._num_frames_done + sum(self._num_frames_open.values()),
                    num_frames_expected=self._prepared.plan.num_frames_expected,
                    seconds_elapsed=time.perf_counter() - self._began,
                    num_frames_before=self._num_frames_before,
                )
            )


class _Line:
    """Decoding, working and encoding for one device."""

    def __init__(
        self, maker: SegmentMaker, prepared: Prepared, upscaler: Upscaler, worker: FrameWorker, handout: Handout
    ) -> None:
        self.upscaler, self.worker = upscaler, worker
        self.rings: tuple[Channel[HostBatch], ...] = (worker.free_inputs, worker.free_outputs)
        self.was_stopped = False
        self.times: StageTimes | None = None  # None until all is done
        self._maker, self._prepared, self._handout = maker, prepared, handout
        self._begun: deque[Segment] = deque()  # taken by the decoding thread, finished by the encoding one

    def run(self, take_share: Callable[[], None]) -> None:
        """Make segments until none is left; `take_share` is called first, in the thread that computes."""
        take_share()
        try:
            times = run_stages(
                self._filled_batches, self.worker.run, self._encode, capacity=QUEUE_BATCHES, rings=self.rings
            )
            self.times = self.worker.with_device_times(times)
        except RunStoppedError:
            self.was_stopped = True  # the other lines finish theirs

    def _filled_batches(self) -> Iterator[HostBatch]:
        while run := self._handout.take():
            self._begun.extend(run)
            window = Window(run[0].start, run[-1].stop)
            frames = read(self._prepared, window, lambda text: self._maker.on_event(Notice(text=text)))
            borders = [segment.start for segment in run[1:] if segment.start is not None]
            yield from distinct_batches(frames, self.worker.free_inputs, borders)

    def _encode(self, batches: Iterator[HostBatch]) -> None:
        begun, tally = self._begun, Tally()
        writer: SegmentWriter | PictureWriter | None = None
        try:
            for batch in batches:
                for index, stamp, is_repeat in batch.shown():
                    while len(begun) > 1 and begun[1].start is not None and stamp.pts >= begun[1].start:
                        writer, finished = None, writer
                        self._maker.finish(begun.popleft(), finished, tally, self)
                        tally = Tally()
                    writer = writer or self._open_writer(begun[0])
                    shifted = dataclasses.replace(stamp, pts=stamp.pts - self._prepared.shift)
                    writer.write([plane[index] for plane in batch.planes], shifted)
                    tally += batch.tallies[index].repeated if is_repeat else batch.tallies[index]
                self.worker.free_outputs.put(batch)
                self._maker.report(writer.num_frames if writer is not None else 0, self)
            while begun:
                writer, finished = None, writer
                self._maker.finish(begun.popleft(), finished, tally, self)
                tally = Tally()
        except BaseException:
            if writer is not None:
                writer.abandon()
            raise

    def _open_writer(self, segment: Segment) -> SegmentWriter | PictureWriter:
        path, settings = self._prepared.plan.segment_path(segment), self._prepared.encode_settings
        return SegmentWriter(path, settings) if settings.naming is None else PictureWriter(path, settings)
