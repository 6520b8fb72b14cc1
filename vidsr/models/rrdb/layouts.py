"""The layouts that weights of RRDBNet are saved in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from torch import Tensor

from vidsr.models.rrdb.network import RRDBNet, Upsampler
from vidsr.models.state_dict import State, Weights, indices

_CONVS_PER_BLOCK = 15

# ESRGAN's second layout, name for name.
_RENAMED = {"trunk_conv": "conv_body", "HRconv": "conv_hr"} | {f"upconv{n}": f"conv_up{n}" for n in (1, 2, 3)}
_TRUNK_KEY = re.compile(r"(?:RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)([123])\.conv([1-5])\.(weight|bias)$")
# ESRGAN's first layout: one flat Sequential, with the body as the shortcut `model.1.sub`.
_FLAT_BLOCK_KEY = re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)$")
_FLAT_BODY_KEY = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)$")
_FLAT_KEY = re.compile(r"model\.(\d+)\.(weight|bias)$")


@dataclass(frozen=True, kw_only=True)
class RRDBShape:
    """What an RRDBNet is built from."""

    scale: int
    num_blocks: int
    num_features: int
    growth_channels: int
    in_channels: int
    out_channels: int
    upsampler: Upsampler
    fold: int

    def build(self) -> RRDBNet:
        return RRDBNet(**asdict(self))


def with_own_names(state: State) -> State:
    """The same tensors under BasicSR's names; names that no known layout has stay as they are."""
    if "model.0.weight" in state:
        return _from_flat(state)
    named = {}
    for key, tensor in state.items():
        if match := _TRUNK_KEY.match(key):
            block, dense, conv, kind = match.groups()
            key = f"body.{block}.rdb{dense}.conv{conv}.{kind}"
        else:
            room, dot, rest = key.partition(".")
            key = _RENAMED.get(room, room) + dot + rest
        named[key] = tensor
    return named


def _from_flat(state: State) -> dict[str, Tensor]:
    after_body = sorted({int(m[1]) for key in state if (m := _FLAT_KEY.match(key)) and int(m[1]) > 1})
    num_doublings = len(after_body) - 2
    names = {0: "conv_first"}
    for i, number in enumerate(after_body):
        if i < num_doublings:
            first, doubling = state["model.0.weight"], state.get(f"model.{number}.weight")
            shuffles = doubling is not None and doubling.shape[0] > first.shape[0]
            names[number] = f"upsampler.{3 * i}" if shuffles else f"conv_up{i + 1}"
        else:
            names[number] = "conv_hr" if i == num_doublings else "conv_last"
    named = {}
    for key, tensor in state.items():
        if match := _FLAT_BLOCK_KEY.match(key):
            block, dense, conv, kind = match.groups()
            key = f"body.{block}.rdb{dense}.conv{conv}.{kind}"
        elif match := _FLAT_BODY_KEY.match(key):
            key = f"conv_body.{match[1]}"
        elif (match := _FLAT_KEY.match(key)) and int(match[1]) in names:
            key = f"{names[int(match[1])]}.{match[2]}"
        named[key] = tensor
    return named


def rrdb_shape(named: State) -> RRDBShape | None:
    """What the network of these tensors is built from; None if it is none of this family."""
    if not {"conv_first.weight", "conv_last.weight", "body.0.rdb1.conv1.weight"} <= named.keys():
        return None
    first, last = named["conv_first.weight"], named["conv_last.weight"]
    growing = named["body.0.rdb1.conv1.weight"]
    shuffling = indices(named, r"upsampler\.(\d+)\.weight$")
    doublings = shuffling or indices(named, r"conv_up(\d+)\.weight$")
    # Shuffles that stand two apart have no activation between them: another network, another picture.
    regular = {3 * i for i in range(len(shuffling))} if shuffling else set(range(1, len(doublings) + 1))
    if any(tensor.ndim != 4 for tensor in (first, last, growing)) or doublings != regular:
        return None
    # Folding by f turns c channels of the picture into c * f * f.
    fold = {1: 1, 4: 2, 16: 4}.get(first.shape[1] // max(last.shape[0], 1))
    scale = 2 ** len(doublings) // fold if fold else 0
    if not fold or scale not in (1, 2, 4, 8):
        return None
    return RRDBShape(
        scale=scale,
        num_blocks=len(indices(named, r"body\.(\d+)\.rdb")),
        num_features=first.shape[0],
        growth_channels=growing.shape[0],
        in_channels=first.shape[1] // fold**2,
        out_channels=last.shape[0],
        upsampler="pixelshuffle" if shuffling else "nearest+conv",
        fold=fold,
    )


def rrdb_state(weights: Weights) -> dict[str, Tensor] | None:
    """The names of weights in the order in which they are used; None if no RRDBNet has them in that order."""
    shapes = [tuple(weight.shape) for weight, _ in weights]
    num_features = shapes[0][0] if shapes else 0
    num_blocks = 0
    # A block's second convolution sees more than `num_features` channels; what follows the body does not.
    while shapes[num_blocks * _CONVS_PER_BLOCK + 2 :] and (shapes[num_blocks * _CONVS_PER_BLOCK + 2][1] > num_features):
        num_blocks += 1
    num_doublings = len(shapes) - 4 - num_blocks * _CONVS_PER_BLOCK
    if num_doublings < 0 or not num_blocks:
        return None
    state = {}
    shuffles = num_doublings > 0 and shapes[-3][0] > num_features
    for name, (weight, bias) in zip(_rrdb_names(num_blocks, num_doublings, shuffles), weights, strict=True):
        state[f"{name}.weight"] = weight
        if bias is not None:
            state[f"{name}.bias"] = bias
    return state


def _rrdb_names(num_blocks: int, num_doublings: int, shuffles: bool) -> Iterator[str]:
    yield "conv_first"
    for block in range(num_blocks):
        for dense in (1, 2, 3):
            for conv in (1, 2, 3, 4, 5):
                yield f"body.{block}.rdb{dense}.conv{conv}"
    yield "conv_body"
    for i in range(num_doublings):
        yield f"upsampler.{3 * i}" if shuffles else f"conv_up{i + 1}"
    yield from ("conv_hr", "conv_last")
