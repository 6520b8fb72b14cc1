"""A network as the kernels of native/ see it: pictures of padded channels, and convolutions from one to the other."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import NEGATIVE_SLOPE, RESIDUAL_WEIGHT, RRDB, RRDBNet

FLOATS = ctypes.POINTER(ctypes.c_float)
_MAX_RESIDUALS = 2


class PictureSpec(ctypes.Structure):
    """As native/winograd/network.h has it, like the next two."""

    _fields_ = (("num_channels", ctypes.c_int), ("doublings", ctypes.c_int), ("is_local", ctypes.c_int))


class LayerSpec(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("source", "more", "in_channels", "target", "target_channel")),
        *((name, ctypes.c_int) for name in ("out_channels", "doubles", "band", "num_residuals")),
        ("residuals", ctypes.c_int * _MAX_RESIDUALS),
        ("residual_weights", ctypes.c_float * _MAX_RESIDUALS),
        ("weights", FLOATS),
        ("bias", FLOATS),
        ("slopes", FLOATS),
    )


class NetworkSpec(ctypes.Structure):
    _fields_ = (
        ("pictures", ctypes.POINTER(PictureSpec)),
        ("layers", ctypes.POINTER(LayerSpec)),
        *((name, ctypes.c_int) for name in ("num_pictures", "num_layers", "in_channels", "out_channels")),
        *((name, ctypes.c_int) for name in ("shuffle", "adds_input", "band_tiles")),
    )


def pointer(tensor: Tensor) -> ctypes._Pointer[ctypes.c_float]:
    if tensor.device.type != "cpu" or tensor.dtype != torch.float32 or not tensor.is_contiguous():
        raise ValueError(f"got {tensor.dtype} on {tensor.device}; the kernels take contiguous float32 on the CPU")
    return ctypes.cast(tensor.data_ptr(), FLOATS)


@dataclass
class Plan:
    """What `plan_of` makes of a network, for channels in multiples of the lanes; `spec` is what the kernels take."""

    lanes: int
    in_channels: int
    out_channels: int = 3
    shuffle: int = 1
    adds_input: bool = False
    pictures: list[PictureSpec] = field(default_factory=list)
    layers: list[LayerSpec] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)  # what the layers point to

    def __post_init__(self) -> None:
        self.picture(self.in_channels)

    def padded(self, num_channels: int) -> int:
        return -(-num_channels // self.lanes) * self.lanes

    def picture(self, num_channels: int, *, doublings: int = 0, is_local: bool = False) -> int:
        self.pictures.append(PictureSpec(self.padded(num_channels), doublings, is_local))
        return len(self.pictures) - 1

    def conv(
        self,
        conv: nn.Conv2d,
        source: int,
        target: int,
        *,
        band: int,
        slopes: Tensor | None = None,
        parts: tuple[int, ...] | None = None,
        more: int | None = None,
        target_channel: int = 0,
        weight: float = 1.0,
        residuals: tuple[tuple[int, float], ...] = (),
    ) -> None:
        """Adds a convolution.

        Args:
            parts: channels of each of the tensors that the input is a concatenation of: the first is the source,
                the others follow each other in `more`.
            weight: of the result, before the residuals (picture, weight) are added.
        """
        assert slopes is None or weight == 1.0
        parts = parts or (conv.in_channels,)
        out_channels = self.padded(conv.out_channels)
        in_channels = sum(map(self.padded, parts[:-1])) + parts[-1]  # of the last no more than there are
        weights = torch.zeros((out_channels, in_channels, 3, 3), dtype=torch.float32, device="cpu")
        begin = at = 0
        for part in parts:
            weights[: conv.out_channels, at : at + part] = conv.weight[:, begin : begin + part].double() * weight
            begin, at = begin + part, at + self.padded(part)
        bias = torch.zeros(out_channels, dtype=torch.float32, device="cpu")
        assert conv.bias is not None
        bias[: conv.out_channels] = conv.bias.double() * weight
        layer = LayerSpec(
            source=source,
            more=source if more is None else more,
            in_channels=in_channels,
            target=target,
            target_channel=target_channel,
            out_channels=out_channels,
            doubles=self.pictures[target].doublings > self.pictures[source].doublings,
            band=band,
            num_residuals=len(residuals),
            weights=pointer(weights),
            bias=pointer(bias),
        )
        for n, (picture, residual_weight) in enumerate(residuals):
            layer.residuals[n], layer.residual_weights[n] = picture, residual_weight
        self.kept += [weights, bias]
        if slopes is not None:
            padded_slopes = torch.ones(out_channels, dtype=torch.float32, device="cpu")
            padded_slopes[: conv.out_channels] = slopes
            layer.slopes = pointer(padded_slopes)
            self.kept.append(padded_slopes)
        self.layers.append(layer)

    def spec(self, band_tiles: int) -> NetworkSpec:
        return NetworkSpec(
            pictures=(PictureSpec * len(self.pictures))(*self.pictures),
            layers=(LayerSpec * len(self.layers))(*self.layers),
            num_pictures=len(self.pictures),
            num_layers=len(self.layers),
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            shuffle=self.shuffle,
            adds_input=self.adds_input,
            band_tiles=band_tiles,
        )


def plan_of(network: RRDBNet | SRVGGNetCompact, lanes: int) -> Plan:
    return _plan_of_rrdb(network, lanes) if isinstance(network, RRDBNet) else _plan_of_compact(network, lanes)


def _plan_of_compact(network: SRVGGNetCompact, lanes: int) -> Plan:
    convs = [module for module in network.body if isinstance(module, nn.Conv2d)]
    activations = [module for module in network.body if isinstance(module, nn.PReLU)]
    channels = convs[0].in_channels
    plan = Plan(lanes, channels, channels, shuffle=network.scale, adds_input=True)
    at = 0
    for conv, activation in zip(convs[:-1], activations, strict=True):
        target = plan.picture(conv.out_channels, is_local=True)
        plan.conv(conv, at, target, band=0, slopes=activation.weight)
        at = target
    plan.conv(convs[-1], at, plan.picture(convs[-1].out_channels, is_local=True), band=0)
    return plan


def _plan_of_rrdb(network: RRDBNet, lanes: int) -> Plan:
    first, num_features = network.conv_first, network.conv_first.out_channels
    plan = Plan(lanes, first.in_channels, network.conv_last.out_channels)
    leaky = torch.tensor(NEGATIVE_SLOPE, dtype=torch.float32, device="cpu")
    features = plan.picture(num_features)
    plan.conv(first, 0, features, band=0)
    inner = [plan.picture(num_features) for _ in range(3)]
    growth_channels = next((b.rdb1.conv1.out_channels for b in network.body if isinstance(b, RRDB)), 0)
    growth = plan.picture(4 * plan.padded(growth_channels), is_local=True)
    band, at = 0, features
    for block in network.body:
        assert isinstance(block, RRDB)
        source = at
        for index, dense in enumerate((block.rdb1, block.rdb2, block.rdb3)):
            band += 1
            parts: tuple[int, ...] = (num_features,)
            for k, conv in enumerate((dense.conv1, dense.conv2, dense.conv3, dense.conv4)):
                channel = k * plan.padded(growth_channels)
                plan.conv(
                    conv, source, growth, band=band, slopes=leaky, parts=parts, more=growth, target_channel=channel
                )
                parts = (*parts, growth_channels)
            # The last dense block's residual lies inside that of the whole block.
            is_last = index == 2
            weight = RESIDUAL_WEIGHT**2 if is_last else RESIDUAL_WEIGHT
            residuals = ((source, RESIDUAL_WEIGHT), (at, 1.0)) if is_last else ((source, 1.0),)
            target = inner[index]
            plan.conv(
                dense.conv5, source, target, band=band, parts=parts, more=growth, weight=weight, residuals=residuals
            )
            source = target
        at = source
    band += 1
    target = plan.picture(num_features, is_local=True)
    plan.conv(network.conv_body, at, target, band=band, residuals=((features, 1.0),))
    at, doublings = target, 0
    for conv in network.upsampling_convs:
        doublings += 1
        target = plan.picture(num_features, doublings=doublings, is_local=True)
        plan.conv(conv, at, target, band=band, slopes=leaky)
        at = target
    target = plan.picture(num_features, doublings=doublings, is_local=True)
    plan.conv(network.conv_hr, at, target, band=band, slopes=leaky)
    at = target
    plan.conv(network.conv_last, at, plan.picture(plan.out_channels, doublings=doublings, is_local=True), band=band)
    return plan
