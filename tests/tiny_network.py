"""A network so small that tests can run it, always with the same weights."""

from __future__ import annotations

from pathlib import Path

import torch

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import save_safetensors


def make_network() -> SRVGGNetCompact:
    torch.manual_seed(0)
    return SRVGGNetCompact(scale=2, num_features=4, num_convs=1).eval().requires_grad_(False)


def write_checkpoint(folder: Path) -> str:
    """The path of its weights as a file."""
    path = folder / "tiny.safetensors"
    save_safetensors(make_network(), path)
    return str(path)
