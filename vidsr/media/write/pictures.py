"""Writing image sequences: each frame encoded into a numbered file, all of them published together at the end."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vidsr.errors import TargetError
from vidsr.files import give_name, part_path, sync, sync_folder
from vidsr.frames import FrameTime, Plane
from vidsr.media.errors import target_errors
from vidsr.media.formats import plane_view
from vidsr.media.write.encoders import samples_for
from vidsr.media.write.segment import EncodeSettings, Naming, open_encoder, set_color


class PictureWriter:
    """Encodes frames into files in the folder `path`, named as they will be; each appears when it is complete.

    Raises:
        TargetError, DiskFullError: from any method, when a file cannot be written or the encoder refuses.
        UsageError: the encoder does not accept its settings.
    """

    def __init__(self, path: Path, settings: EncodeSettings) -> None:
        assert settings.naming is not None
        self.num_frames = 0
        self._path, self._settings, self._naming = path, settings, settings.naming
        self._samples = samples_for(settings.codec, settings.picture.layout)
        self._names: deque[str] = deque()  # of frames that the encoder still holds
        self._reformatter = VideoReformatter()
        self._encoder = self._open_encoder()
        with target_errors(path):
            shutil.rmtree(path, ignore_errors=True)  # what a killed run left
            path.mkdir()

    def _open_encoder(self) -> VideoCodecContext:
        settings = self._settings
        encoder = cast(VideoCodecContext, VideoCodecContext.create(settings.codec, "w"))
        ratio = settings.sample_aspect_ratio  # FFmpeg writes it where PNG has samples per metre, which is the inverse
        open_encoder(encoder, settings, 1 / ratio if settings.codec == "png" else ratio)
        return encoder

    def write(self, planes: Sequence[Plane], time: FrameTime) -> None:
        """Encode one frame.

        Args:
            planes: (height, width) arrays in the order and dtype of the settings' layout; copied.
            time: its stamp in ticks of the settings' time base, later than the one before.
        """
        picture, offset = self._settings.picture, self._naming.offset
        number = 1 + self.num_frames if offset is None else time.pts + offset
        # Floats stay planar, and halves become floats on the way, which loses nothing.
        is_float = picture.layout.is_float
        frame = VideoFrame(picture.width, picture.height, self._samples if is_float else picture.layout.name)
        dtype = np.float32 if is_float else picture.layout.dtype
        for index, (plane, shape) in enumerate(zip(planes, picture.plane_shapes, strict=True)):
            np.copyto(plane_view(frame.planes[index], shape, dtype), plane)
        with target_errors(self._path):
            if frame.format.name != self._samples:  # the same samples, only put elsewhere
                frame = self._reformatter.reformat(frame, format=self._samples, threads=1)
            set_color(frame, picture)
            frame.pts, frame.time_base = self.num_frames, self._settings.time_base
            self._names.append(self._naming.pattern.name(number))
            self._save(self._encoder.encode(frame))
        self.num_frames += 1

    def _save(self, packets: Iterable[Packet[av.VideoStream]]) -> None:
        for packet in packets:
            path = self._path / self._names.popleft()
            part = part_path(path)
            part.write_bytes(packet)
            give_name(part, path)

    def close(self) -> None:
        """Flush the encoder and the last files; they are all on the disk then."""
        with target_errors(self._path):
            self._save(self._encoder.encode(None))
            sync_folder(self._path)
            sync_folder(self._path.parent)
            if self._names:
                raise TargetError(f"{self._path}: {self._settings.codec} swallowed {len(self._names)} pictures")

    def abandon(self) -> None:
        """Remove what was written. For after a failure: raises nothing more."""
        with suppress(av.error.FFmpegError, OSError, ValueError):  # the failure that led here is the one to report
            self._encoder.encode(None)
        shutil.rmtree(self._path, ignore_errors=True)


def publish_pictures(folders: Iterable[Path], naming: Naming) -> int:
    """Put finished pictures where they belong, on the same file system; replaces what is there.

    They stay where they were, too, so that a crash on the way costs nothing.

    Args:
        folders: of the segments, in order.
        naming: pictures that are counted get their numbers here, as no segment knows what a damaged source yields
            for those before it; the others keep theirs.

    Returns:
        How many there are.

    Raises:
        TargetError: one cannot be put there.
    """
    num_pictures, pattern = 0, naming.pattern
    for folder in folders:
        pictures = [file for file in folder.iterdir() if not file.name.endswith(".part")]
        for file in sorted(pictures, key=lambda file: pattern.number_of(file.name) or 0):
            is_counted = naming.offset is None
            target = pattern.file(1 + num_pictures) if is_counted else pattern.folder / file.name
            part = part_path(file)
            with target_errors(target):
                part.unlink(missing_ok=True)
                try:
                    part.hardlink_to(file)
                except OSError:  # a file system without links
                    shutil.copyfile(file, part)
                    sync(part)
                part.replace(target)
            num_pictures += 1
    with target_errors(pattern.folder):
        sync_folder(pattern.folder)
        sync_folder(pattern.folder.parent)  # it may have been made for them
    return num_pictures
