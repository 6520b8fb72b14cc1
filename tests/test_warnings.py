"""Warnings are errors; the two that are let be are torch's own and say nothing of what is wrong here."""

from __future__ import annotations

import warnings

import pytest

# As torch words them; of the first, what follows differs from convolution to convolution.
CUDNN_PLAN = (
    "Plan failed with a cudnnException: CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR: cudnnFinalize Descriptor Failed "
    "cudnn_status: CUDNN_STATUS_NOT_SUPPORTED (Triggered internally at ../aten/src/ATen/native/cudnn/Conv_v8.cpp:919.)"
)
PROFILER = (
    "Warning: Profiler clears events at the end of each cycle.Only events from the current cycle will be reported."
    "To keep events across cycles, set acc_events=True."
)
EMPTY_GRAPH = (
    "The CUDA Graph is empty. This usually means that the graph was attempted to be captured on wrong device or stream."
)


@pytest.mark.parametrize("text", [CUDNN_PLAN, PROFILER], ids=["cuDNN's plan", "profiler"])
def test_is_let_be(text):
    warnings.warn(text, UserWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        (EMPTY_GRAPH, UserWarning),
        (CUDNN_PLAN, RuntimeWarning),
        (PROFILER, DeprecationWarning),
        ("Plan failed", UserWarning),
        (f"Here: {CUDNN_PLAN}", UserWarning),
        ("Warning: Profiler is off", UserWarning),
    ],
)
def test_is_an_error(text, category):
    with pytest.raises(category):
        warnings.warn(text, category, stacklevel=1)
