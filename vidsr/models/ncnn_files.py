"""Reads a network's weights from an ncnn `.param` and `.bin` pair, without ncnn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidsr.errors import WeightsError, WeightsMissingError
from vidsr.models.families import FAMILIES

_MAGIC = "7767517"
# The largest known network that is read needs 130 kB of text; a file far beyond it is none.
_MAX_PARAM_BYTES = 8 << 20
_TAG_FP16, _TAG_INT8, _TAGS_FP32 = 0x01306B47, 0x000D4B38, (0, 0x0002C056)
_SLOPE = 0.2
_READ = [family for family in FAMILIES if family.from_ncnn is not None]
_NAMES = " and ".join(family.name for family in _READ)
# Layers without weights that these are exported with.
_PLAIN_LAYERS = {
    *("Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle", "ReLU", "Noop"),
}

Numbers = dict[int, list[float]]  # a layer's parameters: key to one or more values


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    path: Path
    numbers: Numbers

    @property
    def place(self) -> str:
        return f"layer {self.name} of {self.path}"

    def integer(self, key: int, default: int) -> int:
        value = self.numbers.get(key, [default])[0]
        if value != int(value):
            raise WeightsError(f"{self.place}: parameter {key} is {value}; a whole number was expected")
        return int(value)


def read_ncnn(param_path: Path, bin_path: Path) -> dict[str, Tensor]:
    """A state dict with its family's own names, fp32, from the order of the layers.

    A resize after the network's last layer (as in the 2x and 3x files of animevideov3) is left out.

    Raises:
        WeightsError: a file is missing, damaged, or holds a network of another kind.
    """
    for path in (param_path, bin_path):
        if not path.is_file():
            raise WeightsMissingError(
                f"{path} is missing; an ncnn network is a pair of files, .param and .bin, in one folder"
            )
    try:
        layers = _read_layers(param_path)
        weights = _read_weights(layers, bin_path)
    except OSError as error:
        raise WeightsError(f"{param_path} or its .bin cannot be read: {error}") from error
    states = (family.from_ncnn(weights) for family in _READ if family.from_ncnn is not None)
    state = next((state for state in states if state is not None), None)
    if state is None:
        none_has = " and ".join(f"no {family.name} has" for family in _READ)
        raise WeightsError(f"{param_path} holds {len(weights)} convolutions in an order that {none_has}")
    return state


def _read_layers(path: Path) -> list[_Layer]:
    num_bytes = path.stat().st_size
    if num_bytes > _MAX_PARAM_BYTES:
        raise WeightsError(f"{path} has {num_bytes} bytes; an ncnn .param is text of at most a few hundred kB")
    try:
        lines = path.read_bytes().decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"{path} is not an ncnn .param: byte {error.start} is no text; binary .param files are not read"
        ) from None
    if lines[0].strip() != _MAGIC:
        raise WeightsError(f"{path} is not an ncnn .param: it starts with {lines[0][:20]!r}, not {_MAGIC}")
    layers = [_parse_layer(line, path) for line in lines[2:] if line.strip()]
    counts = lines[1].split() if len(lines) > 1 else []
    if not counts or counts[0] != str(len(layers)):
        promised = counts[0] if counts else "no number of"
        raise WeightsError(
            f"{path} is damaged: it promises {promised} layers and has {len(layers)}; get the file again"
        )
    return layers


def _parse_layer(line: str, path: Path) -> _Layer:
    words = line.split()
    try:
        kind, name = words[0], words[1]
        num_blobs = int(words[2]) + int(words[3])
        if not 0 <= num_blobs <= len(words) - 4:
            raise ValueError(num_blobs)
        numbers = {}
        for word in words[4 + num_blobs :]:
            key, _, text = word.partition("=")
            values = [float(v) for v in text.split(",")]
            if not all(math.isfinite(v) for v in values):
                raise ValueError(text)
            # Keys from -23300 down hold a list, its length first.
            number = int(key)
            numbers[number if number > -23300 else -23300 - number] = (
                values[1:] or [0.0] if number <= -23300 else values
            )
    except (IndexError, ValueError):
        raise WeightsError(f"{path} is damaged: this is no layer: {line[:80]!r}; get the file again") from None
    if kind not in _PLAIN_LAYERS | {"Convolution", "PReLU"}:
        raise WeightsError(
            f"{path}: layer {name} is a {kind}; only ncnn exports of {_NAMES} are read. "
            "Use the network's .pth or .safetensors file"
        )
    return _Layer(kind, name, path, numbers)


class _Blob:
    """The bytes of a `.bin`, handed out in order and never past their end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Mapped, not read: a wrong file of any size costs no memory.
        self._bytes: npt.NDArray[np.uint8] = (
            np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        )
        self._at = 0

    @property
    def num_bytes_left(self) -> int:
        return len(self._bytes) - self._at

    def take(self, count: int, dtype: str, layer: _Layer) -> npt.NDArray[np.float32]:
        num_bytes = count * np.dtype(dtype).itemsize
        if num_bytes > self.num_bytes_left:
            raise WeightsError(
                f"{self.path} is too short: layer {layer.name} needs {num_bytes} bytes at {self._at}, "
                f"and {self.num_bytes_left} are left; get the file again"
            )
        taken = self._bytes[self._at : self._at + num_bytes].view(dtype)
        self._at += num_bytes
        return taken.astype(np.float32)

    def tag(self, layer: _Layer) -> int:
        self.take(4, "u1", layer)
        return int.from_bytes(self._bytes[self._at - 4 : self._at].tobytes(), "little")

    def align(self, layer: _Layer) -> None:
        self.take(-self._at % 4, "u1", layer)


