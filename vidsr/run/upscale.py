"""`upscale_video`: a file in, the same file larger out. Composition only; the rooms below do the work."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidsr.devices.names import device_names
from vidsr.errors import SourceError, VerificationError, VidsrError
from vidsr.events import Checked, Finished, Notice, OnEvent, Started, ignore, one_at_a_time
from vidsr.files import publish
from vidsr.inference.upscaler import Upscaler
from vidsr.judge.verify import verify
from vidsr.media.errors import target_errors
from vidsr.media.read.source import is_video_file
from vidsr.media.write.join import join
from vidsr.media.write.pictures import publish_pictures
from vidsr.media.write.scc import SCC_KIND, read_record, record_path, scc_text
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.journal import Journal, clear
from vidsr.pipeline.lock import only_one
from vidsr.pipeline.stage import StageTimes
from vidsr.run.frame_worker import open_worker
from vidsr.run.identity import identity, upscaler_for
from vidsr.run.prepare import Prepared, prepare, read
from vidsr.run.segments import SegmentMaker
from vidsr.run.targets.video import partial_path
from vidsr.version import __version__


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `upscale_video` made."""

    target: Path
    num_frames: int
    seconds_elapsed: float
    stage_times: StageTimes
    color_drift: tuple[float, float, float]  # mean R', G', B' of the result less the source's, in levels of 255
    num_recomputed: int  # frames that were no picture at first and were computed again in fp32
    num_repeated: int  # frames that equal the one before and took its result
    num_partly: int  # frames of which only what differs from the one before was computed


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

    What an earlier run of the same kind finished before it was interrupted is used.

    Args:
        prepared: what `prepare` decided.
        on_event: called, from several threads but never from two at once, with every event.
        upscaler: one to use again where it suits the run; None makes one of its options. A run that goes on has the
            engine that it was begun with, which with `auto` need not be the one of a new run.
        restart: throw away what an earlier run left beside the target.
        keep_partial: when the run stops early, join what is finished into a playable file beside the target.

    Raises:
        WeightsError, DownloadError, DeviceError, UsageError: the upscaler cannot be had.
    """

    def __init__(
        self,
        prepared: Prepared,
        on_event: OnEvent = ignore,
        *,
        upscaler: Upscaler | None = None,
        restart: bool = False,
        keep_partial: bool = False,
    ) -> None:
        self.prepared, self.on_event = prepared, one_at_a_time(on_event)
        self._restart, self._keep_partial = restart, keep_partial
        self.upscaler = upscaler_for(prepared, upscaler, self.on_event, restart=restart)
        self._wants_stop = threading.Event()

    def request_stop(self) -> None:
        """Let the run end after the segment that is being made; from any thread or signal handler."""
        self._wants_stop.set()

    def execute(self) -> Result:
        """Make the target.

        Raises:
            TargetError, DiskFullError, SourceError, DeviceMemoryError, NumericError: no file is left under the
                target's name; what is finished waits beside it for the next run.
            TargetBusyError: another process is writing it. ResumeError: another run was begun there.
            RunStoppedError: `request_stop` was called.
            VerificationError: the target is complete and stays, but differs from its source in what it should not.
        """
        began = time.perf_counter()
        self._announce()
        prepared, work_folder = self.prepared, self.prepared.plan.work_folder
        folder = prepared.target.parent
        is_new_folder = not folder.exists()  # only image sequences get one made
        try:
            with ExitStack() as stack:
                with target_errors(prepared.target):
                    stack.enter_context(only_one(work_folder, prepared.target))
                    journal = self._open_journal()
                stage_times, num_frames = self._work(journal)
        finally:
            if is_new_folder:
                with suppress(OSError):  # not empty: it holds the result
                    folder.rmdir()
        seconds = time.perf_counter() - began
        target, tally = prepared.target, journal.tally
        self.on_event(
            Finished(
                target=target,
                num_frames=num_frames,
                seconds_elapsed=seconds,
                color_drift=tally.color_drift,
                num_recomputed=tally.num_recomputed,
                num_repeated=tally.num_repeated,
                num_partly=tally.num_partly,
            )
        )
        self._check()
        return Result(
            target=target,
            num_frames=num_frames,
            seconds_elapsed=seconds,
            stage_times=stage_times,
            color_drift=tally.color_drift,
            num_recomputed=tally.num_recomputed,
            num_repeated=tally.num_repeated,
            num_partly=tally.num_partly,
        )

    def _open_journal(self) -> Journal:
        plan = self.prepared.plan
        if self._restart:
            clear(plan.work_folder)
        journal = Journal(plan, identity(self.prepared, self.upscaler))
        if journal.records:
            text = f"goes on where an earlier run stopped: {len(journal.records)} of {len(plan.segments)} segments done"
            self.on_event(Notice(text=text))
        return journal

    def _work(self, journal: Journal) -> tuple[StageTimes, int]:
        """All segments, then the target of them: how long the stages worked, and the number of frames in the target."""
        work_folder = self.prepared.plan.work_folder
        try:
            times = SegmentMaker(self.prepared, self.upscaler, journal, self.on_event, self._wants_stop).make_all()
            if journal.num_frames == 0:
                raise SourceError(f"{self.prepared.source.path}: not one frame could be decoded; the file is damaged")
            num_frames = self._publish(journal)
        except BaseException as error:
            if not journal.num_frames:  # nothing worth keeping
                shutil.rmtree(work_folder, ignore_errors=True)
            elif self._keep_partial and isinstance(error, Exception):  # there is no time for it after a signal
                self._publish_partial(journal)
            raise
        shutil.rmtree(work_folder, ignore_errors=True)
        return times, num_frames

    def _publish(self, journal: Journal) -> int:
        """Make the target of the finished segments; the number of frames in it."""
        prepared = self.prepared
        paths = self._finished_paths(journal)
        if prepared.naming is not None:
            return publish_pictures(paths, prepared.naming)
        scc = self._write_scc(paths)
        num_frames = self._join(paths, prepared.target)
        if scc is not None:
            place = prepared.target.with_suffix(".scc")
            with target_errors(place):
                publish(scc, place)
        return num_frames

    def _publish_partial(self, journal: Journal) -> None:
        """Join the segments from the first on, as far as there is no gap. A failure is told, and hides no other."""
        if not journal.remaining:  # joining is what failed
            return
        partial = partial_path(self.prepared.target)
        first_left = min(segment.index for segment in journal.remaining)
        paths = [path for path in self._finished_paths(journal) if path.name < f"{first_left:06d}"]
        if self.prepared.pictures is not None or not paths:
            return
        try:
            num_frames = self._join(paths, partial)
        except VidsrError as error:
            self.on_event(Notice(text=f"the finished part could not be joined: {error}"))
            return
        self.on_event(Notice(text=f"{partial}: the first {num_frames} frames, to look at; the run goes on without it"))

    def _finished_paths(self, journal: Journal) -> list[Path]:
        plan = self.prepared.plan
        return [
            plan.segment_path(segment)
            for segment in plan.segments
            if segment.index in journal.records and journal.records[segment.index].num_frames
        ]

    def _join(self, paths: list[Path], target: Path) -> int:
        prepared = self.prepared
        return join(
            paths,
            prepared.delivered,
            prepared.picture,
            prepared.sample_aspect_ratio,
            prepared.display_matrix,
            prepared.copies,
            prepared.cut,
            prepared.plan.work_folder / "joined.part",
            target,
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
        worker = open_worker(self.prepared, self.upscaler, batch=1)
        frame = next(read(self.prepared, self.prepared.window, lambda text: None), None)
        if frame is None:
            raise SourceError(f"{self.prepared.source.path}: no frame between start and stop can be decoded")
        seconds = 0.0
        for _ in range(2):
            batch = worker.free_inputs.get()
            batch.clear()
            batch.append(frame.planes, frame.time)
            began = time.perf_counter()
            for out in worker.run(iter([batch])):
                worker.free_outputs.put(out)
            seconds = time.perf_counter() - began
        at_once = 1 if self.upscaler.device.type == "cpu" else len(self.upscaler.devices)  # the CPU is only shared out
        return Estimate(
            num_frames=self.prepared.plan.num_frames_expected,
            seconds_per_frame=seconds / min(at_once, len(self.prepared.plan.segments)),
            target_size=(self.prepared.picture.width, self.prepared.picture.height),
        )

    def _write_scc(self, paths: list[Path]) -> Path | None:
        """The captions that found no place in the pictures, as a file that waits for its name."""
        scc, plan = self.prepared.scc, self.prepared.plan
        if scc is None:
            return None
        expected = SCC_KIND in self.prepared.source.captions
        base, zero = self.prepared.delivered.video.time_base, self.prepared.clock_zero
        records = (read_record(record_path(path)) for path in paths)
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
        if self.prepared.container.tags == "any":
            return {"VIDSR": info}
        taken = {key.lower() for key in self.prepared.source.tags}  # Matroska has capitals, and muxers see one name
        free = next((key for key in ("comment", "description") if key not in taken), None)
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
                device=device_names(self.upscaler.devices),
                engine=self.upscaler.engine_info.engine,
                engine_reason=self.upscaler.engine_reason,
                codec=self.prepared.codec,
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
    restart: bool = False,
) -> Result:
    """Upscale one video file or image sequence; sound, subtitles, chapters and tags come along unchanged.

    Args:
        source: any file that FFmpeg reads, a folder of numbered pictures, or their pattern (shot.%04d.png).
        target: where to write; the suffix says the container (.mp4, .mov, .mkv, .webm), or of pictures the format
            (out/shot.%04d.png, .tif, .exr, .dpx). None: beside the source, see
            `vidsr.run.targets.video.default_target`.
        options: how; the defaults double the size with the model that suits the device.
        on_event: called, from several threads but never from two at once, with every event of `vidsr.events`.
        overwrite: replace an existing target.
        restart: begin anew where an interrupted run has left finished segments beside the target. Otherwise they
            are used, if they are of the same source, weights and options.

    Returns:
        The finished file and its measures.

    Raises:
        VidsrError: one of its kinds, see `vidsr.errors`; nothing is left under the target's name then, except with
            VerificationError, which finds fault with the finished file. Finished segments stay beside the target.
    """
    prepared = prepare(
        Path(source), None if target is None else Path(target), options or UpscaleOptions(), overwrite=overwrite
    )
    return Run(prepared, on_event, restart=restart).execute()
