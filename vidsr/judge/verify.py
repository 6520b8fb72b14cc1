"""`verify`: is this file that one, only larger? By its own reading of both, whatever program made them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from vidsr.errors import UsageError
from vidsr.judge.picture import (
    check_captions,
    check_colour,
    check_decoding,
    check_format,
    check_orientation,
    check_picture,
    check_shape,
    check_side_data,
)
from vidsr.judge.streams import (
    Common,
    check_chapters,
    check_extra,
    check_tags,
    check_timecode,
    check_track,
    pair_tracks,
    sound_offset,
)
from vidsr.judge.timing import Alignment, Part, Times, align, check_frames, check_other_rate, check_times, find_part
from vidsr.judge.verdict import Check, Verdict
from vidsr.media.survey.decoding import Decoding, decode
from vidsr.media.survey.survey import Survey, survey
from vidsr.options.values import Point

_NUM_THUMBNAILS = 24
_SLACK = Fraction(1, 24)  # a frame of film: the first one may have been dropped, or put together with the next


def verify(
    source: str | Path,
    output: str | Path,
    *,
    quick: bool = False,
    start: Point | None = None,
    stop: Point | None = None,
    frame_ratio: Fraction = Fraction(1),
) -> Verdict:
    """Compare an output with the source that it was made from.

    Args:
        source, output: any two files that FFmpeg reads.
        quick: read headers, packets and the first frame only. Without it, every frame of both is decoded.
        start, stop: the part of the source that the output shows: a frame number (int) or seconds (Fraction).
        frame_ratio: output frames per source frame: 2 where each field became a frame, 4/5 after inverse telecine.
            Other than 1, frames are only counted: which of them should be when, their source does not say.

    Raises:
        SourceError: one of them cannot be read at all. UsageError: no frame lies between start and stop.
    """
    return _Judging(Path(source), Path(output), quick, start, stop, frame_ratio).verdict()


class _Judging:
    def __init__(
        self, source: Path, output: Path, quick: bool, start: Point | None, stop: Point | None, ratio: Fraction
    ) -> None:
        self.quick, self.ratio = quick, ratio
        self.source, self.output = survey(source), survey(output)
        self.source_decoding: Decoding | None = None
        self.output_decoding: Decoding | None = None
        self._use_packets(start, stop)
        if not quick or self._packets_disagree():
            # What a damaged source cannot yield, no output can have: only decoding tells.
            self._use_frames(start, stop)
        if not len(self.part) and ratio == 1:  # else one field of a frame that begins before it may lie there
            raise UsageError(f"{source}: no frame lies between start and stop")
        self.pairs = pair_tracks(self.source.tracks, self.output.tracks)
        self.alignment = self._align()

    def _use_packets(self, start: Point | None, stop: Point | None) -> None:
        self.source_times, self.num_source = _times(self.source), self.source.picture.num_packets
        self.output_times, self.num_output = _times(self.output), self.output.picture.num_packets
        self.part = self._find_part(start, stop)

    def _find_part(self, start: Point | None, stop: Point | None) -> Part:
        source = self.source
        return find_part(self.source_times, self.num_source, source.start, start, stop, source.picture.rate)

    def _packets_disagree(self) -> bool:
        alignment = self._align()
        if self.ratio != 1:
            return False
        if alignment is None:
            return len(self.part) != self.num_output
        return bool(alignment.missing or alignment.extra)

    def _use_frames(self, start: Point | None, stop: Point | None) -> None:
        step = max(len(self.part) // _NUM_THUMBNAILS, 1)
        wanted = range(0, len(self.part), step)
        source = decode(self.source.path, [self.part.first + n for n in wanted], self.source.picture.crop)
        self.source_decoding = source
        self.num_source = source.num_frames
        self.source_times = Times(array("q", sorted(source.times)), self.source.picture.time_base)
        if not self.quick:
            output = decode(self.output.path, wanted, self.output.picture.crop)
            self.output_decoding = output
            self.num_output = output.num_frames
            self.output_times = Times(array("q", sorted(output.times)), self.output.picture.time_base)
        self.part = self._find_part(start, stop)

    def _align(self) -> Alignment | None:
        """None where one of them has no time stamps to match by, or other frames by intent."""
        if not len(self.source_times) or not len(self.output_times) or self.ratio != 1:
            return None
        hints = [
            other.pts[0] * other.time_base - track.pts[0] * track.time_base
            for track, other in pair_tracks(self.source.tracks, self.output.tracks)
            if other is not None and track.kind == "audio" and track.pts and other.pts and self.part.is_whole
        ]
        return align(self.source_times, self.output_times, self.part, hints[:1])

    def verdict(self) -> Verdict:
        common = Common(
            shift=self._shift(),
            slack=Fraction(0) if self.ratio == 1 else _SLACK,
            source_base=self.source_times.base,
            output_base=self.output_times.base,
            output_tags=self.output.tags,
        )
        sound = sound_offset(self.pairs, self.part, common)
        checks = list(self._frame_checks())
        if sound is not None:
            checks.append(sound.check())
        checks += [*self._stream_checks(common), *self._picture_checks()]
        error = None if self.alignment is None else float(self.alignment.error)
        return Verdict(
            source=self.source.path,
            output=self.output.path,
            quick=self.quick,
            checks=tuple(checks),
            num_frames=self.num_output,
            time_error_seconds=error,
            sound_error_seconds=None if sound is None else float(abs(sound.seconds)),
        )

    def _shift(self) -> Fraction | None:
        if self.alignment is not None:
            return self.alignment.shift
        if self.ratio == 1 or not len(self.source_times) or not len(self.output_times):
            return None
        first = min(self.part.first, len(self.source_times) - 1)
        return self.output_times.seconds(0) - self.source_times.seconds(first)

    def _frame_checks(self) -> Iterator[Check]:
        source, output, part = self.source_times, self.output_times, self.part
        if self.ratio == 1:
            yield check_frames(self.num_source, self.num_output, part, self.alignment, source)
            yield check_times(self.alignment, source, output)
        else:
            yield from check_other_rate(source, output, self.num_output, part, self.ratio)
        if self.output.breaks_off is not None:
            yield Check(name="file", outcome="wrong", found=f"breaks off ({self.output.breaks_off})")
        if self.source_decoding is not None and self.output_decoding is not None:
            yield check_decoding(self.source_decoding, self.output_decoding)

    def _stream_checks(self, common: Common) -> Iterator[Check]:
        for track, other in self.pairs:
            yield check_track(track, other, self.part, common)
        yield from check_extra(self.pairs, self.output)
        for check in (
            check_chapters(self.source, self.output, self.part, common.shift),
            check_tags(self.source, self.output),
            check_timecode(self.source, self.output, self.part),
        ):
            if check is not None:
                yield check

    def _picture_checks(self) -> Iterator[Check]:
        source, output = self.source.picture, self.output.picture
        yield check_colour(source, output)
        yield check_shape(source, output)
        yield check_orientation(source, output)
        yield check_format(source, output)
        yield from check_side_data(source, output)
        before, after = self._thumbnails()
        if before:
            decoding = self.source_decoding
            is_damaged = decoding is not None and bool(decoding.num_complaints or decoding.num_corrupt)
            yield check_picture(source, output, before, after, is_damaged=is_damaged)
        if self.source_decoding is not None and self.output_decoding is not None:
            yield from check_captions(self.source_decoding, self.output_decoding)

    def _thumbnails(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Of the same frames of both, by their number in the output."""
        if self.source_decoding is not None and self.output_decoding is not None and self.ratio == 1:
            if len(self.part) != self.num_output:
                return {}, {}  # numbers do not tell which frame is which any more
            first = self.part.first
            before = {number - first: data for number, data in self.source_decoding.thumbnails.items()}
            return before, dict(self.output_decoding.thumbnails)
        if self.part.first:
            return {}, {}
        return {0: self.source.picture.thumbnail}, {0: self.output.picture.thumbnail}


def _times(found: Survey) -> Times:
    return Times(found.picture.pts, found.picture.time_base)
