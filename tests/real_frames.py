"""Pieces of real pictures, and the networks whose weights are on this machine."""

from __future__ import annotations

import functools
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from vidsr.models.catalogue import find_model
from vidsr.models.loading import load_network
from vidsr.models.network import Network
from vidsr.models.weights_store import locate

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "clip.mp4"


@functools.cache
def piece(path: Path, height: int, width: int) -> Tensor:
    """float32 (1, 3, height, width): the middle of a video's first frame."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    part = torch.from_numpy(picture[top : top + height, left : left + width].copy())
    return part.permute(2, 0, 1)[None].float().contiguous() / 255


@functools.cache
def network_of(model: str) -> Network:
    """A network of the catalogue; without its weights the test that asks is skipped."""
    weights = locate(find_model(model))
    if weights is None:
        pytest.skip(f"the weights of {model} are not on this machine")
    return load_network(weights.path)
