"""A second opinion on a file: what anyone who opens it finds, read without the rooms that vidsr writes files with."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidsr.errors import SourceError, SourceMissingError
from vidsr.frames import UNSPECIFIED, Crop
from vidsr.media.crop import read_crop
from vidsr.media.sidedata import side_data_of
from vidsr.media.survey.payload import TEXT_SUBTITLES, bare_payload, short_digest, shows_nothing, words_of
from vidsr.media.timecode import tagged_timecode

if TYPE_CHECKING:
    AnyPacket = Packet[Stream]  # generic for type checkers only

Kind = Literal["audio", "subtitle", "data", "attachment", "cover", "video"]
THUMBNAIL_PX = 16
_AV_TIME_BASE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Track:
    """A stream that is not the main video. 16 bytes a packet are kept: its time and a digest of its payload."""

    index: int
    kind: Kind
    codec: str
    language: str | None  # None: unstated or "und"
    name: str | None  # of an attached file
    flags: frozenset[str]  # disposition: default, forced, comment...
    tags: dict[str, str]
    sample_rate: int | None
    time_base: Fraction
    pts: array[int]  # of every packet, in ticks of time_base, in file order
    packets: array[int]  # a 64-bit digest of every packet's payload
    texts: array[int]  # of text subtitles: of the words alone, whatever format they are written in
    payload: str  # digest of all payload, however it is cut into packets


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The main video: the first stream that is no cover picture."""

    index: int
    codec: str
    width: int  # of what a player shows
    height: int
    crop: Crop | None  # what the container hides around it
    sample_aspect_ratio: Fraction  # 1 where nothing is said, as every player takes it
    orientation: tuple[int, int, int, int]  # rows of the display matrix in units of 1/65536; identity if upright
    format: VideoFormat
    has_alpha: bool  # also VP8's and VP9's, which only its own decoder sees
    matrix: int  # H.273 code points; 2 is unspecified
    primaries: int
    transfer: int
    full_range: bool | None  # None: unspecified
    is_interlaced: bool  # as its first frame is flagged
    side_data: dict[str, bytes]  # of its first frame, by PyAV's names
    time_base: Fraction
    rate: Fraction | None
    pts: array[int]  # of all packets that a player shows, sorted; empty if the file has no time stamps
    num_packets: int  # that a player shows
    thumbnail: bytes  # the first frame as coded: THUMBNAIL_PX squared RGB pixels, 8 bit
    flags: frozenset[str]
    tags: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A chapter; times in seconds."""

    start: Fraction
    stop: Fraction
    title: str


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Everything that two files are compared by."""

    path: Path
    container: str
    start: Fraction  # seconds on the file's own clock when a player's reads 0
    picture: Picture
    tracks: tuple[Track, ...]  # those that hold packets, and attachments
    chapters: tuple[Chapter, ...]
    tags: dict[str, str]
    timecode: str | None
    breaks_off: str | None  # why reading the packets ended early


