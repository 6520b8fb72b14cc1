"""The command line as its users meet it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner, Result

import vidsr.run.upscale
from vidsr.cli.main import app
from vidsr.errors import RunStoppedError

CLIP = Path(__file__).parents[2] / "examples" / "clip.mp4"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Path(shutil.copy(CLIP, tmp_path / "clip.mp4"))


def size_and_frames(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        stream = container.streams.video[0]
        return stream.width, stream.height, frames


def only_the_clip_is_left(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["clip.mp4"]


def test_upscale_writes_the_default_target_and_plain_lines(clip: Path) -> None:
    result = run("upscale", clip, "--scale", "2", "--model", "lanczos", "--stop", "5f")
    assert result.exit_code == 0, result.output
    target = clip.with_name("clip_2x.mp4")
    assert size_and_frames(target) == (320, 240, 5)
    lines = result.stdout.splitlines()
    assert lines[1].startswith("model lanczos (asked for), on ")
    assert lines[2:7] == ["Progress: 20%", "Progress: 40%", "Progress: 60%", "Progress: 80%", "Progress: 100%"]
    assert lines[7].startswith(f"wrote {target}: 5 frames in ")
    assert "\r" not in result.stdout and "\x1b" not in result.stdout


def test_auto_names_the_model_and_the_reason(clip: Path) -> None:
    result = run("upscale", clip, "--stop", "1f", "--device", "cpu")
    assert "model realesr-animevideov3 (auto: the compact network, since there is no GPU)" in result.stdout


def test_json_lines_are_all_objects_and_tell_the_whole_run(clip: Path) -> None:
    result = run("upscale", clip, "--model", "nearest", "--stop", "3f", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == [
        "started",
        "progress",
        "progress",
        "progress",
        "finished",
        "checked",
    ]
    assert events[0]["target_size"] == [320, 240]
    assert events[2]["num_frames_done"] == 2 and events[2]["num_frames_expected"] == 3
    assert events[2]["seconds_left"] >= 0
    assert events[-2]["num_frames"] == 3 and events[-1]["passed"] is True


def test_json_reports_errors_as_an_object_too(tmp_path: Path) -> None:
    result = run("upscale", tmp_path / "missing.mp4", "--json")
    assert result.exit_code == 3
    event = json.loads(result.stdout)
    assert event["event"] == "error" and event["exit_code"] == 3 and "missing.mp4" in event["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--scale", "0"], 2, "scale is 0"),
        (["--scale", "zwei"], 2, "scale is 'zwei'"),
        (["--scale", "2", "--height", "200"], 2, "give one"),
        (["--size", "99999999x2"], 2, "99999999x2"),
        (["--size", "321x240"], 2, "even"),
        (["--height", "60"], 2, "1 to 8 times"),
        (["--model", "realesrgan-x4plux"], 2, "did you mean RealESRGAN_x4plus"),
        (["--model", "nothing/here.pth"], 2, "no weights file"),
        (["--device", "cuda:7"], 2, "cuda:7"),
        (["--device", "tpu"], 2, "tpu"),
        (["--precision", "fp16", "--device", "cpu"], 2, "fp16"),
        (["--codec", "h263"], 2, "h263"),
        (["--codec", "ffv1", "-o", "out.mp4"], 2, ".mkv"),
        (["--crf", "99"], 2, "crf is 99"),
        (["--preset", "warp"], 2, "preset=warp"),
        (["--pix-fmt", "nonsense"], 2, "nonsense"),
        (["--start", "10f", "--stop", "5f"], 2, "after start"),
        (["--start", "1000f"], 2, "no frame lies between"),
        (["--stop", "later"], 2, "later"),
        (["--denoise", "0.5", "--model", "realesr-animevideov3"], 2, "realesr-general-x4v3"),
        (["--blend", "2"], 2, "blend is 2.0"),
        (["--recipe", "western"], 2, "western"),
        (["-o", "out.avi"], 2, ".mkv"),
        (["-o", "no/such/folder/out.mp4"], 2, "no folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_code(
    clip: Path, arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip.parent)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "lanczos"]
    result = run("upscale", clip, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert result.stderr.startswith("vidsr: error: ") and result.stderr.count("\n") == 1, result.stderr
    assert only_the_clip_is_left(clip.parent)


def test_offline_and_missing_weights_name_the_address_and_the_place(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSR_OFFLINE", "1")
    monkeypatch.setenv("VIDSR_CACHE", str(clip.parent / "cache"))
    result = run("upscale", clip, "--model", "RealESRGAN_x2plus")
    assert result.exit_code == 2
    assert "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.1/RealESRGAN_x2plus.pth" in result.stderr
    assert str(clip.parent / "cache") in result.stderr


def test_nan_weights_are_refused_by_name(clip: Path) -> None:
    import torch

    from vidsr.models.compact.network import SRVGGNetCompact

    network = SRVGGNetCompact(scale=2, num_features=8, num_convs=1)
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = float("nan")
    checkpoint = clip.with_name("nan.pth")
    torch.save({"params": network.state_dict()}, checkpoint)
    result = run("upscale", clip, "--model", checkpoint)
    assert result.exit_code == 2
    assert "nan.pth" in result.stderr and "body.0.weight" in result.stderr
    assert not clip.with_name("clip_2x.mp4").exists()


def test_a_corrupt_checkpoint_is_refused(clip: Path) -> None:
    checkpoint = clip.with_name("broken.pth")
    checkpoint.write_bytes(b"PK\x03\x04 and then nothing")
    result = run("upscale", clip, "--model", checkpoint)
    assert result.exit_code == 2 and "broken.pth" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_existing_target_is_kept_unless_told(clip: Path) -> None:
    target = clip.with_name("clip_2x.mp4")
    target.write_text("precious")
    result = run("upscale", clip, "--model", "nearest", "--stop", "1f")
    assert result.exit_code == 2 and "--overwrite" in result.stderr
    assert target.read_text() == "precious"
    assert run("upscale", clip, "--model", "nearest", "--stop", "1f", "--overwrite").exit_code == 0
    assert size_and_frames(target)[2] == 1


def test_several_files_go_on_after_a_failure(clip: Path) -> None:
    bad, out = clip.with_name("bad.mp4"), clip.with_name("out")
    bad.write_text("this is text")
    result = run("upscale", bad, clip, "-o", out, "--model", "nearest", "--stop", "2f")
    assert result.exit_code == 3
    assert size_and_frames(out / "clip_2x.mp4") == (320, 240, 2)
    assert "1 of 2 files done" in result.stdout and f"failed: {bad}" in result.stdout


def test_after_a_stop_only_what_is_done_counts(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [clip.with_name(f"{number}.mp4") for number in range(5)]
    for path in names:
        shutil.copy(clip, path)
    execute = vidsr.run.upscale.Run.execute

    def stopped_in_the_second(run: vidsr.run.upscale.Run) -> vidsr.run.upscale.Result:
        if run.prepared.source.path == names[1]:
            raise RunStoppedError("stopped")
        return execute(run)

    monkeypatch.setattr(vidsr.run.upscale.Run, "execute", stopped_in_the_second)
    result = run("upscale", *names, "--model", "nearest", "--stop", "1f")
    assert result.exit_code == 130
    assert result.stdout.splitlines()[-2:] == ["1 of 5 files done", f"stopped: {names[1]}"]


def test_a_dry_run_does_no_files(clip: Path) -> None:
    bad = clip.with_name("bad.mp4")
    bad.write_text("this is text")
    result = run("upscale", clip, bad, "--model", "nearest", "--dry-run")
    assert result.exit_code == 3
    assert "files done" not in result.stdout and f"failed: {bad}" in result.stdout


def test_a_folder_becomes_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("b.mp4", "a.MP4"):
        shutil.copy(CLIP, folder / name)
    (folder / "notes.txt").write_text("not a video")
    result = run("upscale", folder, "--model", "nearest", "--stop", "1f", "--scale", "3/2")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "films_1.5x").iterdir()) == ["a_1.5x.mp4", "b_1.5x.mp4"]


def test_a_folder_without_videos_is_an_error(tmp_path: Path) -> None:
    result = run("upscale", tmp_path)
    assert result.exit_code == 3 and "no videos" in result.stderr


def test_dry_run_estimates_and_writes_nothing(clip: Path) -> None:
    result = run("upscale", clip, "--dry-run", "--model", "lanczos")
    assert result.exit_code == 0, result.output
    assert "38 frames at " in result.stdout and "nothing was written" in result.stdout
    assert only_the_clip_is_left(clip.parent)


def test_a_recipe_sets_what_the_command_line_leaves_open(clip: Path) -> None:
    result = run("upscale", clip, "--recipe", "anime", "--model", "nearest", "--scale", "2", "--stop", "1f")
    assert result.exit_code == 0, result.output
    assert size_and_frames(clip.with_name("clip_2x.mp4")) == (320, 240, 1)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run("--debug", "upscale", tmp_path / "missing.mp4")
    assert result.exit_code == 3 and "Traceback" in result.stderr
    assert "Traceback" not in run("upscale", tmp_path / "missing.mp4").stderr


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX here")
def test_signals_end_the_run_cleanly(clip: Path, signum: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "vidsr", "upscale", str(clip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "Progress" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signum)
    if signum == signal.SIGINT:  # the first one lets the segment be finished, here the only one
        assert process.stderr is not None
        while "Ctrl-C again stops now" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signum)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert only_the_clip_is_left(clip.parent)


def test_a_full_disk_is_exit_75_and_leaves_no_target(clip: Path) -> None:
    small = clip.parent / "small"
    small.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a file system of 64 kB cannot be mounted here")
    try:
        target = small / "out.mkv"
        result = run("upscale", clip, "-o", target, "--codec", "ffv1", "--model", "nearest")
        assert result.exit_code == 75, result.output
        warning, error = result.stderr.splitlines()
        assert "more are needed" in warning and "the disk is full" in error
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_unwritable_folder_is_an_error(clip: Path) -> None:
    folder = clip.parent / "locked"
    folder.mkdir(mode=0o500)
    result = run("upscale", clip, "-o", folder / "out.mp4", "--model", "nearest")
    assert result.exit_code == 2 and "cannot be written" in result.stderr


def test_models_lists_every_entry_once() -> None:
    lines = run("models", "list").stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert len(names) == len(set(names)) == 9
    assert any(line.startswith("realesr-animevideov3") and " installed " in line for line in lines)


def test_models_info_path_and_convert(tmp_path: Path) -> None:
    info = run("models", "info", "realesr-animevideov3").stdout
    assert "621424 parameters" in info and "reach       18 input pixels" in info and "1.238 MFLOP" in info
    path = Path(run("models", "path", "realesr-animevideov3").stdout.strip())
    assert path.is_file()
    converted = tmp_path / "compact.safetensors"
    result = run("models", "convert", "realesr-animevideov3", converted)
    assert result.exit_code == 0, result.output
    assert "621424 parameters" in run("models", "info", converted).stdout
    assert run("models", "convert", "realesr-animevideov3", converted).exit_code == 2
    assert run("models", "path", "lanczos").exit_code == 2


def test_probe_says_what_was_guessed(clip: Path) -> None:
    text = run("probe", clip).stdout
    assert "160x120" in text and "chroma siting      left (guessed: the file does not say)" in text
    facts = json.loads(run("probe", clip, "--json").stdout)
    assert facts["frames_from_index"] == 38 and facts["rate"] == "constant"
    assert run("probe", clip.with_name("missing.mp4")).exit_code == 3


def test_preview_writes_a_sheet_of_pairs(clip: Path) -> None:
    result = run("preview", clip, "--frames", "2", "--model", "bicubic", "--scale", "2")
    assert result.exit_code == 0, result.output
    sheet = clip.with_name("clip_preview.png")
    # Two rows of two 320x240 pictures with gaps of 8 pixels.
    assert size_and_frames(sheet) == (648, 488, 1)
    assert "left lanczos, right bicubic" in result.stdout
    assert run("preview", clip, "--model", "bicubic").exit_code == 2, "the sheet must not be overwritten unasked"


def test_doctor_names_devices_encoders_and_weights() -> None:
    text = run("doctor").stdout
    for word in ("device      cpu", "encoder     libx264      yes", "weights     RealESRGAN_x4plus ", "cache "):
        assert word in text


def test_version_and_help_take_no_time_to_understand() -> None:
    assert run("--version").stdout.startswith("vidsr 0.")
    text = run("upscale", "--help").stdout
    for flag in ("--scale", "--fit", "--denoise", "--blend", "--tile", "--dry-run", "--recipe"):
        assert flag in text


def test_the_program_starts_within_seconds() -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "vidsr", "--version"], check=True, capture_output=True)
    assert time.monotonic() - began < 20  # torch alone takes two; only a hang or a download takes longer


def test_strict_ends_with_its_own_exit_code_before_any_work(clip: Path) -> None:
    shutil.copy(clip, clip.with_name("in.mkv"))
    result = run("upscale", clip, "-o", clip.with_name("out.webm"), "--codec", "libvpx-vp9", "--strict")
    assert result.exit_code == 5, result.output  # WebM does not hold its AAC
    assert "would lose something, and strict forbids it" in result.stderr
    assert not clip.with_name("out.webm").exists()


def test_encoder_options_from_the_command_line(clip: Path) -> None:
    given = ("--encoder-option", "tune=film", "--encoder-option", "x264-params=scenecut=0")
    result = run("upscale", clip, "--model", "nearest", "--stop", "2f", *given)
    assert result.exit_code == 0, result.output
    result = run("upscale", clip, "--model", "nearest", "--overwrite", "--encoder-option", "bogus=1")
    assert (result.exit_code, result.stderr.count("libx264 has no option 'bogus'")) == (2, 1)
