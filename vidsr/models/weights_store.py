"""Where weights lie on this machine, and getting them there."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from vidsr.cache import cache_folder
from vidsr.errors import WeightsError, WeightsMissingError
from vidsr.events import OnEvent, ignore
from vidsr.models.download import OFFICIAL, RemoteFile, UrlPolicy, download


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A file inside an installed Python package, which is looked up but never imported."""

    package: str
    path: str  # below the package's folder, with slashes
    needs: tuple[str, ...] = ()  # further files beside it, by name


class Entry(Protocol):
    """Something whose weights can be kept: a model of the catalogue."""

    @property
    def name(self) -> str: ...
    @property
    def remote(self) -> RemoteFile | None: ...
    @property
    def packaged(self) -> PackagedFile | None: ...


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """Weights on this machine and where they come from."""

    path: Path
    origin: Literal["path", "cache", "package"]


def is_offline() -> bool:
    """Whether the user forbade downloads by VIDSR_OFFLINE=1."""
    return os.environ.get("VIDSR_OFFLINE", "").lower() not in ("", "0", "false", "no")


def locate(entry: Entry) -> WeightsFile | None:
    """The entry's weights in the cache or else in an installed package; None if they are in neither.

    Raises:
        WeightsError: the cached file has not the size it should have.
    """
    if entry.remote is not None:
        cached = cache_folder() / entry.remote.file_name
        if cached.is_file():
            # The checksum was verified when it was fetched; the size finds what was cut off since.
            num_bytes = cached.stat().st_size
            if num_bytes != entry.remote.size_bytes:
                raise WeightsError(
                    f"{cached} has {num_bytes} bytes and should have {entry.remote.size_bytes}; "
                    "delete it, and it will be fetched again"
                )
            return WeightsFile(path=cached, origin="cache")
    packaged = _packaged_path(entry.packaged) if entry.packaged is not None else None
    return WeightsFile(path=packaged, origin="package") if packaged is not None else None


def fetch(entry: Entry, on_event: OnEvent = ignore, *, policy: UrlPolicy = OFFICIAL) -> Path:
    """Downloads the entry's weights into the cache, verified; a broken download is continued.

    Raises:
        WeightsMissingError: there is nothing to download, or downloads are forbidden.
        DownloadError: the download failed; the message has the address and the place for a copy by hand.
    """
    remote, folder = entry.remote, cache_folder()
    if remote is None:
        raise WeightsMissingError(f"{entry.name} has no weights that could be downloaded")
    if is_offline():
        raise WeightsMissingError(
            f"the weights of {entry.name} are not on this machine and VIDSR_OFFLINE forbids fetching them; "
            f"get {remote.url} and put it into {folder}"
        )
    return download(remote, folder, on_event, policy)


def obtain(entry: Entry, on_event: OnEvent = ignore, *, policy: UrlPolicy = OFFICIAL) -> Path:
    """The entry's weights, from this machine if they are there and else from the web; see `fetch`."""
    found = locate(entry)
    return found.path if found is not None else fetch(entry, on_event, policy=policy)


def _packaged_path(packaged: PackagedFile) -> Path | None:
    spec = importlib.util.find_spec(packaged.package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder).joinpath(*packaged.path.split("/"))
        if path.is_file() and all((path.parent / name).is_file() for name in packaged.needs):
            return path
    return None
