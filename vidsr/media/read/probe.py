"""What a file holds: its video as the reader will deliver it, its other streams, its packet index."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidsr.errors import SourceError, SourceMissingError
from vidsr.frames import Crop, PictureFormat, VideoInfo
from vidsr.media.captions import CODECS_TO_SCAN, SCAN_BYTES, captions_of, kinds_of, scan_packet
from vidsr.media.crop import read_crop
from vidsr.media.formats import delivered_layout, resolve_color
from vidsr.media.hdr import HdrMetadata, read_hdr
from vidsr.media.sequence import Sequence
from vidsr.media.sidedata import UNNAMED, side_data_of
from vidsr.media.views import Sphere, StereoLayout, read_sphere, read_stereo, unread_views

_AV_TIME_BASE = 1_000_000
# What the first frame may say beside its pixels that no target gets yet; PyAV can read it but not write it.
_UNKEPT_SIDE_DATA = {
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "ICC_PROFILE": "ICC profile",
}
ALPHA_MODE = "alpha_mode"  # WebM's tag of a video track whose packets have alpha beside them
# A file may claim any size; nothing beyond this is decoded (8K is 33 megapixels).
MAX_MEGAPIXELS = 150


@dataclass(frozen=True, kw_only=True)
class OtherStream:
    """A stream that is not upscaled but travels along."""

    index: int
    kind: str  # audio, subtitle, data, attachment or video (cover art)
    codec: str
    language: str | None
    title: str | None


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """A readable video file, or a sequence of pictures.

    `pts` holds the time stamps of all video packets that a player would show, sorted, in ticks of
    `video.time_base`: the frames to expect. Streams without time stamps get evenly spaced ones.
    """

    path: Path
    container: str
    start_seconds: Fraction  # when a player's clock reads 0
    video: VideoInfo
    pts: array[int]  # 64-bit: ten hours of film are a million of them
    keyframe_pts: array[int]
    has_timestamps: bool
    display_matrix: bytes | None  # nine 32-bit integers as in the file; None if upright
    others: tuple[OtherStream, ...]
    tags: dict[str, str]
    num_chapters: int
    is_interlaced: bool  # as its first frame is flagged
    hdr: HdrMetadata | None
    stereo: StereoLayout | None
    sphere: Sphere | None
    unkept: tuple[str, ...]  # what the first frame carries beside its pixels and no target gets
    captions: frozenset[str] = frozenset()  # kinds of closed captions anywhere in the video's packets
    crop: Crop | None = None  # what the container hides of the coded picture; the reader cuts it off
    last_duration: int = 0  # ticks for which the last frame is shown; 0 where the source does not say
    sequence: Sequence | None = None  # numbered pictures instead of one file
    first_picture: Path | None = None  # of a sequence, that can be decoded

    @property
    def header_file(self) -> Path:
        """The file whose other streams and tags are copied."""
        return self.first_picture or self.path


@contextmanager
def open_source(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading.

    Raises:
        SourceMissingError: nothing there. SourceError: a folder, unreadable, or no media file.
    """
    if not path.exists():
        raise SourceMissingError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise SourceError(f"{path}: is a folder, a video file was expected")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes); copy it again from where it came")
    try:
        # "file:" keeps names with colons and pattern characters from being read as protocols or sequences.
        container = av.open("file:" + os.fspath(path), metadata_errors="replace")
    except PermissionError:
        raise SourceError(f"{path}: no permission to read it") from None
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(
            f"{path}: not a readable media file ({reason}); is it complete, and does it play elsewhere?"
        ) from error
    with container:
        yield container


