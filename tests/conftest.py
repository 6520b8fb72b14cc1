"""What all tests share: the folder of real videos, a maker of small clips, and an independent look into files."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vidsr  # noqa: F401, before torch, whose threads it tells how to wait
from vidsr.pipeline.plan import make_plan

import torch  # isort: skip

_DEPTHS = {"10le": 10, "12le": 12, "16le": 16, "9le": 9, "14le": 14}
Planes = tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A generated video: what was put in, frame by frame."""

    path: Path
    pts: list[int]
    time_base: Fraction
    pictures: list[Planes]  # planes as they were handed to the encoder; packed formats have one

    @property
    def times(self) -> list[Fraction]:
        return [pts * self.time_base for pts in self.pts]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What an independent reader sees of a file's video."""

    times: list[Fraction]
    time_base: Fraction
    sizes: set[tuple[int, int]]
    pix_fmt: str
    tags: tuple[int, int, int, int]  # matrix, range, primaries, transfer
    sample_aspect_ratio: Fraction
    rotation: int
    means: list[float]  # of the first plane of each frame, in its own codes

    @property
    def count(self) -> int:
        return len(self.times)


class Look:
    """Reads files with plain PyAV calls, none of vidsr's."""

    @staticmethod
    def video(path: Path) -> Seen:
        times, sizes, means, last = [], set(), [], None
        with av.open(str(path), metadata_errors="replace") as container:
            stream = _video_stream(container)
            stream.thread_type = "SLICE"  # what a damaged file still yields is the same on every machine
            base = stream.time_base
            packets = [packet for packet in container.demux(stream) if packet.size]
            for packet in [*packets, None]:
                try:
                    frames = stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    continue
                for frame in frames:
                    times.append(None if frame.pts is None else frame.pts * base)
                    sizes.add((frame.width, frame.height))
                    means.append(float(plane_array(frame, 0).mean()))
                    last = frame
            assert last is not None, f"{path.name}: nothing decodes"
            return Seen(
                times=times,
                time_base=base,
                sizes=sizes,
                pix_fmt=last.format.name,
                tags=(last.colorspace, last.color_range, last.color_primaries, last.color_trc),
                sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
                rotation=last.rotation,
                means=means,
            )

    @staticmethod
    def planes(path: Path) -> list[Planes]:
        with av.open(str(path)) as container:
            return [
                tuple(plane_array(frame, index) for index in range(len(frame.planes)))
                for frame in container.decode(_video_stream(container))
            ]

    @staticmethod
    def rgb_mean(path: Path) -> list[float]:
        """Mean R, G and B of the first frame after FFmpeg's own conversion, by the file's tags."""
        with av.open(str(path)) as container:
            frame = next(container.decode(_video_stream(container)))
            picture = frame.to_ndarray(format="rgb24")
            return [float(picture[..., channel].mean()) for channel in range(3)]

    @staticmethod
    def packets(path: Path, *kinds: str) -> list[list[tuple[str, Fraction | None]]]:
        """(digest of the payload, time) of every packet, stream by stream of the given kinds."""
        with av.open(str(path), metadata_errors="replace") as container:
            found: dict[int, list[tuple[str, Fraction | None]]] = {
                stream.index: [] for stream in container.streams if stream.type in kinds
            }
            if not found:
                return []
            try:
                for packet in container.demux([container.streams[index] for index in found]):
                    if packet.size:
                        time = None if packet.pts is None else packet.pts * packet.time_base
                        found[packet.stream.index].append((hashlib.md5(_payload(packet)).hexdigest(), time))
            except av.error.FFmpegError:
                pass  # cut short: what came is what there is
            return list(found.values())

    @staticmethod
    def payload(path: Path, kind: str) -> list[str]:
        """A digest of everything that the packets of each stream of a kind hold, however it is cut into packets."""
        with av.open(str(path), metadata_errors="replace") as container:
            hashes = {stream.index: hashlib.md5() for stream in container.streams if stream.type == kind}
            for packet in container.demux([container.streams[index] for index in hashes]):
                hashes[packet.stream.index].update(_payload(packet) if packet.size else b"")
            return [value.hexdigest() for value in hashes.values()]

    @staticmethod
    def facts(path: Path) -> dict[str, Any]:
        """Container tags, chapters, and per stream: type, codec, tags and disposition."""
        with av.open(str(path), metadata_errors="replace") as container:
            return {
                "tags": dict(container.metadata),
                "chapters": [
                    (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title"))
                    for c in container.chapters()
                ],
                "streams": [
                    (s.type, s.codec_context.name if s.codec_context else None, dict(s.metadata), int(s.disposition))
                    for s in container.streams
                ],
            }


def plane_array(frame: av.VideoFrame, index: int) -> np.ndarray:
    """A copy of one plane without line padding, (height, width) or (height, width * components)."""
    plane, component = frame.planes[index], frame.format.components[0]
    dtype = np.uint8 if component.bits == 8 else np.uint16
    samples = np.frombuffer(memoryview(plane), dtype)
    stride = plane.line_size // samples.itemsize
    per_line = plane.width
    if frame.format.name in ("rgb24", "bgr24"):
        per_line *= 3
    elif frame.format.name.startswith(("nv", "p0")) and index == 1:
        per_line *= 2
    elif not frame.format.is_planar and len(frame.planes) == 1 and "gray" not in frame.format.name:
        per_line = stride  # other packed formats: as they lie there
    return samples[: plane.height * stride].reshape(plane.height, stride)[:, :per_line].copy()


def _payload(packet: av.Packet) -> bytes:
    data = bytes(packet)
    # Transport streams carry AAC with a header on each packet that MP4 and Matroska keep once per stream.
    if packet.stream.codec_context.name == "aac" and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return data[7 if data[1] & 1 else 9 :]
    return data


def _video_stream(container: Any) -> Any:
    cover = av.stream.Disposition.attached_pic
    return next(stream for stream in container.streams.video if not stream.disposition & cover)


def draw(frame: av.VideoFrame, number: int, noise: bool) -> None:
    """Fill a frame with a picture that tells its number: a slope around a level that steps by 9 of 255."""
    bits = frame.format.components[0].bits
    generator = np.random.default_rng(number)
    for index, plane in enumerate(frame.planes):
        samples = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
        stride = plane.line_size // samples.itemsize
        lines = samples.reshape(-1, stride)
        if noise:
            values = generator.integers(0, 1 << bits, lines.shape, dtype=np.uint16)
        else:
            level = level_of(number) if index == 0 else 110 + 12 * index
            rows, columns = np.mgrid[0 : lines.shape[0], 0:stride]
            values = (level + (columns % 32 + rows % 32) // 4 - 7) << (bits - 8)
        lines[:] = values.astype(samples.dtype) << (6 if frame.format.name.startswith("p0") else 0)


def level_of(number: int) -> int:
    """The mean luma code (8 bit) of frame `number`."""
    return 48 + number * 9 % 150


MakeClip = Callable[..., Clip]


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """A function that writes a small video with plain PyAV calls; see `write_clip`."""

    def make(name: str = "clip.mp4", **how: Any) -> Clip:
        return write_clip(tmp_path / name, **how)

    return make


def write_clip(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = None,  # matrix, range, primaries, transfer
    sar: Fraction | None = None,
    rotation: int = 0,
    noise: bool = False,
    audio: str | None = None,
    audio_start: Fraction = Fraction(0),
    container: str | None = None,
    metadata: Mapping[str, str] | None = None,
    video_metadata: Mapping[str, str] | None = None,
    audio_metadata: Mapping[str, str] | None = None,
    chapters: Sequence[tuple[int, int, str]] = (),  # start and end in milliseconds, title
    attachment: bytes | None = None,
    subtitles: Sequence[tuple[int, int, str]] = (),  # start and duration in milliseconds, text
) -> Clip:
    """Write a video; the defaults make 12 frames of H.264 in MP4."""
    rate = Fraction(rate)
    base = time_base or 1 / rate
    stamps = list(pts) if pts is not None else [round(n / rate / base) for n in range(frames)]
    settings = {"video_track_timescale": str(base.denominator)} if path.suffix in (".mp4", ".mov") else {}
    if path.suffix in (".mp4", ".mov"):
        settings["movie_timescale"] = str(base.denominator * 48000 // np.gcd(base.denominator, 48000))
    pictures = []
    with av.open(str(path), "w", format=container, options=settings) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        stream.metadata.update(video_metadata or {})
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation:
            stream.set_display_rotation(rotation)
        sound = out.add_stream(audio, rate=48000, layout="stereo") if audio else None
        if sound is not None:
            sound.metadata.update(audio_metadata or {})
        if attachment is not None:
            out.add_attachment("font.ttf", "application/x-truetype-font", attachment)
        texts = _subtitle_stream(out) if subtitles else None
        if chapters:
            base_ms = Fraction(1, 1000)
            out.set_chapters(
                [
                    {"id": n, "start": a, "end": b, "time_base": base_ms, "metadata": {"title": title}}
                    for n, (a, b, title) in enumerate(chapters, 1)
                ]
            )
        packets = []
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame(*size, pix_fmt)
            draw(frame, number, noise)
            pictures.append(tuple(plane_array(frame, index) for index in range(len(frame.planes))))
            frame.pts, frame.time_base = stamp, base
            _tag(frame, tags)
            if number == 0:
                _tag(stream.codec_context, tags)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if sound is not None:
            packets += _sound(sound, audio_start, Fraction(stamps[-1] - stamps[0] + 1) * base)
        if texts is not None:
            packets += [_subtitle(texts, *text) for text in subtitles]
        packets.sort(key=lambda p: (p.dts if p.dts is not None else p.pts) * p.time_base)
        for packet in packets:
            out.mux(packet)
    return Clip(path=path, pts=stamps, time_base=base, pictures=pictures)


def _tag(target: Any, tags: tuple[int, int, int, int] | None) -> None:
    if tags is not None:
        target.colorspace, target.color_range, target.color_primaries, target.color_trc = tags


def _sound(stream: Any, start: Fraction, seconds: Fraction) -> list[Any]:
    context = stream.codec_context
    context.open()
    size = context.frame_size or 1024
    packets: list[Any] = []
    generator = np.random.default_rng(7)
    planar = context.format.is_planar
    dtype = {"flt": np.float32, "s16": np.int16, "s32": np.int32}[context.format.name.removesuffix("p")]
    for number in range(int(seconds * 48000 / size) + 1):
        noise = generator.uniform(-0.2, 0.2, (2, size))
        scale = 1 if dtype is np.float32 else np.iinfo(dtype).max
        values = (noise * scale).astype(dtype)
        layout_values = values if planar else np.ascontiguousarray(values.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(layout_values, format=context.format.name, layout="stereo")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = round(start * 48000) + number * size
        packets += stream.encode(frame)
    return packets + stream.encode(None)


_SRT = "1\n00:00:00,000 --> 00:00:01,000\nx\n"


def _subtitle_stream(out: Any) -> Any:
    import io

    with av.open(io.BytesIO(_SRT.encode()), format="srt") as text:
        stream = out.add_stream_from_template(text.streams.subtitles[0])
        stream.metadata["language"] = "ger"
        return stream


def _subtitle(stream: Any, start_ms: int, duration_ms: int, text: str) -> Any:
    packet = av.Packet(text.encode())
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = start_ms
    packet.duration = duration_ms
    return packet


@pytest.fixture
def look() -> type[Look]:
    """An independent reader of files."""
    return Look


@pytest.fixture(scope="session")
def ffmpeg_program() -> str:
    """The path of the ffmpeg program, an independent reader and writer; PyAV's libraries do without one."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the judge, imageio-ffmpeg, is not installed")
    return str(imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real videos that may lie beside the checkout."""
    folder = find_shared_media()
    if folder is None:
        pytest.skip("no folder shared/media beside the checkout: the real videos are not here")
    return folder


def find_shared_media() -> Path | None:
    folder = Path(__file__).resolve().parents[2] / "shared" / "media"
    return folder if (folder / "INDEX.json").is_file() else None


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small frames gain nothing from threads, and threads that spin cost other tests their time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten segments in a hundred frames."""
    monkeypatch.setattr("vidsr.run.prepare.make_plan", functools.partial(make_plan, min_frames=8, max_frames=10))


@pytest.fixture(autouse=True)
def limits_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where limits of memory are kept: for each test a place of its own, and never the user's."""
    path = tmp_path / "cache of limits" / "limits.json"
    monkeypatch.setattr("vidsr.inference.memory_limits.limits_path", lambda: path)
    return path


@pytest.fixture(autouse=True)
def measured_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where measurements of engines are kept: for each test a place of its own, and never the user's."""
    path = tmp_path / "cache of measurements" / "engines.json"
    monkeypatch.setattr("vidsr.engines.measured.measured_path", lambda: path)
    return path
