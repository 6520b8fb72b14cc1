"""Decoding a file from end to end to see whether it does: for the second opinion, as `survey`."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidsr.frames import Crop
from vidsr.media.sidedata import side_data_of
from vidsr.media.survey.survey import main_video, opened, thumbnail

_MAX_COMPLAINTS = 20  # kept; the rest is only counted


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """What decoding every frame showed."""

    times: array[int]  # pts of every frame, in ticks of the video's time base; empty if there are none
    num_frames: int
    num_corrupt: int  # flagged so by the decoder
    complaints: tuple[str, ...]  # the decoder's, also those that cost no frame; the first few
    num_complaints: int
    has_captions: bool
    num_interlaced: int
    sizes: frozenset[tuple[int, int]]
    thumbnails: dict[int, bytes]  # of the frames asked for, see `decode`


def decode(path: Path, thumbnails: Collection[int] = (), crop: Crop | None = None) -> Decoding:
    """Decode every frame of the main video.

    Args:
        path: the file.
        thumbnails: numbers of frames to keep a small picture of.
        crop: what the container hides around the picture.

    Raises:
        SourceError: the file cannot be opened any more.
    """
    found = _decode(path, thumbnails, crop)
    if found.num_complaints or found.num_corrupt:
        # On several threads, an error in one frame takes finished ones with it, and what fills the hole is chance.
        found = _decode(path, thumbnails, crop, num_threads=1)
    return found


def _decode(path: Path, wanted: Collection[int], crop: Crop | None, num_threads: int = 0) -> Decoding:
    """On that many threads; 0 is as many as the machine has."""
    times: array[int] = array("q")
    sizes: set[tuple[int, int]] = set()
    small: dict[int, bytes] = {}
    complaints = _Complaints()
    num_frames = num_corrupt = num_interlaced = 0
    has_captions = False
    reformatter = VideoReformatter()
    with opened(path) as container:
        stream = main_video(container, path)
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = num_threads
        for frame in _frames(container, stream, complaints):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamp is not None:
                times.append(stamp)
            if num_frames in wanted:
                small[num_frames] = thumbnail(frame, crop, reformatter)
            num_frames += 1
            num_corrupt += frame.is_corrupt
            num_interlaced += bool(frame.interlaced_frame)
            has_captions = has_captions or "A53_CC" in (side_data_of(frame) or {})
            sizes.add((frame.width, frame.height))
    return Decoding(
        times=times if len(times) == num_frames and not path.name.count("%") else array("q"),
        num_frames=num_frames,
        num_corrupt=num_corrupt,
        complaints=tuple(complaints.texts),
        num_complaints=complaints.count,
        has_captions=has_captions,
        num_interlaced=num_interlaced,
        sizes=frozenset(sizes),
        thumbnails=small,
    )


@dataclass
class _Complaints:
    texts: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.texts) < _MAX_COMPLAINTS:
            self.texts.append(" ".join(text.split()))


def _frames(container: InputContainer, stream: VideoStream, complaints: _Complaints) -> Iterator[VideoFrame]:
    """All frames; errors and what the decoder logs become complaints.

    The log matters: FFV1 with a wrong checksum decodes without an error and without a flag.
    """
    packets = container.demux(stream)
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        # For the whole time: decoders on threads of their own also complain between the calls.
        with av.logging.Capture(local=False) as log:
            packet: Packet[VideoStream] | None = None
            at_end = False
            while not at_end:
                frames: list[VideoFrame] = []
                try:
                    packet = next((p for p in packets if p.size), None)
                    at_end = packet is None
                    frames = stream.codec_context.decode(packet)
                except EOFError:
                    pass
                except av.error.FFmpegError as error:
                    complaints.add(error.strerror or str(error))
                while log:
                    _, source, text = log.pop(0)
                    complaints.add(f"{source}: {text}")
                yield from frames
    finally:
        av.logging.set_level(level)
