"""Fetches one file over https: resumed where it broke off, verified, and published under its name at once."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import IO, Any

from vidsr.errors import DownloadError
from vidsr.events import Downloading, OnEvent, ignore
from vidsr.files import publish

_CHUNK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on the web and what it must be."""

    url: str
    file_name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class UrlPolicy:
    """Which addresses may be asked, redirects included."""

    schemes: tuple[str, ...]
    hosts: tuple[str, ...]  # each with its subdomains

    def check(self, url: str) -> None:
        """Raises URLError for an address outside the policy."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        known = any(host == known or host.endswith("." + known) for known in self.hosts)
        if parts.scheme not in self.schemes or not known:
            raise urllib.error.URLError(
                f"refused to ask {parts.scheme}://{host}; only {', '.join(self.schemes)} from "
                f"{', '.join(self.hosts)} is trusted"
            )


# GitHub hands release files out by a redirect to its own content hosts.
OFFICIAL = UrlPolicy(schemes=("https",), hosts=("github.com", "githubusercontent.com"))


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, policy: UrlPolicy) -> None:
        self._policy = policy

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            self._policy.check(newurl)
        except urllib.error.URLError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(remote: RemoteFile, folder: Path, on_event: OnEvent = ignore, policy: UrlPolicy = OFFICIAL) -> Path:
    """Brings `remote` into `folder`; what an earlier try left behind is continued.

    Raises:
        DownloadError: refused, broken off, or not the expected file.
    """
    target = folder / remote.file_name
    part = folder / (remote.file_name + ".part")
    if _is_there(target, remote):
        return target
    try:
        policy.check(remote.url)
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("a+b") as file, _locked(file):
            # Another process may have finished it while this one waited.
            if _is_there(target, remote):
                return target
            _fill(file, remote, on_event, policy)
            _verify(file, remote)
        _publish(part, target)
    except (OSError, http.client.HTTPException) as error:
        what = str(error).removeprefix("<urlopen error ").removesuffix(">") or type(error).__name__
        raise DownloadError(
            f"{remote.file_name} could not be fetched: {what}. Try again, "
            f"or get {remote.url} by other means and put it into {folder}"
        ) from error
    return target


@contextlib.contextmanager
def _locked(file: BufferedRandom) -> Iterator[None]:
    """Lets one process at a time write; where the system has no such locks, the checksum still decides."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    # Some network file systems know no locks.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file unlocks it


def _fill(file: BufferedRandom, remote: RemoteFile, on_event: OnEvent, policy: UrlPolicy) -> None:
    num_have = file.seek(0, os.SEEK_END)
    if num_have > remote.size_bytes:
        num_have = _emptied(file)
    if num_have == remote.size_bytes:
        return
    response = _open(remote.url, num_have, policy)
    if response is None:
        num_have = _emptied(file)
        response = _open(remote.url, 0, policy)
    if response is None:
        raise OSError("the server refuses to send the file from its start (416)")
    with response:
        if num_have and not _continues_at(response, num_have):
            num_have = _emptied(file)
        _receive(response, file, num_have, remote, on_event)


def _open(url: str, num_have: int, policy: UrlPolicy) -> Any:
    """The response, or None where the server has nothing at that offset."""
    opener = urllib.request.build_opener(_CheckedRedirects(policy))
    request = urllib.request.Request(url, headers={"User-Agent": "vidsr", "Accept-Encoding": "identity"})
    if num_have:
        request.add_header("Range", f"bytes={num_have}-")
    try:
        return opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise


def _continues_at(response: Any, num_have: int) -> bool:
    """Whether the server honoured the range; many answer with the whole file instead."""
    content_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
    return partial and content_range is not None and int(content_range[1]) == num_have


def _receive(response: Any, file: BufferedRandom, num_have: int, remote: RemoteFile, on_event: OnEvent) -> None:
    while chunk := response.read(_CHUNK_BYTES):
        num_have += len(chunk)
        if num_have > remote.size_bytes:
            _emptied(file)
            raise OSError(f"the server sends more than the expected {remote.size_bytes} bytes")
        file.write(chunk)
        on_event(Downloading(name=remote.file_name, num_bytes_done=num_have, num_bytes_total=remote.size_bytes))
    if num_have < remote.size_bytes:
        raise OSError(f"the connection broke off after {num_have} of {remote.size_bytes} bytes, which are kept")


def _verify(file: BufferedRandom, remote: RemoteFile) -> None:
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        # Emptied, not deleted: another process may be waiting for this very file.
        _emptied(file)
        raise OSError(f"its SHA-256 is {found}, {remote.sha256} was expected; what arrived was thrown away")


def _emptied(file: BufferedRandom) -> int:
    file.truncate(0)
    return file.seek(0)


def _is_there(target: Path, remote: RemoteFile) -> bool:
    return target.is_file() and target.stat().st_size == remote.size_bytes


def _publish(part: Path, target: Path) -> None:
    try:
        publish(part, target)
    except FileNotFoundError:
        # Between unlocking and renaming, a waiting process verified and renamed it first.
        if not target.is_file():
            raise
