"""The layouts that weights of SPAN are saved in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vidsr.models.span.network import SPAN
from vidsr.models.state_dict import State, indices

# While it is trained, a convolution is four: three in a row, and beside them one that looks at one pixel only.
_BRANCHES = tuple(f"{room}.{kind}" for room in ("conv.0", "conv.1", "conv.2", "sk") for kind in ("weight", "bias"))
# The one that they amount to; where they are there too, it may be older than they are.
_FUSED = ("eval_conv.weight", "eval_conv.bias")


@dataclass(frozen=True, kw_only=True)
class SPANShape:
    """What a SPAN is built from."""

    scale: int
    num_blocks: int
    num_features: int
    in_channels: int
    out_channels: int
    normalises: bool

    def build(self) -> SPAN:
        return SPAN(
            scale=self.scale,
            num_blocks=self.num_blocks,
            num_features=self.num_features,
            normalises=self.normalises,
        )


def span_shape(named: State) -> SPANShape | None:
    """What the network of these tensors is built from; None if it is none of this family."""
    rooms = ("conv_1", "block_1.c1_r", "block_1.c3_r", "conv_cat", "conv_2", "upsampler.0")
    if not {f"{room}.weight" for room in rooms} <= named.keys():
        return None
    first, last = named["conv_1.weight"], named["upsampler.0.weight"]
    blocks = indices(named, r"block_(\d+)\.c1_r\.weight$")
    if first.ndim != 4 or last.ndim != 4 or blocks != set(range(1, len(blocks) + 1)):
        return None
    channels = max(first.shape[1], 1)
    scale = math.isqrt(last.shape[0] // channels)
    if not scale or scale**2 * channels != last.shape[0]:
        return None
    return SPANShape(
        scale=scale,
        num_blocks=len(blocks),
        num_features=first.shape[0],
        in_channels=first.shape[1],
        out_channels=channels,
        normalises="no_norm" not in named,
    )


def with_fused_branches(state: State) -> dict[str, Tensor]:
    """The same network with one convolution for each that was trained as several; what does not fit stays as it is."""
    rooms = [key.removesuffix(".sk.weight") for key in state if key.endswith(".sk.weight")]
    fused = {room: found for room in rooms if (found := _fused(state, room)) is not None}
    replaced = {f"{room}.{part}" for room in fused for part in (*_BRANCHES, *_FUSED)}
    named = {key.replace(".eval_conv.", "."): tensor for key, tensor in state.items() if key not in replaced}
    for room, (weight, bias) in fused.items():
        named[f"{room}.weight"], named[f"{room}.bias"] = weight, bias
    if "no_norm" in named:
        named["no_norm"] = torch.zeros(1)  # that it is there is all it says
    return named


def _fused(state: State, room: str) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of the 3x3 convolution that branches amount to."""
    branches = [state.get(f"{room}.{branch}") for branch in _BRANCHES]
    parts = [branch.detach().double() for branch in branches if branch is not None]
    if len(parts) < len(_BRANCHES):
        return None
    first, first_bias, middle, middle_bias, last, last_bias, point, point_bias = parts
    grown, wide, count = first_bias.numel(), middle_bias.numel(), last_bias.numel()
    seen = point.numel() // max(count, 1)
    shapes = [(grown, seen, 1, 1), (grown,), (wide, grown, 3, 3), (wide,), (count, wide, 1, 1), (count,)]
    if [tuple(part.shape) for part in parts] != [*shapes, (count, seen, 1, 1), (count,)]:
        return None
    weight = torch.einsum("ow,wgyx,gi->oiyx", last[..., 0, 0], middle, first[..., 0, 0])
    weight[..., 1, 1] += point[..., 0, 0]
    # The picture is filled up before the first of them: what that adds reaches all taps of the second, at borders too.
    inner = torch.einsum("wgyx,g->w", middle, first_bias) + middle_bias
    return weight.float(), (last[..., 0, 0] @ inner + last_bias + point_bias).float()
