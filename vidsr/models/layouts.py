"""The parameter names that networks were saved under, and what a network's shapes say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import Tensor

from vidsr.models.compact import SRVGGNetCompact
from vidsr.models.rrdb import RRDBNet, Upsampler

State = Mapping[str, Tensor]

_PREFIXES = ("module.", "netG.")
# ESRGAN's second layout, name for name.
_RENAMED = {"trunk_conv": "conv_body", "HRconv": "conv_hr", "upconv1": "conv_up1", "upconv2": "conv_up2"}
_RENAMED["upconv3"] = "conv_up3"
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


@dataclass(frozen=True, kw_only=True)
class CompactShape:
    """What an SRVGGNetCompact is built from."""

    scale: int
    num_features: int
    num_convs: int
    channels: int

    @property
    def in_channels(self) -> int:
        return self.channels

    @property
    def out_channels(self) -> int:
        return self.channels

    def build(self) -> SRVGGNetCompact:
        return SRVGGNetCompact(**asdict(self))


def canonical_names(state: State) -> dict[str, Tensor]:
    """The same tensors under BasicSR's names; names that no known layout has stay as they are."""
    state = without_prefix(state)
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


def without_prefix(state: State) -> State:
    """The state without what DataParallel and training frameworks put before every name."""
    while True:
        for prefix in _PREFIXES:
            picked = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if picked:
                state = picked
                break
        else:
            return state


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


def shape_of(named: State) -> RRDBShape | CompactShape | None:
    """The network that a state dict with BasicSR's names belongs to; None if it is neither of the two."""
    if {"conv_first.weight", "conv_last.weight", "body.0.rdb1.conv1.weight"} <= named.keys():
        return _rrdb_shape(named)
    if named.get("body.0.weight") is not None and named.get("body.1.weight") is not None:
        return _compact_shape(named)
    return None


def _indices(named: State, pattern: str) -> set[int]:
    return {int(m[1]) for key in named if (m := re.match(pattern, key))}


def _rrdb_shape(named: State) -> RRDBShape | None:
    first, last = named["conv_first.weight"], named["conv_last.weight"]
    growing = named["body.0.rdb1.conv1.weight"]
    shuffling = _indices(named, r"upsampler\.(\d+)\.weight$")
    doublings = shuffling or _indices(named, r"conv_up(\d+)\.weight$")
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
        num_blocks=len(_indices(named, r"body\.(\d+)\.rdb")),
        num_features=first.shape[0],
        growth_channels=growing.shape[0],
        in_channels=first.shape[1] // fold**2,
        out_channels=last.shape[0],
        upsampler="pixelshuffle" if shuffling else "nearest+conv",
        fold=fold,
    )


def _compact_shape(named: State) -> CompactShape | None:
    layers = _indices(named, r"body\.(\d+)\.weight$")
    first, slopes, last = (named.get(f"body.{i}.weight") for i in (0, 1, max(layers)))
    # Without slopes the activations could be any: such a network cannot be told from its weights.
    if first is None or slopes is None or last is None or slopes.ndim != 1:
        return None
    if first.ndim != 4 or last.ndim != 4 or layers != set(range(len(layers))) or len(layers) % 2 == 0:
        return None
    channels = first.shape[1]
    scale = round((last.shape[0] / max(channels, 1)) ** 0.5)
    return CompactShape(
        scale=max(scale, 1),
        num_features=first.shape[0],
        num_convs=(len(layers) - 1) // 2 - 1,
        channels=channels,
    )
