"""`upscale_video`: a file in, the same file larger out. Composition only; the rooms below do the work."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidsr import __version__
from vidsr.engines.devices import device_name
from vidsr.errors import SourceError, UsageError
from vidsr.events import Event, Finished, Notice, OnEvent, Progress, Started, ignore
from vidsr.frames import PictureFormat, PixelLayout
from vidsr.geometry import output_sample_aspect_ratio, output_size
from vidsr.media.copies import plan_copies
from vidsr.media.encoders import choose_layout, find_encoder, fit_slices
from vidsr.media.formats import output_color
from vidsr.media.join import CONTAINERS, Cut, aspect_loss, join
from vidsr.media.probe import probe
from vidsr.media.reader import Window, read_frames
from vidsr.media.writer import EncodeSettings, SegmentWriter, target_errors
from vidsr.options import UpscaleOptions
from vidsr.pipeline.plan import Plan, Segment, make_plan, point_to_ticks
from vidsr.pipeline.stage import StageTimes, run_stages
from vidsr.target import check_container, check_target, default_target
from vidsr.transfer import HostBatch, open_lane
from vidsr.upscaler import Upscaler
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
    """One source, one target, everything decided and checked: nothing has been written yet.

    Raises:
        SourceError, UsageError, TargetError, WeightsError, DownloadError: whatever can be known to be wrong
            before the first frame.
    """

    def __init__(
        self,
        source: Path,
        target: Path | None,
        options: UpscaleOptions,
        on_event: OnEvent = ignore,
        *,
        overwrite: bool = False,
        upscaler: Upscaler | None = None,
    ) -> None:
        self.options, self.on_event = options, on_event
        self.source = probe(source)
        self.target = target or default_target(source, options)
        check_target(self.target, source, overwrite=overwrite)
        self.encoder = find_encoder(options.codec)
        check_container(self.target, self.encoder)
        self._encoder_options = self.encoder.options(options.crf, options.preset)
        self.target_picture = self._target_picture()
        self.window = self._window()
        num_frames = sum(pts in self.window for pts in self.source.pts)
        if num_frames == 0:
            raise UsageError(f"{source}: no frame lies between start and stop; it has {len(self.source.pts)} frames")
        self.plan: Plan = make_plan(self.target, num_frames, self.window.start, self.window.stop)
        is_part = options.start is not None or options.stop is not None
        self.copies = plan_copies(self.source, CONTAINERS[self.target.suffix.lower()], is_part=is_part)
        self.upscaler = upscaler or Upscaler(options, on_event)

    def _target_picture(self) -> PictureFormat:
        picture = self.source.video.picture
        layout = choose_layout(self.encoder, picture.layout, self.options.pix_fmt)
        even = self.encoder.even_sides and layout.family == "yuv"
        width, height = output_size(
            picture.width,
            picture.height,
            self.options,
            even_x=even and layout.chroma_shift_x > 0,
            even_y=even and layout.chroma_shift_y > 0,
        )
        color = output_color(picture, layout)
        return PictureFormat(width=width, height=height, layout=layout, color=color)

    def _window(self) -> Window:
        video = self.source.video
        start, stop = (
            point_to_ticks(point, self.source.pts, self.source.start_seconds, video.time_base)
            for point in (self.options.start, self.options.stop)
        )
        return Window(start, stop)

    @property
    def batch(self) -> int:
        """Frames per network call."""
        if self.options.batch is not None:
            return self.options.batch
        if self.upscaler.device.type == "cpu":
            return 1
        picture = self.source.video.picture
        return max(1, min(_PIXELS_PER_CUDA_BATCH // (picture.width * picture.height), _MAX_CUDA_BATCH))

    def execute(self) -> Result:
        """Make the target.

        Raises:
            TargetError, DiskFullError, SourceError, DeviceMemoryError: and no file is left under the target's name.
        """
        began = time.perf_counter()
        self._announce()
        plan = self.plan
        with target_errors(self.target):
            plan.work_folder.mkdir(exist_ok=True)
        try:
            times = self._make_segment(plan.segments[0])
            num_frames = join(
                [plan.segment_path(segment) for segment in plan.segments],
                self.source,
                self.target_picture,
                self._sample_aspect_ratio,
                self.copies,
                self._cut(),
                plan.work_folder / "joined.part",
                self.target,
                self._tags(),
                lambda text: self.on_event(Notice(text=text)),
            )
        finally:
            shutil.rmtree(plan.work_folder, ignore_errors=True)
        seconds = time.perf_counter() - began
        self.on_event(Finished(target=self.target, num_frames=num_frames, seconds_elapsed=seconds))
        return Result(target=self.target, num_frames=num_frames, seconds_elapsed=seconds, stage_times=times)

    def estimate(self) -> Estimate:
        """Measure one frame of the source (after one to warm up) and reckon the whole run from it."""
        worker = self._worker(batch=1)
        frame = next(read_frames(self.source, self.window, lambda text: None), None)
        if frame is None:
            raise SourceError(f"{self.source.path}: no frame between start and stop can be decoded")
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
            num_frames=self.plan.num_frames_expected,
            seconds_per_frame=seconds,
            target_size=(self.target_picture.width, self.target_picture.height),
        )

    def _worker(self, batch: int) -> FrameWorker:
        return FrameWorker(
            self.upscaler,
            self.source.video.picture,
            self.target_picture,
            open_lane(self.upscaler.device),
            batch=batch,
            queue_batches=_QUEUE_BATCHES,
        )

    def _make_segment(self, segment: Segment) -> StageTimes:
        worker = self._worker(self.batch)
        window = Window(segment.start, segment.stop)
        return run_stages(
            lambda: self._filled_batches(worker, window),
            worker.run,
            lambda batches: self._encode(worker, segment, batches),
            capacity=_QUEUE_BATCHES,
            rings=(worker.free_inputs, worker.free_outputs),
        )

    def _filled_batches(self, worker: FrameWorker, window: Window) -> Iterator[HostBatch]:
        batch: HostBatch | None = None
        for frame in read_frames(self.source, window, lambda text: self.on_event(Notice(text=text))):
            if batch is None:
                batch = worker.free_inputs.get()
                batch.times = []
            batch.append(frame.planes, frame.time)
            if len(batch) == batch.capacity:
                yield batch
                batch = None
        if batch is not None:
            yield batch

    def _encode(self, worker: FrameWorker, segment: Segment, batches: Iterator[HostBatch]) -> None:
        began = time.perf_counter()
        writer = SegmentWriter(self.plan.segment_path(segment), self._encode_settings())
        try:
            for batch in batches:
                for index, stamp in enumerate(batch.times):
                    shifted = dataclasses.replace(stamp, pts=stamp.pts - self._shift)
                    writer.write([plane[index] for plane in batch.planes], shifted)
                worker.free_outputs.put(batch)
                self.on_event(
                    Progress(
                        num_frames_done=writer.num_frames,
                        num_frames_expected=self.plan.num_frames_expected,
                        seconds_elapsed=time.perf_counter() - began,
                    )
                )
            if writer.num_frames == 0:
                raise SourceError(f"{self.source.path}: not one frame could be decoded; the file is damaged")
            writer.close()
        except BaseException:
            writer.abandon()
            raise

    def _encode_settings(self) -> EncodeSettings:
        video, picture = self.source.video, self.target_picture
        return EncodeSettings(
            codec=self.encoder.name,
            segment_format=self.encoder.segment_format,
            options=fit_slices(self.encoder.name, self._encoder_options, picture),
            picture=picture,
            time_base=video.time_base,
            frame_rate=video.average_rate or Fraction(25),
            sample_aspect_ratio=self._sample_aspect_ratio,
        )

    @property
    def _sample_aspect_ratio(self) -> Fraction:
        video, picture = self.source.video, self.target_picture
        return output_sample_aspect_ratio(
            video.sample_aspect_ratio, video.picture.width, video.picture.height, picture.width, picture.height
        )

    @property
    def _shift(self) -> int:
        """Ticks that all time stamps lose: the output of a part starts at 0, that of a whole not before it."""
        return self.window.start if self.window.start is not None else min(self.source.pts[0], 0)

    def _cut(self) -> Cut:
        base = self.source.video.time_base
        start, stop = self.window.start, self.window.stop
        return Cut(
            start=None if start is None else start * base,
            stop=None if stop is None else stop * base,
            shift=self._shift * base,
        )

    def _tags(self) -> dict[str, str]:
        info = f"vidsr {__version__}, {self.upscaler.model.name}, options {self.options.digest()}"
        if CONTAINERS[self.target.suffix.lower()] in ("matroska", "webm"):
            return {"VIDSR": info}
        free = next((key for key in ("comment", "description") if key not in self.source.tags), None)
        return {free: info} if free else {}

    def _announce(self) -> None:
        video, picture = self.source.video, self.target_picture
        self.on_event(
            Started(
                source=self.source.path,
                target=self.target,
                source_size=(video.picture.width, video.picture.height),
                target_size=(picture.width, picture.height),
                num_frames_expected=self.plan.num_frames_expected,
                model=self.upscaler.model.name,
                model_reason=self.upscaler.model.reason,
                device=device_name(self.upscaler.device),
                codec=f"{self.encoder.name} {picture.layout.name}",
            )
        )
        for text in self.losses():
            self.on_event(Notice(text=text))

    def losses(self) -> list[str]:
        """One line for everything of the source that the target will not have."""
        layout, target_layout = self.source.video.picture.layout, self.target_picture.layout
        lines = [*self.copies.losses, *(f"left out: {text}" for text in self.source.unkept)]
        if self.source.is_interlaced:
            lines.append("the source is interlaced and is upscaled as if it were not; deinterlace it first")
        lost = _lost_by_format(layout, target_layout)
        if lost and self.options.pix_fmt is None:
            lines.append(
                f"{self.encoder.name} writes {target_layout.name}, which loses {' and '.join(lost)} of the source's "
                f"{layout.name}; ffv1 keeps more"
            )
        aspect = aspect_loss(self.target, self.encoder.name, self._sample_aspect_ratio)
        return lines if aspect is None else [*lines, aspect]


def upscale_video(
    source: str | Path,
    target: str | Path | None = None,
    options: UpscaleOptions | None = None,
    *,
    on_event: OnEvent = ignore,
    overwrite: bool = False,
) -> Result:
    """Upscale one video file; sound, subtitles, chapters and tags come along unchanged.

    Args:
        source: any file that FFmpeg reads.
        target: where to write; the suffix says the container (.mp4, .mov, .mkv, .webm). None: beside the
            source, see `vidsr.target.default_target`.
        options: how; the defaults double the size with the model that suits the device.
        on_event: called, from several threads but never from two at once, with every event of `vidsr.events`.
        overwrite: replace an existing target.

    Returns:
        The finished file and its measures.

    Raises:
        VidsrError: one of its kinds, see `vidsr.errors`; nothing is left under the target's name then.
    """
    run = Run(
        Path(source),
        None if target is None else Path(target),
        options or UpscaleOptions(),
        _one_at_a_time(on_event),
        overwrite=overwrite,
    )
    return run.execute()


def _lost_by_format(source: PixelLayout, target: PixelLayout) -> list[str]:
    finer = source.chroma_shift_x < target.chroma_shift_x or source.chroma_shift_y < target.chroma_shift_y
    losses = {
        "bit depth": source.depth > target.depth,
        "chroma resolution": source.family != "gray" and finer,
        "the alpha channel": source.has_alpha and not target.has_alpha,
    }
    return [name for name, is_lost in losses.items() if is_lost]


def _one_at_a_time(on_event: OnEvent) -> OnEvent:
    lock = threading.Lock()

    def call(event: Event) -> None:
        with lock:
            on_event(event)

    return call
