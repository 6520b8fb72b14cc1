"""A process that opened and closed OpenVINO's engines takes signals as before."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from vidsr.engines.openvino import why_absent

# In a process of its own: the failure is a segmentation fault, at the signal.
SCRIPT = """
import signal, sys, threading
import torch
from vidsr.engines.openvino import OpenVinoEngine
from vidsr.models.compact.network import SRVGGNetCompact

def opened():
    network = SRVGGNetCompact(scale=4, num_features=8, num_convs=1).eval().requires_grad_(False)
    engine = OpenVinoEngine(network, torch.device("cpu"), "fp32")
    engine.run(torch.rand(1, 3, 8, 8))
    return engine

def interrupted():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return
    sys.exit("no interrupt")

def in_a_thread(action):
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()

signal.signal(signal.SIGINT, signal.default_int_handler)
engines = [opened(), opened()]
interrupted()
while engines:
    {close}
interrupted()
engines = [opened()]
interrupted()
"""
CLOSINGS = {
    "in the order they were opened": "del engines[0]",
    "by another thread": "in_a_thread(engines.pop)",
}


@pytest.mark.skipif(why_absent() is not None, reason=f"OpenVINO is not here: {why_absent()}")
@pytest.mark.parametrize("close", CLOSINGS.values(), ids=CLOSINGS)
def test_an_interrupt_after_engines_were_closed(close):
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{close}", close)], capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, f"{_ending(finished.returncode)}: {finished.stderr}"


def _ending(code):
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
