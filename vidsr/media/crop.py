"""What a container hides of the coded picture: a clean aperture or PixelCrop."""

from __future__ import annotations

import re

import av.logging
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidsr.frames import Crop
from vidsr.media.formats import delivered_layout


def read_crop(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> Crop | None:
    """The clean aperture of MOV and MP4 or Matroska's PixelCrop, moved up and left to whole chroma samples.

    FFmpeg's decoders do not apply it, and PyAV has it only in the text that FFmpeg describes a file with, at a log
    level that is then set for a moment.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        described = str(container.dumps_format())  # type: ignore[attr-defined] # missing in its stubs
    finally:
        av.logging.set_level(level)
    own = re.search(rf"Stream #0:{stream.index}\b.*?(?=\n  Stream #|\Z)", described, re.DOTALL)
    found = own and re.search(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)", own[0])
    if not found:
        return None
    left, right, top, bottom = map(int, found.groups())
    if left + right >= frame.width or top + bottom >= frame.height:
        return None  # nothing would be left: a damaged header
    layout = delivered_layout(frame.format)
    over_x, over_y = left % (1 << layout.chroma_shift_x), top % (1 << layout.chroma_shift_y)
    return Crop(left=left - over_x, right=right + over_x, top=top - over_y, bottom=bottom + over_y)
