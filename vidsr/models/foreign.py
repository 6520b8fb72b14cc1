"""Networks of other architectures, loaded by the optional package spandrel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vidsr.errors import WeightsError
from vidsr.models.network import Network

# Spandrel does not tell how far a network sees. Convolutional ones of this field fade out well within 64.
_REACH_PX_GUESSED = 64


class ForeignNetwork(Network):
    """A spandrel model with the properties of our own networks.

    Input: float NCHW, RGB in [0, 1], any size. Output: the same, `scale` times as large, in [0, 1].
    """

    flops_per_input_pixel: None = None  # not known

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.inner: nn.Module = descriptor.model
        # In a tuple, for a descriptor is no Module; it holds the same module as `inner` and so moves with it.
        self._descriptor = (descriptor,)
        self.architecture = str(descriptor.architecture.name)
        self.supports_half = bool(descriptor.supports_half)

    @property
    def scale(self) -> int:
        return int(self._descriptor[0].scale)

    @property
    def align_px(self) -> int:
        return int(self._descriptor[0].size_requirements.multiple_of)

    @property
    def reach_px(self) -> int:
        """A guess, not a bound: windowed and global attention can see further."""
        return _REACH_PX_GUESSED

    @property
    def peak_samples(self) -> int:
        """A guess: what an RRDBNet takes, the largest of our own."""
        return 4 * self.largest_samples

    @property
    def largest_samples(self) -> int:
        """A guess, too."""
        return 64 * self.scale**2

    def forward(self, x: Tensor) -> Tensor:
        # One picture at a time is what the descriptor promises to handle.
        return torch.cat([self._descriptor[0](x[i : i + 1]) for i in range(x.shape[0])])


def load_foreign(state: Mapping[str, Tensor]) -> ForeignNetwork | None:
    """The network that spandrel makes of a state dict; None where spandrel is not installed.

    Raises:
        WeightsError: spandrel does not load, does not know the network, or the network is for other pictures.
    """
    try:
        import spandrel
    except ModuleNotFoundError as error:
        if error.name == "spandrel":
            return None
        raise WeightsError(f"spandrel is installed but does not load: {error}") from error
    except (ImportError, RuntimeError) as error:
        # torchvision raises RuntimeError where it was built for another torch.
        raise WeightsError(f"spandrel is installed but does not load: {error}") from error
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except Exception as error:
        # Any of its forty architectures may stumble over a damaged file in its own way, some for pages.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(f"spandrel cannot load this network either: {reason}") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise WeightsError(f"a {descriptor.architecture.name} network needs more than a picture as its input")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise WeightsError(
            f"this {descriptor.architecture.name} network takes {descriptor.input_channels} channels and "
            f"gives {descriptor.output_channels}; a network from RGB to RGB was expected"
        )
    return ForeignNetwork(descriptor)
