"""From a weights file, in any of the layouts in use, to a network that is ready to run; and back."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from vidsr.errors import TargetError, WeightsError, WeightsMissingError
from vidsr.files import appearing
from vidsr.models.families import FAMILIES, Recognised, recognise
from vidsr.models.foreign import load_foreign
from vidsr.models.ncnn_files import read_ncnn
from vidsr.models.network import Network
from vidsr.models.state_dict import without_prefix

# Training checkpoints hold the averaged weights beside the last ones; the averaged are the better.
_STATE_KEYS = ("params_ema", "params", "state_dict")
_NUM_NAMED = 5  # tensors that a message lists


def load_network(path: Path) -> Network:
    """The network of a `.pth`, `.safetensors`, `.param` or `.bin` file: fp32, on the CPU, eval mode, frozen.

    Scale, depth and width come from the tensors' shapes, the architecture from their names.

    Raises:
        WeightsMissingError: there is no such file.
        WeightsError: it cannot be read, holds no known network, or holds NaN or Inf.
    """
    if not path.is_file():
        raise WeightsMissingError(f"there is no weights file at {path}")
    state = _read(path)
    try:
        return network_from_state_dict(state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def network_from_state_dict(state: Mapping[str, Any]) -> Network:
    """The network that a state dict, or a checkpoint around one, belongs to; see `load_network`."""
    state = _unwrapped(state)
    _check_tensors(state)
    found = recognise(state)
    if found is None:
        network = _foreign(state, f"its architecture is neither {' nor '.join(family.name for family in FAMILIES)}")
    else:
        network = _own(found, state)
    return network.float().eval().requires_grad_(False)


def save_safetensors(network: Network, path: Path) -> None:
    """Writes the weights under their family's own names; the file appears complete or not at all.

    Raises:
        TargetError: the file cannot be written.
    """
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    metadata = {"format": "pt", "architecture": type(network).__name__, "scale": str(network.scale)}
    try:
        with appearing(path) as part:
            part.write_bytes(safetensors.torch.save(state, metadata))
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error}") from error


def blend_networks(a: Network, b: Network, weight: float) -> Network:
    """A new network with `weight` of a's parameters and the rest of b's: 1 is a alone, 0 is b alone.

    Raises:
        WeightsError: the two differ in architecture or size.
    """
    state_a, state_b = a.state_dict(), b.state_dict()
    shapes_a, shapes_b = ({k: tuple(v.shape) for k, v in s.items()} for s in (state_a, state_b))
    if type(a) is not type(b) or a.scale != b.scale or shapes_a != shapes_b:
        raise WeightsError(
            f"a {type(a).__name__} of scale {a.scale} with {a.num_parameters} parameters and a "
            f"{type(b).__name__} of scale {b.scale} with {b.num_parameters} cannot be blended; "
            "two networks of one shape were expected"
        )
    blended = copy.deepcopy(a)
    # Not lerp: at 0 and 1 the sum is one of the two exactly.
    blended.load_state_dict({k: weight * state_a[k] + (1 - weight) * state_b[k] for k in state_a})
    return blended


def _read(path: Path) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix == ".param" or (suffix == ".bin" and path.with_suffix(".param").is_file()):
        return read_ncnn(path.with_suffix(".param"), path.with_suffix(".bin"))
    if suffix == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(path, device="cpu"))
        except (safetensors.SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is no readable safetensors file: {error}; get the file again") from error
    return _read_pickle(path)


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        # weights_only: a checkpoint is a pickle, and a pickle is a program.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()
        raise WeightsError(
            f"{path} is refused: it is damaged, or holds pickled objects other than tensors, which could run "
            f"any code ({_refused_object(reason)}). Use a file that holds only a state dict, or .safetensors"
        ) from error
    except Exception as error:
        # Damage surfaces as whatever the unpickler or the zip reader stumbled over.
        lines = str(error).strip().splitlines()
        reason_given = lines[0] if lines else type(error).__name__
        raise WeightsError(
            f"{path} is not a checkpoint that can be read: {reason_given}. "
            "A .pth or .safetensors file, or an ncnn pair, was expected; if it should be one, get it again"
        ) from error
    if not isinstance(found, Mapping):
        raise WeightsError(f"{path} holds a {type(found).__name__}; a state dict was expected")
    return found


def _refused_object(lines: list[str]) -> str:
    # Of torch's page-long explanation, the line that names the object.
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines or ["no reason given"])[0].strip()[:200]


def _unwrapped(state: Mapping[str, Any]) -> Mapping[str, Any]:
    # Twice: frameworks wrap their `state_dict` around a `params_ema`. No more: a pickle can hold itself.
    for _ in range(2):
        state = next((state[key] for key in _STATE_KEYS if isinstance(state.get(key), Mapping)), state)
    return state


def _check_tensors(state: Mapping[str, Any]) -> None:
    if not state:
        raise WeightsError("the checkpoint is empty; a state dict was expected")
    for key, tensor in state.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise WeightsError(
                f"{key!r} is a {type(tensor).__name__}; a state dict of tensors was expected, bare or under "
                + ", ".join(_STATE_KEYS)
            )
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        # A crafted file can claim any shape over a few bytes; copying it would fill the memory.
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(f"{key} is no plain tensor; dense float weights were expected")
        num_bad = int((~torch.isfinite(tensor.float())).sum()) if tensor.is_floating_point() else 0
        if num_bad:
            raise WeightsError(
                f"{key} holds {num_bad} values that are NaN or infinite, of {tensor.numel()}; "
                "the file is damaged or its training failed: get another"
            )


def _own(found: Recognised, state: Mapping[str, Tensor]) -> Network:
    named, shape = found.named, found.shape
    if (shape.in_channels, shape.out_channels) != (3, 3):
        raise WeightsError(
            f"the network takes {shape.in_channels} channels and gives {shape.out_channels}; "
            "a network from RGB to RGB was expected"
        )
    # Built without memory: nothing of a wrong shape is allocated before it is compared.
    with torch.device("meta"):
        network = shape.build()
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    kind = found.family.name
    surplus = [key for key in named if key not in expected]
    if surplus:
        return _foreign(state, f"it resembles an {kind}, which has no {surplus[0]}")
    for key, wanted in expected.items():
        if key not in named:
            raise WeightsError(f"{key} is missing; an {kind} of this size has it with shape {wanted}")
        tensor = named[key]
        if tuple(tensor.shape) != wanted or not tensor.is_floating_point():
            raise WeightsError(
                f"{key} is {tensor.dtype} of shape {tuple(tensor.shape)}; "
                f"an {kind} of this size has floats of shape {wanted} there"
            )
    own = {key: named[key].detach().to(torch.float32).contiguous() for key in expected}
    network.load_state_dict(own, strict=True, assign=True)
    return network


def _foreign(state: Mapping[str, Tensor], reason: str) -> Network:
    help_line = 'Other architectures need an extra: pip install "vidsr-upscale[spandrel]"'
    try:
        network = load_foreign(without_prefix(state))
        if network is not None:
            return network
    except WeightsError as error:
        help_line = str(error)
    listed = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in list(state.items())[:_NUM_NAMED])
    raise WeightsError(f"unknown network: {reason}. The first of its {len(state)} tensors: {listed}. {help_line}")
