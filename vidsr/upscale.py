"""`upscale_video`: a file in, the same file larger out. Composition only; the rooms below do the work."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidsr import __version__
from vidsr.engines.devices import device_name
from vidsr.errors import SourceError, VerificationError
from vidsr.events import Checked, Event, Finished, Notice, OnEvent, Progress, Started, ignore
from vidsr.media.join import join
from vidsr.media.picture_writer import PictureWriter, publish_pictures
from vidsr.media.reader import DecodedFrame, Window
from vidsr.media.scc import SCC_KIND, read_record, record_path, scc_text
from vidsr.media.source import is_video_file, read_frames
from vidsr.media.writer import SegmentWriter, publish, target_errors
from vidsr.options import UpscaleOptions
from vidsr.pipeline.plan import Segment
from vidsr.pipeline.stage import StageTimes, run_stages
from vidsr.prepare import Prepared, prepare
from vidsr.transfer import HostBatch, open_lane
from vidsr.upscaler import Upscaler
from vidsr.verify import verify
from vidsr.worker import FrameWorker

_QUEUE_BATCHES = 2
# Frames per network call: one keeps a CPU busy; a GPU wants about a 720p frame's worth of pixels at once.
_PIXELS_PER_CUDA_BATCH = 1280 * 720
_MAX_CUDA_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `upscale_video` made."""

    target: Path
    num_frames: int
    seconds_elapsed: float
    stage_times: StageTimes
    color_drift: tuple[float, float, float]  # mean R', G', B' of the result less the source's, in levels of 255
    num_recomputed: int  # frames that were no picture at first and were computed again in fp32


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would take, by one measured frame."""

    num_frames: int
    seconds_per_frame: float
    target_size: tuple[int, int]

    @property
    def seconds(self) -> float:
        return self.num_frames * self.seconds_per_frame


class Run:
    """One prepared upscale: made once, executed once.

    Raises:
        WeightsError, DownloadError, DeviceError, UsageError: the upscaler cannot be had.
    """

    def __init__(self, prepared: Prepared, on_event: OnEvent = ignore, *, upscaler: Upscaler | None = None) -> None:
        self.prepared, self.on_event = prepared, on_event
        self.upscaler = upscaler or Upscaler(prepared.options, on_event)
        self.num_recomputed = 0

    @property
    def batch(self) -> int:
        """Frames per network call."""
        if self.prepared.options.batch is not None:
            return self.prepared.options.batch
        if self.upscaler.device.type == "cpu":
            return 1
        picture = self.prepared.source.video.picture
        return max(1, min(_PIXELS_PER_CUDA_BATCH // (picture.width * picture.height), _MAX_CUDA_BATCH))

    def execute(self) -> Result:
        """Make the target.

        Raises:
            TargetError, DiskFullError, SourceError, DeviceMemoryError, NumericError: and no file is left under the
                target's name.
            VerificationError: the target is complete and stays, but differs from its source in what it should not.
        """
        began = time.perf_counter()
        self._announce()
        plan = self.prepared.plan
        folder = self.prepared.target.parent
        is_new_folder = not folder.exists()  # only image sequences get one made
        with target_errors(self.prepared.target):
            plan.work_folder.mkdir(exist_ok=True, parents=self.prepared.pictures is not None)
        try:
            times, drift = self._make_segment(plan.segments[0])
            scc = self._write_scc()
            num_frames = self._publish()
            if scc is not None:
                publish(scc, self.prepared.target.with_suffix(".scc"))
        finally:
            shutil.rmtree(plan.work_folder, ignore_errors=True)
            if is_new_folder:
                with suppress(OSError):  # not empty: it holds the result
                    folder.rmdir()
        seconds = time.perf_counter() - began
        target = self.prepared.target
        self.on_event(
            Finished(
                target=target,
                num_frames=num_frames,
                seconds_elapsed=seconds,
                color_drift=drift,
                num_recomputed=self.num_recomputed,
            )
        )
        self._check()
        return Result(
            target=target,
            num_frames=num_frames,
            seconds_elapsed=seconds,
            stage_times=times,
            color_drift=drift,
            num_recomputed=self.num_recomputed,
        )

    def _publish(self) -> int:
        """Make the target of the finished segments; the number of frames in it."""
        prepared = self.prepared
        paths = [prepared.plan.segment_path(segment) for segment in prepared.plan.segments]
        if prepared.pictures is not None:
            return publish_pictures(paths, prepared.pictures.pattern)
        return join(
            paths,
            prepared.delivered,
            prepared.picture,
            prepared.sample_aspect_ratio,
            prepared.display_matrix,
            prepared.copies,
            prepared.cut,
            prepared.plan.work_folder / "joined.part",
            prepared.target,
            self._tags(),
            lambda text: self.on_event(Notice(text=text)),
        )

    def _check(self) -> None:
        """Read the target again: a writer's own bookkeeping proves nothing. Only files can be compared, no pictures."""
        if self.prepared.pictures is not None or not is_video_file(self.prepared.source):
            return
        options, target = self.prepared.options, self.prepared.target
        fields = self.prepared.fields
        verdict = verify(
            self.prepared.source.path,
            target,
            quick=True,
            start=options.start,
            stop=options.stop,
            frame_ratio=Fraction(1) if fields is None else fields.frame_ratio,
        )
        self.on_event(Checked(target=target, passed=verdict.passes(), text=str(verdict)))
        if not verdict.passes():
            raise VerificationError(
                f"{target}: is not what its source is ({verdict}); the file was left for inspection, "
                f"and `vidsr verify {self.prepared.source.path} {target}` tells more"
            )

    def estimate(self) -> Estimate:
        """Measure one frame of the source (after one to warm up) and reckon the whole run from it."""
        worker = self._worker(batch=1)
        frame = next(self._read(self.prepared.window, lambda text: None), None)
        if frame is None:
            raise SourceError(f"{self.prepared.source.path}: no frame between start and stop can be decoded")
        seconds = 0.0
        for _ in range(2):
            batch = worker.free_inputs.get()
            batch.times = []
            batch.append(frame.planes, frame.time)
            began = time.perf_counter()
            for out in worker.run(iter([batch])):
                worker.free_outputs.put(out)
            seconds = time.perf_counter() - began
        return Estimate(
            num_frames=self.prepared.plan.num_frames_expected,
            seconds_per_frame=seconds,
            target_size=(self.prepared.picture.width, self.prepared.picture.height),
        )

    def _worker(self, batch: int) -> FrameWorker:
        return FrameWorker(
            self.upscaler,
            self.prepared.source.video.picture,
            self.prepared.picture,
            self.prepared.orientation,
            open_lane(self.upscaler.device),
            time_base=self.prepared.delivered.video.time_base,
            batch=batch,
            queue_batches=_QUEUE_BATCHES,
        )

    def _make_segment(self, segment: Segment) -> tuple[StageTimes, tuple[float, float, float]]:
        worker = self._worker(self.batch)
        window = Window(segment.start, segment.stop)
        times = run_stages(
            lambda: self._filled_batches(worker, window),
            worker.run,
            lambda batches: self._encode(worker, segment, batches),
            capacity=_QUEUE_BATCHES,
            rings=(worker.free_inputs, worker.free_outputs),
        )
        if worker.num_recomputed:
            self.num_recomputed += worker.num_recomputed
            text = f"{worker.num_recomputed} frames were no pictures at first and were computed again in fp32"
            self.on_event(Notice(text=text))
        red, green, blue = worker.color_drift()
        return times, (255 * red, 255 * green, 255 * blue)

    def _filled_batches(self, worker: FrameWorker, window: Window) -> Iterator[HostBatch]:
        batch: HostBatch | None = None
        for frame in self._read(window, lambda text: self.on_event(Notice(text=text))):
            if batch is None:
                batch = worker.free_inputs.get()
                batch.times = []
            batch.append(frame.planes, frame.time)
            if len(batch) == batch.capacity:
                yield batch
                batch = None
        if batch is not None:
            yield batch

    def _read(self, window: Window, on_notice: Callable[[str], None]) -> Iterator[DecodedFrame]:
        stop_at_damage = self.prepared.options.on_decode_error == "stop"
        return read_frames(self.prepared.source, window, on_notice, self.prepared.fields, stop_at_damage=stop_at_damage)

    def _encode(self, worker: FrameWorker, segment: Segment, batches: Iterator[HostBatch]) -> None:
        began = time.perf_counter()
        open_writer = SegmentWriter if self.prepared.pictures is None else PictureWriter
        writer = open_writer(self.prepared.plan.segment_path(segment), self.prepared.encode_settings)
        try:
            for batch in batches:
                for index, stamp in enumerate(batch.times):
                    shifted = dataclasses.replace(stamp, pts=stamp.pts - self.prepared.shift)
                    writer.write([plane[index] for plane in batch.planes], shifted)
                worker.free_outputs.put(batch)
                self.on_event(
                    Progress(
                        num_frames_done=writer.num_frames,
                        num_frames_expected=self.prepared.plan.num_frames_expected,
                        seconds_elapsed=time.perf_counter() - began,
                    )
                )
            if writer.num_frames == 0:
                raise SourceError(f"{self.prepared.source.path}: not one frame could be decoded; the file is damaged")
            writer.close()
        except BaseException:
            writer.abandon()
            raise

    def _write_scc(self) -> Path | None:
        """The captions that found no place in the pictures, as a file that waits for its name."""
        scc, plan = self.prepared.scc, self.prepared.plan
        if scc is None:
            return None
        expected = SCC_KIND in self.prepared.source.captions
        base, zero = self.prepared.delivered.video.time_base, self.prepared.clock_zero
        records = (read_record(record_path(plan.segment_path(segment))) for segment in plan.segments)
        text = scc_text((pts * base - zero, captions) for record in records for pts, captions in record)
        if text is None:
            if expected:
                self.on_event(Notice(text=f"no closed captions between start and stop: no {scc.name} is written"))
            return None
        if not expected:  # nothing in the packets looked like captions, so nothing was announced or checked
            if scc.exists():
                self.on_event(Notice(text=f"left out: closed captions found in the pictures: {scc} is already there"))
                return None
            self.on_event(Notice(text=f"closed captions were found in the pictures; they go into {scc.name}"))
        part = plan.work_folder / "captions.part"
        with target_errors(scc):
            part.write_text(text, encoding="ascii")
        return part

    def _tags(self) -> dict[str, str]:
        info = f"vidsr {__version__}, {self.upscaler.model.name}, options {self.prepared.options.digest()}"
        if self.prepared.container in ("matroska", "webm"):
            return {"VIDSR": info}
        free = next((key for key in ("comment", "description") if key not in self.prepared.source.tags), None)
        return {free: info} if free else {}

    def _announce(self) -> None:
        video, picture = self.prepared.source.video, self.prepared.picture
        self.on_event(
            Started(
                source=self.prepared.source.path,
                target=self.prepared.target,
                source_size=(video.picture.width, video.picture.height),
                target_size=(picture.width, picture.height),
                num_frames_expected=self.prepared.plan.num_frames_expected,
                model=self.upscaler.model.name,
                model_reason=self.upscaler.model.reason,
                device=device_name(self.upscaler.device),
                codec=f"{self.prepared.encoder.name} {picture.layout.name}",
            )
        )
        for text in [*self.prepared.notes(), *self.prepared.losses()]:
            self.on_event(Notice(text=text))


