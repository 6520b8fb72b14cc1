"""State dicts as others save them: the same networks under other names, or in more parts."""

from __future__ import annotations

import re

import torch


def to_trunk_names(state):
    """ESRGAN's second layout."""
    renamed = {}
    for key, tensor in state.items():
        key = re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", key)
        key = key.replace("conv_body", "trunk_conv").replace("conv_up", "upconv").replace("conv_hr", "HRconv")
        renamed[key] = tensor
    return renamed


def to_flat_names(state, num_blocks, num_doublings, *, shuffles=False):
    """ESRGAN's first layout: a doubling is resize, conv, act or conv, shuffle, act; then conv, act, conv."""
    after = 2 + 3 * num_doublings
    numbers = {"conv_first": 0, "conv_hr": after, "conv_last": after + 2}
    for i in range(num_doublings):
        numbers |= {f"upsampler.{3 * i}": 2 + 3 * i} if shuffles else {f"conv_up{i + 1}": 3 + 3 * i}
    renamed = {}
    for key, tensor in state.items():
        room, _, kind = key.rpartition(".")
        if room == "conv_body":
            room = f"model.1.sub.{num_blocks}"
        elif room in numbers:
            room = f"model.{numbers[room]}"
        else:
            room = re.sub(r"^body\.(\d+)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", room)
        renamed[f"{room}.{kind}"] = tensor
    return renamed


_TRAINED_IN_BRANCHES = re.compile(r"(conv_[12]|block_\d+\.c[123]_r)\.(weight|bias)$")


def to_fused_names(state):
    """SPAN with each convolution of several branches as the one that it amounts to."""
    return {_TRAINED_IN_BRANCHES.sub(r"\1.eval_conv.\2", key): tensor for key, tensor in state.items()}


def to_branches(state):
    """SPAN as it is trained, with a fused convolution that is out of date."""
    branched = {}
    for key, tensor in state.items():
        match = _TRAINED_IN_BRANCHES.match(key)
        if match is None:
            branched[key] = tensor
        elif match[2] == "weight":
            count, seen = tensor.shape[:2]
            point = torch.linspace(-1, 1, count * seen).view(count, seen)
            middle = tensor.clone()
            middle[:, :, 1, 1] -= point
            branched |= {
                f"{match[1]}.sk.weight": point[:, :, None, None],
                f"{match[1]}.conv.0.weight": 2 * torch.eye(seen)[:, :, None, None],
                f"{match[1]}.conv.1.weight": middle,
                f"{match[1]}.conv.2.weight": torch.eye(count)[:, :, None, None] / 2,
                f"{match[1]}.eval_conv.weight": torch.zeros_like(tensor),
            }
        else:
            # Of what the first adds, the second makes its weights' sums.
            seen = state[f"{match[1]}.weight"].shape[1]
            middle = branched[f"{match[1]}.conv.1.weight"]
            branched |= {
                f"{match[1]}.sk.bias": torch.full_like(tensor, 0.25),
                f"{match[1]}.conv.0.bias": torch.full((seen,), 0.5),
                f"{match[1]}.conv.1.bias": -0.5 * middle.sum((1, 2, 3)),
                f"{match[1]}.conv.2.bias": tensor - 0.25,
                f"{match[1]}.eval_conv.bias": torch.zeros_like(tensor),
            }
    return branched
