"""What an encoder's threads cost: each encoder with whole pictures given to them, and with slices of one.

    python benchmarks/encoders.py CLIP
    python benchmarks/encoders.py CLIP --encoders libx264 --threads 2,8,16 --frames 120 --rounds 5

The first frames of the clip, scaled, go through vidsr's own writer with the encoder's row of the table, and FFmpeg's
`threads` and `thread_type` beside it. The ways take turns, so that a drift of the machine does not count for one.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from vidsr.frames import MATRIX_BT709, ColorTags, FrameTime, PictureFormat, Plane, pixel_layout
from vidsr.measure.tables import table
from vidsr.media.containers import MATROSKA
from vidsr.media.formats import plane_view
from vidsr.media.write.encoders import ENCODERS, Encoder, choose_layout, find_encoder, fit_slices
from vidsr.media.write.segment import EncodeSettings, SegmentWriter
from vidsr.options.values import parse_size

_THREAD_TYPES = ("slice", "frame", "frame+slice")
_RATE = 25


@dataclass(kw_only=True)
class Outcome:
    """What came of one encoder with one number and kind of threads, in all rounds."""

    num_bytes: int = 0
    psnr_db: float = math.inf  # luma, against what was encoded
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)  # of all threads
    digests: set[str] = field(default_factory=set)  # of the files: one if the rounds agree

    def __str__(self) -> str:
        quality = "equal" if math.isinf(self.psnr_db) else f"{self.psnr_db:.2f} dB"
        varying = "" if len(self.digests) == 1 else f", {len(self.digests)} different files"
        took = f"{min(self.seconds):.2f} s ({min(self.processor_seconds):.2f} s)"
        return f"{self.num_bytes / 1000:.1f} kB, {quality}, {took}{varying}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--encoders", default=",".join(name for name, row in ENCODERS.items() if not row.only_samples))
    parser.add_argument("--threads", default="2,16")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    rows, same = [], []
    for name in given.encoders.split(","):
        encoder = find_encoder(name)
        picture = picture_for(encoder, *parse_size(given.size))
        pictures = read_pictures(given.clip, picture, given.frames)
        all_digests = set()
        for num_threads in map(int, given.threads.split(",")):
            outcomes = {kind: Outcome() for kind in _THREAD_TYPES}
            for number in range(given.rounds):
                for kind in _THREAD_TYPES if number % 2 == 0 else reversed(_THREAD_TYPES):
                    encode(encoder, picture, pictures, num_threads, kind, outcomes[kind])
            rows.append((name, str(num_threads), *map(str, outcomes.values())))
            all_digests |= outcomes["frame+slice"].digests
        if len(all_digests) == 1:
            same.append(name)
    print(table(("encoder", "threads", *_THREAD_TYPES), rows))
    print(f"{given.frames} frames of {given.size}. Seconds: of the fastest round; in brackets, of all processors.")
    print(f"The same file with any of these numbers of threads (frame+slice): {', '.join(same) or 'none'}.")


def picture_for(encoder: Encoder, width: int, height: int) -> PictureFormat:
    """What an encoder is given for a source that is 8-bit 4:2:0."""
    source = pixel_layout("yuv420p")
    assert source is not None
    layout = choose_layout(encoder, source, None, MATROSKA)
    color = ColorTags(matrix=MATRIX_BT709, full_range=False, siting="left")
    return PictureFormat(width=width, height=height, layout=layout, color=color)


def read_pictures(clip: Path, picture: PictureFormat, num_frames: int) -> list[list[Plane]]:
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return [
            [plane.copy() for plane in planes_of(frame, picture)]
            for frame in islice(container.decode(video=0), num_frames)
        ]


def planes_of(frame: VideoFrame, picture: PictureFormat) -> list[Plane]:
    frame = frame.reformat(picture.width, picture.height, picture.layout.name, interpolation="BICUBIC")
    shapes = picture.plane_shapes
    return [plane_view(plane, shape, picture.layout.dtype) for plane, shape in zip(frame.planes, shapes, strict=True)]


def encode(
    encoder: Encoder,
    picture: PictureFormat,
    pictures: Sequence[Sequence[Plane]],
    num_threads: int,
    thread_type: str,
    outcome: Outcome,
) -> None:
    """Write a segment and add what came of it to `outcome`."""
    options = fit_slices(encoder.name, encoder.options(None, None), picture)
    settings = EncodeSettings(
        codec=encoder.name,
        segment_format=encoder.segment_format,
        options={**options, "threads": str(num_threads), "thread_type": thread_type},
        picture=picture,
        time_base=Fraction(1, _RATE),
        frame_rate=Fraction(_RATE),
        sample_aspect_ratio=Fraction(1),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.segment"
        began, busy = time.perf_counter(), time.process_time()
        writer = SegmentWriter(path, settings)
        for number, planes in enumerate(pictures):
            writer.write(planes, FrameTime(pts=number, duration=1))
        writer.close()
        outcome.seconds.append(time.perf_counter() - began)
        outcome.processor_seconds.append(time.process_time() - busy)
        outcome.num_bytes = path.stat().st_size
        outcome.digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        if len(outcome.seconds) == 1:
            outcome.psnr_db = psnr_db(path, picture, pictures)


def psnr_db(path: Path, picture: PictureFormat, pictures: Sequence[Sequence[Plane]]) -> float:
    """Of the luma of all frames together; infinite if nothing differs."""
    squares = []
    with av.open(str(path)) as container:
        for frame, planes in zip(container.decode(video=0), pictures, strict=True):
            luma = planes_of(frame, picture)[0].astype(np.float32)
            squares.append(float(np.mean((luma - planes[0].astype(np.float32)) ** 2)))
    mean = statistics.fmean(squares)
    return math.inf if mean == 0 else 10 * math.log10(picture.layout.max_code**2 / mean)


if __name__ == "__main__":
    main()
