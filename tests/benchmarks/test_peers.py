"""The comparison with other programs: that all are asked for the same, and that what they made is compared rightly."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vidsr.inference.upscaler import Upscaler
from vidsr.measure.scene import Scene
from vidsr.models.catalogue import CATALOGUE
from vidsr.models.weights_store import locate
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.upscale import upscale_video

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.usefixtures("one_thread")


def load_script(name, monkeypatch):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def peers(monkeypatch):
    return load_script("peers", monkeypatch)


@pytest.fixture
def stock(monkeypatch):
    return load_script("stock_loop", monkeypatch)


def small_weights(stock, folder, kind):
    """A network of the shape that the others expect, small in depth, with weights that make a picture of a picture."""
    torch.manual_seed(3)
    network = stock.Compact(2) if kind == "compact" else stock.Generator(1)
    if kind == "rrdb":
        with torch.no_grad():
            network.conv_last.bias.fill_(0.5)
            network.conv_last.weight.mul_(20)
    path = folder / f"{kind}.pth"
    torch.save({"params_ema": network.state_dict()}, path)
    return path


@pytest.mark.parametrize("kind", ["compact", "rrdb", "realesr-animevideov3", "RealESRGAN_x4plus_anime_6B"])
def test_the_stock_loop_makes_the_picture_that_vidsr_makes(stock, peers, kind, tmp_path):
    if kind in ("compact", "rrdb"):
        weights, model = (path := small_weights(stock, tmp_path, kind)), str(path)
    else:
        peers.write_weights(tmp_path, {kind})
        weights, model = tmp_path / f"{kind}.pth", kind
    picture = Scene(41, 30).frame(3)
    network = stock.load(weights)
    by_stock = stock.enhance(network, picture[..., ::-1], 4)[..., ::-1]
    upscaler = Upscaler(UpscaleOptions(model=model, device="cpu", scale=4))
    by_vidsr = upscaler.upscale_image(np.ascontiguousarray(picture))
    assert by_stock.std() > 10
    assert np.abs(by_stock.astype(int) - by_vidsr).max() <= 1


def test_the_stock_loop_resizes_as_vidsr_does(stock, tmp_path):
    weights = small_weights(stock, tmp_path, "compact")
    picture = Scene(60, 40).frame(0)
    by_stock = stock.enhance(stock.load(weights), picture[..., ::-1], 2)[..., ::-1]
    by_vidsr = Upscaler(UpscaleOptions(model=str(weights), device="cpu", scale=2)).upscale_image(picture)
    assert by_stock.shape == by_vidsr.shape == (80, 120, 3)
    # Both are Lanczos, but of other sizes and roundings.
    assert 20 * math.log10(255 / (by_stock.astype(float) - by_vidsr).std()) > 30


def test_the_stock_loop_makes_a_video(stock, peers, make_clip, look, tmp_path):
    weights = small_weights(stock, tmp_path, "compact")
    clip = make_clip(frames=7)
    target = tmp_path / "stock.mp4"
    assert stock.run(clip.path, target, stock.load(weights), 2, 5, "12", "veryfast") == 5
    seen = look.video(target)
    assert (seen.count, seen.sizes, seen.pix_fmt) == (5, {(128, 96)}, "yuv420p")
    options = UpscaleOptions(model=str(weights), device="cpu", scale=2, stop=5, crf=12, preset="veryfast")
    upscale_video(clip.path, tmp_path / "vidsr.mp4", options)
    assert peers.psnr(list(peers.luma_frames(target, 5)), peers.luma_frames(tmp_path / "vidsr.mp4", 5)) > 30


def test_the_weights_are_those_of_the_catalogue(stock, peers, tmp_path):
    here = {entry.name for entry in CATALOGUE if entry.kind == "network" and locate(entry) is not None}
    assert here >= set(peers._FRAMELIFT_MODELS)
    peers.write_weights(tmp_path, {"realesr-animevideov3"})
    state = torch.load(tmp_path / "realesr-animevideov3.pth", weights_only=True)["params_ema"]
    assert sum(tensor.numel() for tensor in state.values()) == 621_424


def test_clips_with_repeated_frames_and_of_half_the_size(peers, make_clip, look, tmp_path):
    clip = make_clip(frames=4, size=(64, 48), options={"qp": "0"})
    twos = look.planes(peers.rewrite(clip.path, tmp_path / "twos.mp4", repeat=2))
    assert len(twos) == 8
    for number, planes in enumerate(twos):
        for plane, drawn in zip(planes, clip.pictures[number // 2], strict=True):
            assert np.array_equal(plane, drawn), "lossless, so that repeated frames are the same after decoding"
    assert look.video(tmp_path / "twos.mp4").times[-1] == clip.times[-1] + clip.times[1] / 2
    half = look.video(peers.rewrite(clip.path, tmp_path / "half.mp4", shrink=2))
    assert (half.sizes, half.count) == ({(32, 24)}, 4)


def test_all_programs_are_asked_for_the_same(peers, tmp_path):
    case = peers.Case(name="x", source=peers.CLIP, model="RealESRGAN_x4plus", num_frames=7, original=peers.CLIP)
    commands = peers.commands(case, peers.Bench(tmp_path, sys.executable, "cpu"))
    assert list(commands)[:4] == ["vidsr", "vidsr --fit before", "stock loop", "framelift"]
    for name in ("vidsr", "stock loop"):
        given = dict(zip(commands[name], commands[name][1:], strict=False))
        assert (given["--crf"], given["--preset"], given["--scale"]) == (peers.CRF, peers.PRESET, "2")
        assert given["--stop"].removesuffix("f") == "7"
        assert str(case.source) in commands[name] and "{target}" in commands[name]
    options = json.loads(commands["framelift"][-1])
    assert (str(options["crf"]), options["x264_preset"], options["scale"]) == (peers.CRF, peers.PRESET, 2)
    assert (options["max_frames"], options["ai_strength"], options["model"]) == (7, 1.0, "realesrgan-x4plus")
    assert "tile" not in options, "its default"


def test_the_report_of_a_program_and_its_failure(peers):
    code = "import sys; print('noise'); print('{\"num_frames\": 4, \"seconds_elapsed\": 0.5}'); print('{\"x\": 1}')"
    seconds, report = peers.run([sys.executable, "-c", code])
    assert report == {"num_frames": 4, "seconds": 0.5}
    assert seconds > 0
    with pytest.raises(SystemExit, match="broken"):
        peers.run([sys.executable, "-c", "raise SystemExit('broken')"])
    with pytest.raises(SystemExit, match="said nothing"):
        peers.run([sys.executable, "-c", "print(3)"])


def test_psnr(peers):
    frames = [np.full((4, 6), 100.0), np.full((4, 6), 50.0)]
    assert peers.psnr(frames, iter(frames)) is None
    assert peers.psnr(frames, iter([frames[0] + 2, frames[1]])) == pytest.approx(10 * math.log10(255**2 / 2))
    for others in ([frames[0]], [*frames, frames[0]], [frames[0], frames[1][:2]]):
        with pytest.raises(SystemExit, match="did not do the same"):
            peers.psnr(frames, iter(others))


def test_the_page_has_ratios_of_the_same_round(peers, tmp_path):
    def outcome(fps, **more):
        plain = {"whole_fps": fps, "steady_fps": fps, "size": [320, 240], "psnr_to_vidsr": 40.0}
        return {**plain, "psnr_to_original": None, **more}

    machine = {"device": "cpu x", "processors": "2", "torch": "2", "vidsr": "0"}
    programs = {"vidsr": outcome([4.0, 8.0, 6.0]), "other": outcome([2.0, 2.0, 2.0], psnr_to_vidsr=None)}
    result = {"source": "clip", "model": "m", "machine": machine, "programs": programs}
    text = peers.page_text({"a": result, "b": result})
    assert text.startswith("cpu x; processors 2, torch 2, vidsr 0.\n\n**a**: clip, to 320x240 by m\n")
    row = next(line for line in text.splitlines() if line.startswith("| other"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["other", "2.00", "3.00 (2.00 to 4.00)", "2.00", "3.00 (2.00 to 4.00)", "equal"]


def test_the_page_is_made_of_what_was_measured_before(peers, tmp_path, monkeypatch, capsys):
    outcome = {"whole_fps": [1.5], "steady_fps": [2.5], "size": [4, 2], "psnr_to_vidsr": None, "psnr_to_original": 33.3}
    machine = {"device": "cpu x", "processors": "2", "torch": "2", "vidsr": "0"}
    results = {"a": {"source": "clip", "model": "m", "machine": machine, "programs": {"vidsr": outcome}}}
    (tmp_path / "a.json").write_text(json.dumps(results))
    page = tmp_path / "page.md"
    page.write_text("<!-- begin peers -->\n<!-- end peers -->\n")
    arguments = ["--rounds", "0", "--json", str(tmp_path / "a.json"), "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["peers.py", *arguments])
    peers.main()
    assert "33.3 dB" in page.read_text()
    assert capsys.readouterr().out.strip() in page.read_text()


def test_an_unknown_case(peers, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["peers.py", "--cases", "clip,nothing"])
    with pytest.raises(SystemExit, match="no case nothing"):
        peers.main()


def test_segments_are_compared_with_one(monkeypatch, tmp_path, capsys):
    segments = load_script("segments", monkeypatch)
    page = tmp_path / "page.md"
    page.write_text("<!-- begin segments -->\n<!-- end segments -->\n")
    arguments = ["--model", "nearest", "--size", "32x32", "--frames", "260", "--rounds", "1", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["segments.py", *arguments])
    found = []
    run = segments.run
    monkeypatch.setattr(segments, "run", lambda *a, **k: found.append((k["is_cut"], run(*a, **k))) or found[-1][1])
    segments.main()
    assert [(is_cut, num_segments) for is_cut, (_, num_segments) in found] == [(False, 1), (True, 2), (False, 1)]
    text = capsys.readouterr().out.strip()
    assert "| in 2 segments " in text
    assert text in page.read_text()
