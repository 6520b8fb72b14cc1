"""Small random networks and pictures for the tests of the networks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet


@pytest.fixture
def make_rrdb() -> Callable[..., RRDBNet]:
    def make(scale: int = 4, **changes: Any) -> RRDBNet:
        sizes: dict[str, Any] = {"num_blocks": 2, "num_features": 8, "growth_channels": 4} | changes
        torch.manual_seed(scale)
        return RRDBNet(scale=scale, **sizes).eval().requires_grad_(False)

    return make


@pytest.fixture
def make_compact() -> Callable[..., SRVGGNetCompact]:
    def make(scale: int = 4, num_convs: int = 3, num_features: int = 8, seed: int = 0) -> SRVGGNetCompact:
        torch.manual_seed(seed)
        network = SRVGGNetCompact(scale=scale, num_convs=num_convs, num_features=num_features)
        for parameter in network.parameters():  # PReLU starts as 0.25 everywhere, which hides mistakes
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
        return network.eval().requires_grad_(False)

    return make


@pytest.fixture
def make_picture() -> Callable[..., Tensor]:
    """RGB in [0, 1]: slow waves with some grain on them."""

    def make(height: int, width: int, batch: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(height * 1000 + width)
        y = torch.linspace(0, 7, height).view(1, 1, height, 1)
        x = torch.linspace(0, 5, width).view(1, 1, 1, width)
        phase = torch.arange(3.0).view(1, 3, 1, 1) + torch.arange(float(batch)).view(batch, 1, 1, 1) * 0.7
        waves = 0.5 + 0.35 * torch.sin(y + phase) * torch.cos(x * (1 + phase))
        return (waves + 0.05 * torch.randn(waves.shape, generator=generator)).clamp(0, 1)

    return make


@pytest.fixture
def write_ncnn_pair() -> Callable[..., tuple[Path, Path]]:
    return _write_ncnn_pair


def _write_ncnn_pair(folder: Path, state: Mapping[str, Tensor], *, fp16: bool = False) -> tuple[Path, Path]:
    """An ncnn pair of a state dict in execution order, laid out as ncnn's converters do."""
    lines, blob = ["Input data 0 1 data"], b""
    for key, tensor in state.items():
        room, _, kind = key.rpartition(".")
        values = tensor.numpy().astype("<f4")
        if kind == "bias":
            blob += values.tobytes()
        elif tensor.ndim == 1:
            lines.append(f"PReLU {room} 1 1 a b 0={len(values)}")
            blob += values.tobytes()
        else:
            lines.append(f"Convolution {room} 1 1 a b 0={values.shape[0]} 1=3 4=1 5=1 6={values.size}")
            if not room.startswith("body.") and room.startswith(("conv_up", "conv_hr")):
                lines[-1] += " 9=2 -23310=1,2.000000e-01"
            data = values.astype("<f2" if fp16 else "<f4").tobytes()
            blob += (struct.pack("<I", 0x01306B47) if fp16 else bytes(4)) + data + bytes(-len(data) % 4)
    param, binary = folder / "net.param", folder / "net.bin"
    param.write_text("\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""]))
    binary.write_bytes(blob)
    return param, binary
