"""Encoding: planes in, one finished segment file out, with every time stamp exactly as given.

Segments are NUT files, which keep any time base to the tick, MOV for the one codec that NUT does not know, or
Matroska for pictures with alpha beside their packets.
What players want is made of them by `join`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidsr.errors import UsageError
from vidsr.files import part_path, publish
from vidsr.frames import FrameTime, PictureFormat, Plane
from vidsr.media.captions import CARRYING_CODECS, embed
from vidsr.media.errors import target_errors
from vidsr.media.formats import plane_view
from vidsr.media.sequence import Pattern
from vidsr.media.write.encoders import SegmentFormat, configure, samples_for
from vidsr.media.write.scc import record_path, write_record

_MAX_REORDERING = 16  # frames by which an encoder's decoding order may run ahead of the shown one


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How the pictures of a target are named and numbered."""

    pattern: Pattern
    offset: int | None  # a picture's number minus its frame's time stamp; None: counted from 1, in each segment anew


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """Everything an encoder needs to know before the first frame."""

    codec: str
    segment_format: SegmentFormat
    options: Mapping[str, str]
    picture: PictureFormat
    time_base: Fraction
    frame_rate: Fraction  # for rate control only
    sample_aspect_ratio: Fraction
    naming: Naming | None = None  # for pictures only


class SegmentWriter:
    """Encodes frames into `path`; the file appears under that name when `close` has flushed it to disk.

    Raises:
        TargetError, DiskFullError: from any method, when the file cannot be written or the encoder refuses.
    """

    def __init__(self, path: Path, settings: EncodeSettings) -> None:
        self.num_frames = 0
        self._path = path
        self._part = part_path(path)
        self._settings = settings
        self._last_pts = -1
        self._decoding_times: deque[int] = deque()
        self._captions: dict[int, bytes] = {}  # by pts: to be put into packets, or all if the codec has no place
        self._samples = samples_for(settings.codec, settings.picture.layout)
        self._reformatter = VideoReformatter()
        with target_errors(path):
            self._container = av.open(
                "file:" + os.fspath(self._part), "w", format=settings.segment_format, options=self._mux_options()
            )
            self._stream = self._open_stream()
        self._codec = self._stream.codec_context.codec.canonical_name

    def _mux_options(self) -> dict[str, str]:
        # Decoding times before zero are normal with B-frames; the muxer must not move the whole stream for them.
        options = {"avoid_negative_ts": "disabled"}
        if self._settings.segment_format == "mov":  # edit lists hold the start in this unit; 1/1000 would round it
            options["movie_timescale"] = str(self._settings.time_base.denominator)
        return options

    def _open_stream(self) -> VideoStream:
        settings = self._settings
        stream = cast(VideoStream, self._container.add_stream(settings.codec, rate=settings.frame_rate))
        stream.time_base = settings.time_base
        open_encoder(stream.codec_context, settings, settings.sample_aspect_ratio)
        return stream

    def write(self, planes: Sequence[Plane], time: FrameTime) -> None:
        """Encode one frame.

        Args:
            planes: (height, width) uint8 or uint16 arrays in the order of the settings' layout; copied.
            time: its stamp in ticks of the settings' time base, 0 or later, and later than the one before; captions
                go into the picture, or where its codec has no place for them into the segment's record of captions.
        """
        picture = self._settings.picture
        frame = VideoFrame(picture.width, picture.height, picture.layout.name)
        for index, (plane, shape) in enumerate(zip(planes, picture.plane_shapes, strict=True)):
            np.copyto(plane_view(frame.planes[index], shape, picture.layout.dtype), plane)
        if self._samples != picture.layout.name:  # the same samples, arranged otherwise
            frame = self._reformatter.reformat(frame, format=self._samples, interpolation="POINT", threads=1)
        frame.pts, frame.duration = time.pts, time.duration
        frame.time_base = self._settings.time_base
        set_color(frame, picture)  # a frame's own tags come before the encoder's
        with target_errors(self._path):
            if time.pts <= self._last_pts:  # a negative one NUT cannot hold, and MOV would hide the frame
                raise ValueError(f"time stamp {time.pts} comes after {self._last_pts}")
            if self._settings.segment_format == "nut":
                if self.num_frames == 0:
                    self._decoding_times.extend(range(time.pts - _MAX_REORDERING, time.pts))
                self._decoding_times.append(time.pts)
            self._last_pts = time.pts
            if time.captions is not None:
                self._captions[time.pts] = time.captions
            self._mux(self._stream.encode(frame))
        self.num_frames += 1

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        # NUT only checks decoding times and `join` makes them anew, but x265's are random for one or two frames.
        for packet in packets:
            if self._decoding_times:
                packet.dts = self._decoding_times.popleft()
            if packet.pts in self._captions and self._codec in CARRYING_CODECS:
                packet = _with_captions(packet, self._codec, self._captions.pop(packet.pts))
            self._container.mux_one(packet)

    def close(self) -> None:
        """Flush encoder, file and disk cache, then publish the file under its name."""
        with target_errors(self._path):
            self._mux(self._stream.encode(None))
            self._container.close()
            if self._captions:
                write_record(record_path(self._path), self._captions.items())
            publish(self._part, self._path)

    def abandon(self) -> None:
        """Close without publishing; the unfinished file goes. For after a failure: raises nothing more."""
        with suppress(av.error.FFmpegError, OSError, ValueError):  # the failure that led here is the one to report
            self._container.close()
        self._part.unlink(missing_ok=True)


def _with_captions(packet: Packet[VideoStream], codec: str, captions: bytes) -> Packet[VideoStream]:
    new = cast("Packet[VideoStream]", Packet(embed(codec, bytes(packet), captions)))
    new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
    new.time_base, new.is_keyframe, new.stream = packet.time_base, packet.is_keyframe, packet.stream
    return new


def open_encoder(context: VideoCodecContext, settings: EncodeSettings, sample_aspect_ratio: Fraction) -> None:
    """Give an encoder its settings and open it.

    Raises:
        UsageError: it does not accept them.
    """
    configure(context, settings.codec, settings.picture, settings.options)
    context.time_base = settings.time_base
    context.sample_aspect_ratio = sample_aspect_ratio
    set_color(context, settings.picture)
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        wanted = ", ".join(f"{key}={value}" for key, value in settings.options.items())
        raise UsageError(f"{settings.codec} does not accept its settings ({wanted})") from error


def set_color(target: VideoCodecContext | VideoFrame, picture: PictureFormat) -> None:
    """Tag an encoder or a frame with the picture's colour."""
    color = picture.color
    target.colorspace = color.matrix
    target.color_range = 2 if color.full_range else 1
    target.color_primaries = color.primaries
    target.color_trc = color.transfer
