"""What the CPU engine says that a picture takes is what it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from vidsr.engines import winograd
from vidsr.engines.base import EngineInfo
from vidsr.engines.winograd import WinogradEngine
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(winograd.why_absent() is not None, reason=str(winograd.why_absent()))

GROWTH = """
import resource, sys, torch
from pathlib import Path
from vidsr.engines.winograd import WinogradEngine
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet

torch.set_num_threads(1)
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
kept = []  # lest one takes what another gave back
for text in sys.argv[1:]:
    network, height, width = eval(text)
    engine = WinogradEngine(network.eval().requires_grad_(False), torch.device("cpu"), "fp32")
    before = resident()
    x = torch.rand(1, 3, height, width)
    kept += [engine, x, engine.run(x)]
    print(resident() - before, engine.info.peak_bytes(height, width))
"""

NETWORKS = {"RRDBNet": RRDBNet, "SRVGGNetCompact": SRVGGNetCompact}
X4 = "RRDBNet(scale=4, num_blocks=1, num_features=16, growth_channels=8)"
X2 = "RRDBNet(scale=2, num_blocks=1, num_features=32, growth_channels=16)"
COMPACT = "SRVGGNetCompact(scale=4, num_features=32, num_convs=6)"


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_grows_by_as_much_as_is_said():
    sizes = [(X4, 160, 400), (X4, 500, 300), (X2, 400, 600), (COMPACT, 160, 700), (COMPACT, 900, 500)]
    cases = [f"{network}, {height}, {width}" for network, height, width in sizes]
    first = f"{COMPACT}, 8, 8"  # what PyTorch takes once is not ours
    ended = subprocess.run([sys.executable, "-c", GROWTH, first, *cases], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    for case, line in zip(cases, ended.stdout.splitlines()[1:], strict=True):
        growth, said = map(int, line.split())
        assert 0.8 * growth < said < 1.25 * growth, (case, growth, said)


@needs_library
@pytest.mark.parametrize("network", [X4, X2, COMPACT])
def test_small_pictures_take_no_more_than_is_said(network):
    engine = WinogradEngine(eval(network, NETWORKS).eval(), CPU, "fp32")
    fold = engine.info.align_px
    for side in (16, 48, 80, 160):
        assert engine._picture_bytes(side // fold, side // fold) < 1.25 * engine.info.peak_bytes(side, side)


def test_the_largest_square_is_the_largest():
    info = EngineInfo(
        engine="fake",
        device=CPU,
        precision="fp32",
        scale=2,
        reach_px=1,
        align_px=1,
        bytes_per_pixel=300,
        bytes_per_column=140_000,
        flops_per_pixel=None,
    )
    for num_bytes in (10**6, 10**8, 10**10):
        side = info.largest_side(num_bytes)
        assert info.peak_bytes(side, side) <= num_bytes < info.peak_bytes(side + 1, side + 1)
