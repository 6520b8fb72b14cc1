"""Every example runs as its docstring says and makes what it promises; the clip is as described."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
CLIP = EXAMPLES / "clip.mp4"
MAKER = "make_clip.py"
# A classical kernel and six frames: the examples' own doing is under test here, not the networks'.
FAST = ["--model", "lanczos", "--stop", "0.48"]


def run_example(name: str, *arguments: str, folder: Path) -> str:
    """What the example prints; it must succeed, without a warning."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # One thread: so little work gains nothing from more, and loses much where other tests run beside it.
    settings = {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "VIDSR_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def frames(path: Path) -> np.ndarray:
    """(N, H, W, 3) uint8."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_upscale_clip(tmp_path: Path) -> None:
    printed = run_example("upscale_clip.py", *FAST, folder=tmp_path)
    assert printed.startswith("clip_2x.mp4: 6 frames in ")
    assert frames(tmp_path / "clip_2x.mp4").shape == (6, 240, 320, 3)
    with av.open(str(tmp_path / "clip_2x.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_upscale_picture(tmp_path: Path) -> None:
    printed = run_example("upscale_picture.py", "--model", "lanczos", folder=tmp_path)
    assert printed == "picture_4x.png: 640x480 by lanczos\n"
    larger, original = frames(tmp_path / "picture_4x.png"), frames(CLIP)[:1]
    assert larger.shape == (1, 480, 640, 3)
    # The means of 4x4 blocks are nearly the pixels that were there before.
    blocks = larger.reshape(120, 4, 160, 4, 3).mean(axis=(1, 3))
    assert np.abs(blocks - original[0]).mean() < 3


def test_follow_progress(tmp_path: Path) -> None:
    printed = run_example("follow_progress.py", *FAST, folder=tmp_path)
    assert printed.startswith("lanczos on ")
    assert "] 6/6 " in printed
    assert printed.endswith("6 frames are in followed_2x.mp4\n")
    assert frames(tmp_path / "followed_2x.mp4").shape == (6, 240, 320, 3)


def test_compare_models(tmp_path: Path) -> None:
    printed = run_example("compare_models.py", "--models", "nearest", "lanczos", folder=tmp_path)
    psnr = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()}
    assert list(psnr) == ["nearest", "lanczos"]
    assert 20 < psnr["nearest"] < psnr["lanczos"] < 45


def test_own_checkpoint(tmp_path: Path) -> None:
    printed = run_example("own_checkpoint.py", "--stop", "0.16", folder=tmp_path)
    assert printed.splitlines()[0].endswith(": a 4x network")
    assert frames(tmp_path / "own_2x.mp4").shape == (2, 240, 320, 3)


@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="the photograph needs scikit-image")
def test_the_clip_can_be_made_again(tmp_path: Path) -> None:
    run_example(MAKER, "again.mp4", folder=tmp_path)
    again, kept = frames(tmp_path / "again.mp4"), frames(CLIP)
    assert again.shape == kept.shape
    # Another build of the encoder may decide otherwise here and there; one code on average is below its noise.
    assert np.abs(again.astype(int) - kept).mean() < 1


def test_the_clip_is_as_described() -> None:
    assert CLIP.stat().st_size < 150_000
    assert CLIP.read_bytes().index(b"moov") < CLIP.read_bytes().index(b"mdat")
    with av.open(str(CLIP)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.pix_fmt, video.codec.name) == (160, 120, "yuv420p", "h264")
        assert (video.codec_context.colorspace, video.codec_context.color_range) == (6, 1)
        assert (audio.channels, audio.codec_context.name) == (1, "aac")
        assert container.metadata["title"]
        for stream in (video, audio):
            assert float(stream.duration * stream.time_base) == pytest.approx(3.04, abs=0.05)
    pictures = frames(CLIP)
    assert len(pictures) == 38
    assert pictures.std(axis=(1, 2, 3)).min() > 40  # a picture with light and dark in it, to the end


def test_every_example_is_short_and_tested() -> None:
    scripts = {path.name: path.read_text("utf-8") for path in EXAMPLES.glob("*.py")}
    tests = Path(__file__).read_text("utf-8")
    for name, text in scripts.items():
        assert f'run_example("{name}"' in tests or name == MAKER, f"{name} is not run by a test"
        assert text.startswith('"""'), name
        assert f"python examples/{name}" in text, f"{name} does not say how to run it"
        assert "from vidsr." not in text.replace("from vidsr.events import", ""), (
            f"{name} uses more than the public API"
        )
        if name != MAKER:
            assert len(text.splitlines()) <= 40, name
