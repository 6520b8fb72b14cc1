"""Every family of networks in one table: a new one is a folder beside this and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from vidsr.models.compact.description import describe as describe_compact
from vidsr.models.compact.layouts import compact_shape, compact_state
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.graph import Graph
from vidsr.models.network import Network
from vidsr.models.rrdb.description import describe as describe_rrdb
from vidsr.models.rrdb.folded import faster_rrdb
from vidsr.models.rrdb.layouts import rrdb_shape, rrdb_state, with_own_names
from vidsr.models.rrdb.network import RRDBNet
from vidsr.models.span.description import describe as describe_span
from vidsr.models.span.layouts import span_shape, with_fused_branches
from vidsr.models.span.network import SPAN
from vidsr.models.state_dict import State, Weights, without_prefix


class Shape(Protocol):
    """What a network is built from."""

    @property
    def in_channels(self) -> int: ...

    @property
    def out_channels(self) -> int: ...

    def build(self) -> Network: ...


class Faster(Protocol):
    def __call__(self, network: Any, *, half: bool) -> nn.Module:
        """What gives the same as a network in fewer operations, on PyTorch.

        Args:
            half: whether it is to compute in half precision, where sums must not be rounded more often.
        """
        ...


def _has_own_names(state: State) -> State:
    return state


def _as_it_is(network: Any, *, half: bool) -> nn.Module:
    own: nn.Module = network
    return own


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture: how it is recognised, built, described and read.

    `describe` and `faster` take networks of this family.
    """

    network: type[Network]
    shape: Callable[[State], Shape | None]  # of tensors under the family's own names; None: of another family
    describe: Callable[[Any], Graph]  # the same as its `forward`, as operations
    with_own_names: Callable[[State], State] = _has_own_names  # of every layout that it was saved in
    faster: Faster = _as_it_is
    from_ncnn: Callable[[Weights], dict[str, Tensor] | None] | None = None  # the names of weights in their order

    @property
    def name(self) -> str:
        return self.network.__name__


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What was found in a state dict."""

    family: Family
    named: Mapping[str, Tensor]  # under the family's own names
    shape: Shape


FAMILIES: tuple[Family, ...] = (
    Family(
        network=RRDBNet,
        shape=rrdb_shape,
        describe=describe_rrdb,
        with_own_names=with_own_names,
        faster=faster_rrdb,
        from_ncnn=rrdb_state,
    ),
    Family(
        network=SRVGGNetCompact,
        shape=compact_shape,
        describe=describe_compact,
        from_ncnn=compact_state,
    ),
    Family(
        network=SPAN,
        shape=span_shape,
        describe=describe_span,
        with_own_names=with_fused_branches,
    ),
)


def recognise(state: State) -> Recognised | None:
    """The family that a state dict belongs to; None if to none."""
    state = without_prefix(state)
    for family in FAMILIES:
        named = family.with_own_names(state)
        shape = family.shape(named)
        if shape is not None:
            return Recognised(family=family, named=named, shape=shape)
    return None


def family_of(network: Network) -> Family | None:
    """None: it was loaded by another library."""
    return next((family for family in FAMILIES if family.network is type(network)), None)


def describe(network: Network) -> Graph | None:
    """A network as operations; None: it was loaded by another library."""
    family = family_of(network)
    return None if family is None else family.describe(network)


def faster(network: Network, *, half: bool) -> nn.Module:
    """See `Faster`; the network itself where its family has nothing faster."""
    family = family_of(network)
    return network if family is None else family.faster(network, half=half)