def _read_weights(layers: list[_Layer], bin_path: Path) -> list[tuple[Tensor, Tensor | None]]:
    """(weight, bias) of each convolution and (slopes, None) of each PReLU, in order."""
    blob = _Blob(bin_path)
    weights: list[tuple[Tensor, Tensor | None]] = []
    for layer in layers:
        if layer.kind == "Convolution":
            weights.append(_read_convolution(layer, blob))
        elif layer.kind == "PReLU":
            count = _in_range(layer, 0, layer.integer(0, 0))
            weights.append((torch.from_numpy(blob.take(count, "<f4", layer)), None))
        elif layer.kind == "ReLU":
            _check_slope(layer, layer.numbers.get(0, [0.0])[0])
    if blob.num_bytes_left:
        raise WeightsError(
            f"{bin_path} has {blob.num_bytes_left} bytes more than its .param describes; "
            "the two files belong to different networks"
        )
    return weights


def _read_convolution(layer: _Layer, blob: _Blob) -> tuple[Tensor, Tensor]:
    out_channels = _in_range(layer, 0, layer.integer(0, 0))
    count = _in_range(layer, 6, layer.integer(6, 0))
    kernel = (layer.integer(1, 0), layer.integer(11, layer.integer(1, 0)))
    # Keys: 2 dilation, 3 stride, 4 padding, 5 bias, 8 int8 scales.
    found = (
        *kernel,
        *(layer.integer(key, default) for key, default in ((2, 1), (3, 1), (4, 0), (5, 0), (8, 0))),
    )
    if found != (3, 3, 1, 1, 1, 1, 0) or count % (out_channels * 9):
        raise WeightsError(
            f"{layer.place} is no 3x3 convolution with bias, stride 1 and padding 1, "
            f"which is all that {_NAMES} consist of"
        )
    activation = layer.integer(9, 0)
    if activation:
        _check_slope(layer, layer.numbers.get(10, [0.0])[0] if activation == 2 else float("nan"))
    tag = blob.tag(layer)
    if tag == _TAG_FP16:
        weight = blob.take(count, "<f2", layer)
        blob.align(layer)
    elif tag in _TAGS_FP32:
        weight = blob.take(count, "<f4", layer)
    else:
        form = "int8" if tag == _TAG_INT8 else f"an unknown form (tag 0x{tag:08X})"
        raise WeightsError(
            f"{blob.path} is damaged or quantised: the weights of layer {layer.name} are {form}; fp16 and fp32 are read"
        )
    bias = torch.from_numpy(blob.take(out_channels, "<f4", layer))
    return torch.from_numpy(weight.reshape(out_channels, -1, 3, 3)), bias


def _in_range(layer: _Layer, key: int, value: int) -> int:
    if not 0 < value < 1 << 31:
        raise WeightsError(f"{layer.place}: parameter {key} is {value}; the .param is damaged")
    return value


def _check_slope(layer: _Layer, slope: float) -> None:
    # Read as the wrong activation the network would run and give a wrong picture.
    if not abs(slope - _SLOPE) < 1e-3:
        raise WeightsError(f"the activation after {layer.place} is no LeakyReLU of slope {_SLOPE}")
