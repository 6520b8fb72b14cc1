"""A video of a codec that no decoder knows is refused by its path, on every way into a file."""

from __future__ import annotations

import pytest

from vidsr.errors import SourceError
from vidsr.media.read.probe import probe
from vidsr.media.survey.survey import survey


@pytest.mark.parametrize("look_at", [probe, survey])
def test_an_unknown_codec_is_refused(make_clip, look_at):
    clip = make_clip("clip.mp4", frames=3)
    clip.path.write_bytes(clip.path.read_bytes().replace(b"avc1\0\0\0\0", b"zzzz\0\0\0\0"))
    with pytest.raises(SourceError, match=r"clip\.mp4: no decoder knows the codec of its video"):
        look_at(clip.path)
