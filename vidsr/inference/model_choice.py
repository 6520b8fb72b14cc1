"""Which model the options mean, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vidsr.events import OnEvent, ignore
from vidsr.models import weights_store
from vidsr.models.catalogue import ModelEntry, find_model
from vidsr.options.upscale import UpscaleOptions

_AUTO_MODEL = {"cuda": "RealESRGAN_x4plus", "cpu": "realesr-animevideov3"}


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """The model of a run and why it is that one."""

    name: str
    reason: str
    entry: ModelEntry | None  # None for a file of the user's own
    path: Path | None  # None for classical models


def choose_model(options: UpscaleOptions, device: torch.device, on_event: OnEvent = ignore) -> ChosenModel:
    """Find the model that the options mean, fetching its weights if they are not on this machine.

    Raises:
        UnknownModelError, WeightsError, DownloadError.
    """
    name, reason = options.model, "asked for"
    if name == "auto":
        name = _AUTO_MODEL[device.type]
        reason = {
            "cuda": "auto: the best network, since there is a GPU",
            "cpu": "auto: the compact network, since there is no GPU",
        }[device.type]
    found = find_model(name)
    if isinstance(found, Path):
        return ChosenModel(name=found.name, reason=reason, entry=None, path=found)
    path = None if found.kind == "classical" else weights_store.obtain(found, on_event)
    return ChosenModel(name=found.name, reason=reason, entry=found, path=path)