def upscale_video(
    source: str | Path,
    target: str | Path | None = None,
    options: UpscaleOptions | None = None,
    *,
    on_event: OnEvent = ignore,
    overwrite: bool = False,
) -> Result:
    """Upscale one video file or image sequence; sound, subtitles, chapters and tags come along unchanged.

    Args:
        source: any file that FFmpeg reads, a folder of numbered pictures, or their pattern (shot.%04d.png).
        target: where to write; the suffix says the container (.mp4, .mov, .mkv, .webm), or of pictures the format
            (out/shot.%04d.png, .tif, .exr, .dpx). None: beside the source, see `vidsr.target.default_target`.
        options: how; the defaults double the size with the model that suits the device.
        on_event: called, from several threads but never from two at once, with every event of `vidsr.events`.
        overwrite: replace an existing target.

    Returns:
        The finished file and its measures.

    Raises:
        VidsrError: one of its kinds, see `vidsr.errors`; nothing is left under the target's name then, except with
            VerificationError, which finds fault with the finished file.
    """
    prepared = prepare(
        Path(source), None if target is None else Path(target), options or UpscaleOptions(), overwrite=overwrite
    )
    return Run(prepared, _one_at_a_time(on_event)).execute()


def _one_at_a_time(on_event: OnEvent) -> OnEvent:
    lock = threading.Lock()

    def call(event: Event) -> None:
        with lock:
            on_event(event)

    return call
