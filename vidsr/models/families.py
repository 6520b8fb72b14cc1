"""The parameter names that networks were saved under, and what a network's shapes say about it."""

from __future__ import annotations

from torch import Tensor

from vidsr.models.compact.layouts import CompactShape, compact_shape
from vidsr.models.rrdb.layouts import RENAMED, TRUNK_KEY, RRDBShape, from_flat, rrdb_shape
from vidsr.models.state_dict import State, without_prefix


def canonical_names(state: State) -> dict[str, Tensor]:
    """The same tensors under BasicSR's names; names that no known layout has stay as they are."""
    state = without_prefix(state)
    if "model.0.weight" in state:
        return from_flat(state)
    named = {}
    for key, tensor in state.items():
        if match := TRUNK_KEY.match(key):
            block, dense, conv, kind = match.groups()
            key = f"body.{block}.rdb{dense}.conv{conv}.{kind}"
        else:
            room, dot, rest = key.partition(".")
            key = RENAMED.get(room, room) + dot + rest
        named[key] = tensor
    return named


def shape_of(named: State) -> RRDBShape | CompactShape | None:
    """The network that a state dict with BasicSR's names belongs to; None if it is neither of the two."""
    if {"conv_first.weight", "conv_last.weight", "body.0.rdb1.conv1.weight"} <= named.keys():
        return rrdb_shape(named)
    if named.get("body.0.weight") is not None and named.get("body.1.weight") is not None:
        return compact_shape(named)
    return None
