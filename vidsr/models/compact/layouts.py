"""The layouts that weights of SRVGGNetCompact are saved in."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.state_dict import State, Weights, indices


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


def compact_shape(named: State) -> CompactShape | None:
    """What the network of these tensors is built from; None if it is none of this family."""
    if not {"body.0.weight", "body.1.weight"} <= named.keys():
        return None
    layers = indices(named, r"body\.(\d+)\.weight$")
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


def compact_state(weights: Weights) -> dict[str, Tensor] | None:
    """The names of weights in the order in which they are used; None if there are no slopes among them."""
    if all(weight.ndim > 1 for weight, _ in weights):
        return None
    state = {}
    for i, (weight, bias) in enumerate(weights):
        state[f"body.{i}.weight"] = weight
        if bias is not None:
            state[f"body.{i}.bias"] = bias
    return state
