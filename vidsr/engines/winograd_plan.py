"""A graph as the kernels of native/ see it: pictures of padded channels, and convolutions from one to the other."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidsr.engines.winograd_layers import MAX_RESIDUALS, Layer, lower
from vidsr.engines.winograd_places import padded, place
from vidsr.models.graph import Graph

FLOATS = ctypes.POINTER(ctypes.c_float)


class PictureSpec(ctypes.Structure):
    """As native/winograd/network.h has it, like the next two."""

    _fields_ = (("num_channels", ctypes.c_int), ("doublings", ctypes.c_int), ("is_local", ctypes.c_int))


class LayerSpec(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("source", "more", "in_channels", "target", "target_channel")),
        *((name, ctypes.c_int) for name in ("out_channels", "doubles", "band", "num_residuals")),
        ("residuals", ctypes.c_int * MAX_RESIDUALS),
        ("residual_weights", ctypes.c_float * MAX_RESIDUALS),
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


@dataclass(kw_only=True)
class Plan:
    """What `plan_of` makes of a graph; `spec` is what the kernels take."""

    in_channels: int
    out_channels: int
    multiple_px: int  # that the sides of the input are filled up to
    fold: int  # side of the squares of its pixels that become channels
    shuffle: int
    adds_input: bool
    pictures: list[PictureSpec]
    layers: list[LayerSpec] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)  # what the layers point to

    def keep(self, tensor: Tensor) -> ctypes._Pointer[ctypes.c_float]:
        self.kept.append(tensor)
        return pointer(tensor)

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


def plan_of(graph: Graph, lanes: int) -> Plan:
    """The plan for registers of so many floats.

    Raises:
        NotLoweredError: the kernels cannot do all of it.
    """
    layers = lower(graph)
    places = place(layers, lanes)
    num_channels = {layer.value: layer.convolution.weight.shape[0] for layer in layers.layers}
    num_channels[layers.picture] = layers.layers[0].convolution.weight.shape[1]
    plan = Plan(
        in_channels=num_channels[layers.picture],
        out_channels=num_channels[layers.layers[-1].value] // layers.shuffle**2,
        multiple_px=graph.multiple_px,
        fold=layers.fold,
        shuffle=layers.shuffle,
        adds_input=layers.adds_input,
        pictures=[PictureSpec(p.num_channels, p.doublings, p.is_local) for p in places.pictures],
    )
    for layer, band, joined in zip(layers.layers, places.bands, places.joined, strict=True):
        source, _ = places.of[layer.parts[0]]
        target, target_channel = places.of[layer.value]
        weights, bias = _weights(layer, [num_channels[value] for value in layer.parts], lanes)
        added = LayerSpec(
            source=source,
            more=source if joined is None else joined,
            in_channels=weights.shape[1],
            target=target,
            target_channel=target_channel,
            out_channels=weights.shape[0],
            doubles=layer.doubles,
            band=band,
            num_residuals=len(layer.residuals),
            weights=plan.keep(weights),
            bias=plan.keep(bias),
        )
        for n, (value, weight) in enumerate(layer.residuals):
            added.residuals[n], added.residual_weights[n] = places.of[value][0], weight
        if layer.slopes is not None:
            slopes = torch.ones_like(bias)
            slopes[: num_channels[layer.value]] = layer.slopes
            added.slopes = plan.keep(slopes)
        plan.layers.append(added)
    return plan


def _weights(layer: Layer, parts: Sequence[int], lanes: int) -> tuple[Tensor, Tensor]:
    """Weights and bias with zeros for the channels that fill up each of the parts, and the result."""
    weight, bias = layer.convolution.weight, layer.convolution.bias
    in_channels = sum(padded(part, lanes) for part in parts[:-1]) + parts[-1]  # of the last no more than there are
    size = (padded(len(bias), lanes), in_channels, 3, 3)
    weights = torch.zeros(size, dtype=torch.float32, device="cpu")
    begin = at = 0
    for part in parts:
        weights[: len(bias), at : at + part] = weight[:, begin : begin + part].double() * layer.weight
        begin, at = begin + part, at + padded(part, lanes)
    biases = torch.zeros(size[0], dtype=torch.float32, device="cpu")
    biases[: len(bias)] = bias.double() * layer.weight
    return weights, biases
