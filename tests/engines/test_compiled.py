"""The compiled engine on the CPU, where it is not offered: whether what it compiles to is right at any size."""

from __future__ import annotations

import shutil

import pytest
import torch

from vidsr.engines.compiled import CompiledEngine, why_absent
from vidsr.models.rrdb.network import RRDBNet


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of torch, at its own doing
def test_one_compilation_serves_all_sizes():
    torch.manual_seed(0)
    network = RRDBNet(scale=4, num_blocks=1, num_features=8, growth_channels=4).eval().requires_grad_(False)
    engine = CompiledEngine(network, torch.device("cpu"), "fp32")
    for shape in ((2, 3, 17, 13), (3, 3, 12, 33), (1, 3, 9, 30)):
        x = torch.rand(shape)
        with torch.inference_mode():
            torch.testing.assert_close(engine.run(x), network(x), rtol=0, atol=1e-5)


def test_absence_is_told():
    if not torch.cuda.is_available():
        assert "sees no CUDA device" in (why_absent() or "")
