"""Parts of files whose clock wraps round or whose first group of pictures refers to what was cut away."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import av
import pytest

from vidsr.media.read.probe import probe
from vidsr.media.read.video import Window, read_frames
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

pytestmark = pytest.mark.usefixtures("one_thread")

CLOCK = Fraction(1, 90000)
WRAP = 1 << 33  # MPEG's clock has 33 bits, 26.5 hours


@pytest.fixture
def wrapping(make_clip):
    """Sixty frames, of which the first 25 come before the wrap."""
    stamps = [WRAP - 25 * 3600 + n * 3600 for n in range(60)]
    options = {"bf": "2", "b-adapt": "0", "g": "12"}
    sound = {"audio": "aac", "audio_start": stamps[0] * CLOCK}
    return make_clip("wrap.ts", pts=stamps, time_base=CLOCK, options=options, **sound)


def test_a_clock_that_wraps_round_goes_on(wrapping):
    source = probe(wrapping.path)
    assert {b - a for a, b in pairwise(source.pts)} == {3600} and len(source.pts) == 60
    notices = []
    frames = list(read_frames(source, Window(), notices.append))
    assert [frame.time.pts for frame in frames] == list(source.pts)
    for start, stop in [(0, 3), (20, 30), (24, 25), (25, 26), (40, 60)]:
        window = Window(source.pts[start], source.pts[stop] if stop < 60 else None)
        assert [f.time.pts for f in read_frames(source, window, notices.append)] == list(source.pts[start:stop])
    assert not notices


def test_a_part_across_the_wrap(wrapping, look, tmp_path):
    target = tmp_path / "part.mp4"
    options = UpscaleOptions(model="nearest", scale=Fraction(1), preset="ultrafast", device="cpu", start=20, stop=30)
    upscale_video(wrapping.path, target, options)
    seen, given = look.video(target), look.video(wrapping.path)
    assert seen.times == [Fraction(n, 25) for n in range(10)]
    assert seen.means == pytest.approx(given.means[20:30], abs=2)
    (before,), (after,) = look.packets(wrapping.path, "audio"), look.packets(target, "audio")
    times = dict(before)
    for digest, time in after:
        assert abs((times[digest] - given.times[20]) - time) <= Fraction(1, 48000)


OPEN_GOPS = {"g": "10", "keyint_min": "10", "sc_threshold": "0", "bf": "3", "b-adapt": "0", "x264-params": "open-gop=1"}


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", OPEN_GOPS), ("mpeg2video", {"g": "10", "bf": "2", "sc_threshold": "1000000000"})]
)
def test_an_open_start_loses_only_what_cannot_be_decoded(make_clip, look, codec, options):
    clip = make_clip("whole.ts", frames=40, codec=codec, options=options)
    cut = clip.path.with_name("cut.ts")
    with av.open(str(clip.path)) as given, av.open(str(cut), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        num_keyframes = 0
        for packet in given.demux(video=0):
            num_keyframes += packet.is_keyframe
            if packet.size and num_keyframes >= 2:
                packet.stream = stream
                out.mux(packet)
    source = probe(cut)
    notices = []
    frames = list(read_frames(source, Window(), notices.append))
    seen = look.video(cut)
    times = [frame.time.pts * source.video.time_base for frame in frames]
    assert times == seen.times and times == sorted(set(times))
    lost = len(source.pts) - len(frames)
    assert 1 <= lost <= 3, "the file is not the trap it was meant to be"
    assert len(notices) == 1 and f"{lost} frames could not be decoded" in notices[0]
