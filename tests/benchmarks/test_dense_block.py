"""Own kernels for dense blocks: right in the interpreter, without a GPU; and what is wrong is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "dense_block.py"
pytest.importorskip("triton")


def interpreted(*command):
    paths = os.pathsep.join([str(SCRIPT.parent), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def test_kernels_give_what_plain_pytorch_gives():
    done = interpreted(str(SCRIPT), "check", "--json")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["what"].partition(",")[0] for one in results] == ["by_tap", "by_tap", "by_rows", "by_rows"]
    assert all(0 < one["relative_error"] < 1e-3 for one in results)


@pytest.mark.parametrize(
    "damage",
    [
        "block.weights[3][1, 1, 150, 3] += 1",  # after what is expected was reckoned
        "block.biases[4][63] += 1",
        "block.second[0, 0, 0, 0] += 10 * how['twice']",
        "block.buffer[..., 100:] = float('nan')",
    ],
)
def test_what_is_wrong_is_found(damage):
    program = f"""
import torch, dense_block
expected = dense_block.Block.expected
def and_damage(block, number, **how):
    found = expected(block, number, **how)
    {damage}
    return found
dense_block.Block.expected = and_damage
dense_block.KERNELS = {{"by_tap": dense_block.KERNELS["by_tap"]}}
try:
    list(dense_block.check(torch.device("cpu")))
except ArithmeticError as error:
    assert "by_tap, 1 frames of 18x7: relative error" in str(error), error
else:
    raise SystemExit("nothing was found")
"""
    done = interpreted("-c", program)
    assert done.returncode == 0, done.stderr