def find_video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The main video stream: the first one that is no cover picture.

    Raises:
        SourceError: none there, or of a codec that nothing here decodes.
    """
    for stream in container.streams.video:
        if not is_cover(stream):
            if stream.codec_context is None:
                raise SourceError(f"{path}: no decoder knows the codec of its video; the header is probably damaged")
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    found = f"found only {', '.join(kinds)}" if kinds else "found no streams at all"
    raise SourceError(f"{path}: holds no video stream; {found}")


def open_decoder(stream: VideoStream) -> VideoCodecContext:
    """The decoder that gives all of a stream's picture: FFmpeg's own for VP8 and VP9 leave the alpha channel out."""
    encoder = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if encoder is None or not has_alpha_mode(stream):
        return stream.codec_context
    decoder = VideoCodecContext.create(encoder, "r")
    assert isinstance(decoder, VideoCodecContext)
    return decoder


def has_alpha_mode(stream: VideoStream) -> bool:
    """Whether a WebM file says that its packets have a second picture beside them, which is alpha."""
    return any(key.lower() == ALPHA_MODE and value == "1" for key, value in stream.metadata.items())


def is_cover(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def probe(path: Path) -> SourceInfo:
    """Read a file's headers, its packet index and its first frame.

    Raises:
        SourceError: no video, no frames, or a size that no video has.
    """
    with open_source(path) as container:
        stream = find_video_stream(container, path)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_MEGAPIXELS * 1_000_000:
            raise SourceError(
                f"{path}: claims {width}x{height} pixels, more than {MAX_MEGAPIXELS} megapixels a frame; "
                "the header is probably damaged"
            )
        captions: set[str] = set()
        pts, keyframe_pts, has_timestamps, last_duration = _index(container, stream, path, captions)
    with open_source(path) as container:
        stream = find_video_stream(container, path)
        frame = _first_frame(container, stream, path)
        crop = read_crop(container, stream, frame)
        video = _video_info(container, stream, frame, crop, pts)
        matrix = (side_data_of(frame) or {}).get("DISPLAYMATRIX")
        return SourceInfo(
            path=path,
            container=container.format.name,
            start_seconds=Fraction(container.start_time or 0, _AV_TIME_BASE),
            video=video,
            pts=pts,
            keyframe_pts=keyframe_pts,
            has_timestamps=has_timestamps,
            display_matrix=None if matrix is None else bytes(matrix),
            others=tuple(_others(container, stream)),
            tags=dict(container.metadata),
            num_chapters=len(container.chapters()),
            crop=crop,
            is_interlaced=bool(frame.interlaced_frame),
            captions=frozenset(captions | kinds_of(captions_of(frame) or b"")),
            last_duration=last_duration,
            hdr=read_hdr(frame),
            stereo=read_stereo(frame),
            sphere=read_sphere(frame),
            unkept=unkept_side_data(frame),
        )


def unkept_side_data(frame: VideoFrame) -> tuple[str, ...]:
    """What a frame says beside its pixels and no target gets."""
    side_data = side_data_of(frame)
    if side_data is None:
        return (UNNAMED,)
    return (*(text for name, text in _UNKEPT_SIDE_DATA.items() if name in side_data), *unread_views(frame))


def frame_ticks(stream: VideoStream) -> int:
    """Ticks from one frame to the next in a stream without time stamps."""
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    assert stream.time_base is not None
    return max(round(1 / (rate * stream.time_base)), 1)


def _index(
    container: InputContainer, stream: VideoStream, path: Path, captions: set[str]
) -> tuple[array[int], array[int], bool, int]:
    """(sorted pts of shown packets, sorted pts of keyframes, whether the file has time stamps, last one's duration).

    The kinds of closed captions that are met go into `captions`.
    """
    stamps: list[int | None] = []
    keyframes: list[int] = []
    last = (-math.inf, 0)
    may_have_captions = stream.codec_context.name in CODECS_TO_SCAN
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard or _is_hidden(stream.codec_context.name, packet):
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            stamps.append(stamp)
            if stamp is not None:
                last = max(last, (stamp, packet.duration or 0))
            if may_have_captions:
                captions |= kinds_of(scan_packet(bytes(memoryview(packet)[:SCAN_BYTES])) or b"")
            if packet.is_keyframe and stamp is not None:
                keyframes.append(stamp)
    except av.error.FFmpegError:
        pass  # a file cut short: what was indexed so far is what there is, and reading reports the rest
    if not stamps:
        raise SourceError(f"{path}: has a video stream but no frames in it; the file is probably incomplete")
    if any(stamp is None for stamp in stamps):
        ticks = frame_ticks(stream)
        return array("q", range(0, ticks * len(stamps), ticks)), array("q"), False, ticks
    # AVI has no room for the order of presentation: what is given to such packets are times in the order of coding.
    is_in_order = container.format.name != "avi" or not _reorders(stream)
    return array("q", sorted(s for s in stamps if s is not None)), array("q", sorted(keyframes)), is_in_order, last[1]


def _reorders(stream: VideoStream) -> bool:
    context = stream.codec_context
    return context.name in ("h264", "hevc") and context.has_b_frames


def _is_hidden(codec: str, packet: Packet[VideoStream]) -> bool:
    """Whether a VP8 or VP9 packet holds only a reference picture: by the show bit of its first byte.

    Newer VP9 files put such pictures into the packet of the next shown one (a superframe, marked at its end).
    """
    if codec not in ("vp8", "vp9"):
        return False
    data = memoryview(packet)
    if codec == "vp8":
        return not data[0] & 0x10
    if data[0] >> 6 != 2 or data[-1] & 0xE0 == 0xC0:
        return False
    bits = (data[0] << 1 if data[0] & 0x30 == 0x30 else data[0]) & 0x0F  # profile 3 has one more bit
    return not bits & 0x08 and not bits & 0x02


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    last_error: Exception | None = None
    decoder = open_decoder(stream)
    try:
        for packet in container.demux(stream):
            try:
                for frame in decoder.decode(packet if packet.size else None):
                    return frame
            except av.error.FFmpegError as error:
                last_error = error
    except av.error.FFmpegError as error:
        last_error = error
    reason = f" ({last_error.strerror})" if isinstance(last_error, av.error.FFmpegError) else ""
    raise SourceError(f"{path}: not one frame of the video can be decoded{reason}; the file is damaged")


def _video_info(
    container: InputContainer, stream: VideoStream, frame: VideoFrame, crop: Crop | None, pts: array[int]
) -> VideoInfo:
    layout = delivered_layout(frame.format)
    assert stream.time_base is not None
    duration_seconds = None
    if len(pts) > 1:
        span = (pts[-1] - pts[0]) * stream.time_base
        duration_seconds = float(span * len(pts) / (len(pts) - 1))
    return VideoInfo(
        stream_index=stream.index,
        codec=stream.codec_context.name,
        source_pix_fmt=frame.format.name,
        picture=PictureFormat(
            width=frame.width - (crop.left + crop.right if crop else 0),
            height=frame.height - (crop.top + crop.bottom if crop else 0),
            layout=layout,
            color=resolve_color(frame, stream.codec_context, layout),
        ),
        time_base=stream.time_base,
        average_rate=_frame_rate(stream, pts),
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        rotation_degrees=frame.rotation,
        num_frames_from_index=len(pts),
        first_pts=pts[0],
        duration_seconds=duration_seconds,
    )


def _frame_rate(stream: VideoStream, pts: array[int]) -> Fraction | None:
    """The stated frame rate that fits the time stamps; some demuxers state the time base instead."""
    rates = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate]
    assert stream.time_base is not None
    if len(pts) < 2 or pts[-1] == pts[0]:
        return rates[0] if rates else None
    measured = (len(pts) - 1) / ((pts[-1] - pts[0]) * stream.time_base)
    return next((rate for rate in rates if measured / 2 <= rate <= measured * 2), measured)


def _others(container: InputContainer, video: VideoStream) -> Iterator[OtherStream]:
    for stream in container.streams:
        if stream.index != video.index:
            context = stream.codec_context
            yield OtherStream(
                index=stream.index,
                kind=stream.type,
                codec=context.name if context is not None else "-",
                language=stream.language,
                title=stream.metadata.get("title"),
            )
