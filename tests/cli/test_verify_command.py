"""`vidsr verify` as its users meet it, and what an upscale says of its own result."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner, Result

from vidsr.cli.main import app
from vidsr.run.prepare import Prepared

CLIP = Path(__file__).parents[2] / "examples" / "clip.mp4"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    source, output = Path(shutil.copy(CLIP, folder / "clip.mp4")), folder / "out.mp4"
    result = run("upscale", source, "-o", output, "--model", "nearest", "--stop", "10f")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("checked: 10 frames, ")
    return source, output


def test_a_table_a_summary_and_zero(pair: tuple[Path, Path]) -> None:
    result = run("verify", *pair, "--stop", "10f")
    assert result.exit_code == 0, result.output
    *table, summary = result.stdout.splitlines()
    assert summary == f"passed: {len(table)} checks: 0 wrong, 0 lost (every frame decoded)"
    assert table[0].split() == ["ok", "frames", "10", "frames"]
    assert {line[:7] for line in table} == {"ok     "}


def test_what_is_wrong_is_four(pair: tuple[Path, Path]) -> None:
    result = run("verify", *pair, "--quick")  # without --stop the other frames are missing
    assert result.exit_code == 4
    assert result.stdout.startswith("wrong  frames ") and "missing 10, 11" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("FAILED: ")


def test_what_is_lost_is_four_only_if_strict(tmp_path: Path) -> None:
    source = Path(shutil.copy(CLIP, tmp_path / "clip.mp4"))
    lossy = tmp_path / "lossy.mp4"

    with av.open(str(source)) as original, av.open(str(lossy), "w") as out:
        video = original.streams.video[0]
        copy = out.add_stream_from_template(video, opaque=True)
        assert len(original.streams) > 1
        for packet in original.demux(video):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    assert run("verify", source, lossy, "--quick").exit_code == 0
    result = run("verify", source, lossy, "--quick", "--strict")
    assert result.exit_code == 4 and "lost   stream 1 (audio, " in result.stdout


def test_json_is_one_object(pair: tuple[Path, Path]) -> None:
    result = run("verify", *pair, "--stop", "10f", "--quick", "--json")
    facts = json.loads(result.stdout)
    assert (facts["passed"], facts["quick"], facts["num_frames"]) == (True, True, 10)
    assert facts["time_error_seconds"] == 0
    assert {"name": "frames", "outcome": "ok"}.items() <= facts["checks"][0].items()


def test_what_cannot_be_read_is_three(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert run("verify", pair[0], tmp_path / "missing.mp4").exit_code == 3
    assert run("verify", *pair, "--start", "soon").exit_code == 2
    assert run("verify", *pair, "--frame-ratio", "0").exit_code == 2


def test_an_upscale_that_went_wrong_says_so_and_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prepared, "sample_aspect_ratio", Fraction(2))
    target = tmp_path / "out.mp4"
    result = run("upscale", CLIP, "-o", target, "--model", "nearest", "--stop", "2f")
    assert result.exit_code == 4
    assert "check FAILED: shape: " in result.stdout
    assert "the file was left for inspection" in result.stderr
    assert target.exists()