def survey(path: Path) -> Survey:
    """Read a file's headers, all its packets and its first frame.

    Raises:
        SourceMissingError: nothing there. SourceError: no media file, no video, or not one frame that decodes.
    """
    with opened(path) as container:
        stream = main_video(container, path)
        collecting = _Collecting(container, stream)
        collecting.run()
        tracks, chapters = tuple(collecting.tracks()), tuple(_chapters(container))
        tags, start = dict(container.metadata), Fraction(container.start_time or 0, _AV_TIME_BASE)
        name = container.format.name
    return Survey(
        path=path,
        container=name,
        start=start,
        picture=_picture(path, collecting),
        tracks=tracks,
        chapters=chapters,
        tags=tags,
        timecode=collecting.timecode,
        breaks_off=collecting.breaks_off,
    )


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a file, or a sequence of pictures by its pattern (`name.%04d.png`).

    Raises:
        SourceMissingError, SourceError: as `survey`.
    """
    number = _first_number(path) if "%" in path.name and not path.exists() else None
    if number is None and not path.exists():
        raise SourceMissingError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; of a sequence of pictures give the pattern, such as name.%04d.png")
    try:
        if number is not None:
            options = {"start_number": str(number)}
            container = av.open(os.fspath(path), format="image2", options=options, metadata_errors="replace")
        else:
            container = av.open("file:" + os.fspath(path), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path}: not a readable media file ({reason}); is it complete?") from error
    with container:
        yield container


def _first_number(pattern: Path) -> int:
    name = re.compile(re.sub(r"%0?\d*d", r"(\\d+)", re.escape(pattern.name).replace("\\%", "%")) + "$")
    numbers = [int(match[1]) for p in pattern.parent.glob("*") if (match := name.match(p.name))]
    if not numbers:
        raise SourceMissingError(f"{pattern}: no file matches this pattern")
    return min(numbers)


def main_video(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of video that is no cover picture.

    Raises:
        SourceError: none there, or of a codec that nothing here decodes.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise SourceError(f"{path}: no decoder knows the codec of its video")
            return stream
    raise SourceError(f"{path}: holds no video stream, so there is nothing to compare")


class _Collecting:
    """One pass over all packets of a file."""

    def __init__(self, container: InputContainer, video: VideoStream) -> None:
        self.container, self.video = container, video
        self.codec = video.codec_context.name
        self.stamps: array[int] = array("q")
        self.num_packets = 0
        self.breaks_off: str | None = None
        self.timecode = tagged_timecode(container.metadata)
        self._gathered = {s.index: _Gathered() for s in container.streams if s.index != video.index}
        for stream in container.streams:
            self.timecode = self.timecode or tagged_timecode(stream.metadata)

    def run(self) -> None:
        try:
            for packet in self.container.demux():
                if packet.size == 0:
                    continue
                if packet.stream.index == self.video.index:
                    self._count(packet)
                elif packet.stream.index in self._gathered:
                    self._gathered[packet.stream.index].add(packet)
        except av.error.FFmpegError as error:
            self.breaks_off = error.strerror

    def _count(self, packet: AnyPacket) -> None:
        if packet.is_discard or shows_nothing(self.codec, bytes(packet)):
            return
        self.num_packets += 1
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            self.stamps.append(stamp)

    def sorted_stamps(self) -> array[int]:
        complete = len(self.stamps) == self.num_packets and "image2" not in self.container.format.name
        return array("q", sorted(self.stamps)) if complete else array("q")

    def tracks(self) -> Iterator[Track]:
        for stream in self.container.streams:
            gathered = self._gathered.get(stream.index)
            is_timecode = stream.type == "data" and stream.codec_context is None and "timecode" in stream.metadata
            if gathered is None or is_timecode:
                continue
            if isinstance(stream, AttachmentStream):
                gathered.hash.update(stream.data or b"")
            elif not gathered.packets:
                continue  # holds nothing; a QuickTime chapter track's packets are its chapters
            yield _track(stream, gathered)


@dataclass
class _Gathered:
    pts: array[int] = field(default_factory=lambda: array("q"))
    packets: array[int] = field(default_factory=lambda: array("Q"))
    texts: array[int] = field(default_factory=lambda: array("Q"))
    hash: blake2b = field(default_factory=blake2b)
    last_stamp: int = 0

    def add(self, packet: AnyPacket) -> None:
        context = packet.stream.codec_context
        codec = context.name if context is not None else ""
        data = bare_payload(codec, bytes(packet))
        if codec in TEXT_SUBTITLES:
            words = words_of(codec, data)
            if not words:
                return  # MP4 fills the gaps between texts with empty ones
            self.texts.append(short_digest(words))
        stamp = packet.pts if packet.pts is not None else packet.dts
        self.last_stamp = self.last_stamp if stamp is None else stamp
        self.pts.append(self.last_stamp)
        self.packets.append(short_digest(data))
        self.hash.update(data)


def _track(stream: Stream, gathered: _Gathered) -> Track:
    kind: Kind = "data"
    tags = dict(stream.metadata)
    if stream.disposition & Disposition.attached_pic or tags.get("mimetype", "").startswith("image/"):
        kind = "cover"
    elif stream.type in ("audio", "subtitle", "attachment", "video"):
        kind = stream.type
    context = stream.codec_context
    language = tags.get("language")
    return Track(
        index=stream.index,
        kind=kind,
        codec=context.codec.canonical_name if context is not None and stream.type != "data" else _data_codec(stream),
        language=None if language == "und" else language,
        name=tags.get("filename"),
        flags=_flags(stream),
        tags=tags,
        sample_rate=getattr(context, "sample_rate", None),
        time_base=stream.time_base or Fraction(1),
        pts=gathered.pts,
        packets=gathered.packets,
        texts=gathered.texts,
        payload=gathered.hash.hexdigest(),
    )


def _data_codec(stream: Stream) -> str:
    return stream.codec_context.name if stream.codec_context is not None else "unknown"


def _flags(stream: Stream) -> frozenset[str]:
    return frozenset(flag.name for flag in Disposition if flag.name and stream.disposition & flag)


def _chapters(container: InputContainer) -> Iterator[Chapter]:
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1)
        yield Chapter(
            start=chapter["start"] * base,
            stop=chapter["end"] * base,
            title=str(chapter["metadata"].get("title", "")),
        )


def _picture(path: Path, collected: _Collecting) -> Picture:
    with opened(path) as container:
        stream = main_video(container, path)
        context = stream.codec_context
        frame = _first_frame(container, stream, path)
        crop = read_crop(container, stream, frame)
        if stream.time_base is None:
            raise SourceError(f"{path}: its video has no time base")
        stamps = collected.sorted_stamps()
        range_code = int(frame.color_range) or int(context.color_range)
        full_range = True if frame.format.name.startswith("yuvj") else {1: False, 2: True}.get(range_code)
        alpha_tag = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode")
        return Picture(
            index=stream.index,
            codec=context.codec.canonical_name,
            width=frame.width - (crop.left + crop.right if crop else 0),
            height=frame.height - (crop.top + crop.bottom if crop else 0),
            crop=crop,
            sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
            orientation=_orientation(frame),
            format=frame.format,
            has_alpha=alpha_tag == "1" or any(component.is_alpha for component in frame.format.components),
            matrix=_stated(frame.colorspace, context.colorspace),
            primaries=_stated(frame.color_primaries, context.color_primaries),
            transfer=_stated(frame.color_trc, context.color_trc),
            full_range=full_range,
            is_interlaced=bool(frame.interlaced_frame),
            side_data={name: bytes(data) for name, data in (side_data_of(frame) or {}).items()},
            time_base=stream.time_base,
            # FFmpeg averages bare streams to 25 whatever their header says.
            rate=(stream.average_rate if len(stamps) else None) or stream.guessed_rate or stream.average_rate,
            pts=stamps,
            num_packets=collected.num_packets,
            thumbnail=thumbnail(frame, crop, VideoReformatter()),
            flags=_flags(stream),
            tags=dict(stream.metadata),
        )


def _stated(*codes: int) -> int:
    return next((int(code) for code in codes if int(code) != UNSPECIFIED), UNSPECIFIED)


def _orientation(frame: VideoFrame) -> tuple[int, int, int, int]:
    data = (side_data_of(frame) or {}).get("DISPLAYMATRIX")
    if data is None:
        return (65536, 0, 0, 65536)
    numbers = np.frombuffer(bytes(data)[:36], np.int32)
    a, b, _, c, d = (int(number) for number in numbers[:5])
    return (a, b, c, d)


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    reason = "it has no packets"
    stream.codec_context.thread_count = 1
    try:
        for packet in container.demux(stream):
            try:
                for frame in stream.decode(packet):
                    return frame
            except av.error.FFmpegError as error:
                reason = error.strerror or str(error)
    except av.error.FFmpegError as error:
        reason = error.strerror or str(error)
    raise SourceError(f"{path}: not one frame of the video can be decoded ({reason})")


def thumbnail(frame: VideoFrame, crop: Crop | None, reformatter: VideoReformatter) -> bytes:
    """A small RGB picture of what is shown, by FFmpeg's conversion; what the file leaves unsaid by the usual rule."""
    matrix = int(frame.colorspace)
    if matrix in (UNSPECIFIED, 0, 3):
        matrix = 1 if frame.width >= 1280 or frame.height > 576 else 5
    # At full size: made small at once, FFmpeg scales the fields of an interlaced frame one by one.
    rgb = reformatter.reformat(frame, format="rgb24", src_colorspace=matrix, dst_colorspace=matrix, threads=1)
    lines = np.frombuffer(memoryview(rgb.planes[0]), np.uint8).reshape(-1, rgb.planes[0].line_size)
    pixels = lines[: rgb.height, : 3 * rgb.width].reshape(rgb.height, rgb.width, 3).astype(np.float32)
    if crop is not None:
        pixels = pixels[crop.top : rgb.height - crop.bottom, crop.left : rgb.width - crop.right]
    columns, rows = _shares(pixels.shape[1]), _shares(pixels.shape[0])
    small = np.einsum("yh,hwc->ywc", rows, pixels, optimize=True)
    small = np.einsum("ywc,xw->yxc", small, columns, optimize=True)
    return bytes(np.clip(small + 0.5, 0, 255).astype(np.uint8))


def _shares(size: int) -> npt.NDArray[np.float32]:
    """(THUMBNAIL_PX, size): which share each pixel of a side has in each pixel of the thumbnail."""
    step = size / THUMBNAIL_PX
    begin = np.arange(THUMBNAIL_PX)[:, None] * step
    pixel = np.arange(size)[None]
    overlap = np.minimum(begin + step, pixel + 1) - np.maximum(begin, pixel)
    shares: npt.NDArray[np.float32] = (np.clip(overlap, 0, None) / step).astype(np.float32)
    return shares
