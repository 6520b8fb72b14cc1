"""Damaged and made-up files of every kind that vidsr reads: a clean error or a result; no crash, hang or flood."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from picture_files import noise, write_picture

from vidsr.media.write.matroska import placeholder
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import save_safetensors

WORKER = Path(__file__).with_name("fuzz_worker.py")
QUICK, SLOW = 120, 4000
SECONDS_PER_CASE = 60  # they take under 2 on a machine that has nothing else to do
CLIPS = {
    "a.mp4": {"audio": "aac", "chapters": [(0, 200, "one")], "options": {"bf": "2"}},
    "b.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "metadata": {"title": "t"}, "rotation": 90},
    "c.mkv": {"audio": "flac", "subtitles": [(0, 200, "x")], "attachment": b"font", "tags": (1, 1, 1, 1)},
    "d.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
    "e.ts": {"audio": "mp2"},
    "f.avi": {"codec": "mpeg4"},
    "g.mkv": {"codec": "ffv1"},
    "h.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "patch.mkv": {"video_metadata": {"title": placeholder("t")}},
}
RECIPE = 'name = "n"\npurpose = "p"\nnotes = "é"\n[options]\nscale = "4/3"\nmodel = "auto"\ncrf = 18\nsize = [9, 9]\n'


def write_weights(folder):
    network = SRVGGNetCompact(scale=2, num_features=4, num_convs=1).eval()
    save_safetensors(network, folder / "w.safetensors")
    torch.save({"params": network.state_dict()}, folder / "w.pth")
    lines, blob = ["Input data 0 1 data"], b""
    for name, values in network.state_dict().items():
        if values.ndim == 4:
            lines.append(f"Convolution {name} 1 1 a b 0={len(values)} 1=3 4=1 5=1 6={values.numel()}")
            blob += bytes(4)
        elif name.removesuffix("weight") != name:
            lines.append(f"PReLU {name} 1 1 a b 0={len(values)}")
        blob += values.numpy().astype("<f4").tobytes()
    (folder / "w.param").write_text("\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""]))
    (folder / "w.bin").write_bytes(blob)


@pytest.fixture
def wholes(make_clip, tmp_path):
    """A folder of small files without fault, some of each kind."""
    folder = tmp_path / "wholes"
    folder.mkdir()
    for name, how in CLIPS.items():
        make_clip(f"wholes/{name}", **{"frames": 6, "size": (32, 24), **how})
    write_weights(folder)
    (folder / "r.toml").write_text(RECIPE, encoding="utf-8")
    for name, pix_fmt in (("p.png", "rgb24"), ("p.exr", "gbrpf32le"), ("p.dpx", "rgb24"), ("p.tif", "rgb24")):
        write_picture(folder / name, noise(pix_fmt), pix_fmt)
    return folder


def run(folder, first, stop):
    """What became of each case, by its number: refused, done, or how the process died of it."""
    outcomes = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "VIDSR_OFFLINE": "1"}
    while first < stop:
        command = [sys.executable, str(WORKER), str(folder), str(first), str(stop), str(SECONDS_PER_CASE)]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, errors="replace")
        lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
        outcomes |= {line["case"]: line["outcome"] for line in lines if "outcome" in line}
        begun = [(line["case"], line["file"]) for line in lines if "file" in line]
        if ended.returncode == 0:
            break
        assert begun, ended.stderr
        case, file = begun[-1]
        outcomes[case] = f"{file}: died with {ended.returncode}: {ended.stderr[-1500:]}"
        first = case + 1
    return outcomes


def check(outcomes, count):
    assert len(outcomes) == count
    bad = {case: text for case, text in outcomes.items() if text not in ("refused", "done")}
    assert not bad, "\n".join(f"case {case}: {text}" for case, text in bad.items())
    # Neither everything nor nothing gets through: the files are damaged, but not beyond recognition.
    assert set(outcomes.values()) == {"refused", "done"}


def test_damaged_files_of_every_kind(wholes):
    check(run(wholes, 0, QUICK), QUICK)


@pytest.mark.slow
def test_many_damaged_files_of_every_kind(wholes):
    check(run(wholes, QUICK, QUICK + SLOW), SLOW)


@pytest.mark.slow
def test_real_files_damaged(shared_media, tmp_path):
    for path in shared_media.iterdir():
        if path.is_file() and path.suffix not in (".json", ".md", ".txt") and path.stat().st_size < 400_000:
            (tmp_path / path.name).symlink_to(path)
    check(run(tmp_path, 0, 1000), 1000)
