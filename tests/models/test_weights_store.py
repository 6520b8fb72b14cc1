"""The weights cache, and downloads from a server on this machine that behaves well or badly on request."""

from __future__ import annotations

import hashlib
import http.server
import socket
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from vidsr.errors import DownloadError, WeightsError, WeightsMissingError
from vidsr.events import Downloading
from vidsr.models import weights_store
from vidsr.models.download import OFFICIAL, RemoteFile, UrlPolicy

CONTENT = bytes(range(256)) * 3000  # three chunks, the last one short
LOCAL = UrlPolicy(schemes=("http",), hosts=("127.0.0.1",))


@dataclass(frozen=True, kw_only=True)
class Entry:
    name: str = "a-model"
    remote: RemoteFile | None = None
    packaged: weights_store.PackagedFile | None = None


@dataclass
class Server:
    """What the server was asked, and how it shall answer."""

    url: str = ""
    ranges_asked: list[str | None] = field(default_factory=list)
    honours_ranges: bool = True
    refuses_ranges: bool = False
    breaks_after: int | None = None
    redirect_to: str | None = None
    content: bytes = CONTENT


@pytest.fixture
def server(monkeypatch):
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            asked = self.headers.get("Range")
            state.ranges_asked.append(asked)
            if state.redirect_to:
                self.send_response(302)
                self.send_header("Location", state.redirect_to)
                self.end_headers()
                return
            if self.path != "/net.pth":
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            if asked and state.refuses_ranges:
                self.send_error(416)
                return
            if not state.honours_ranges:
                start = 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/*")
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            self.wfile.write(state.content[start : state.breaks_after])

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/net.pth"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIDSR_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def entry(server):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    remote = RemoteFile(url=server.url, file_name="net.pth", size_bytes=len(CONTENT), sha256=sha256)
    return Entry(remote=remote)


def fetch(entry, events=None):
    return weights_store.fetch(entry, events.append if events is not None else lambda event: None, policy=LOCAL)


def test_fetches_verifies_and_reports(server, cache, entry):
    events = []
    assert weights_store.locate(entry) is None
    path = fetch(entry, events)
    assert path == cache / "net.pth" and path.read_bytes() == CONTENT
    assert [p.name for p in cache.iterdir()] == ["net.pth"]
    assert weights_store.locate(entry) == weights_store.WeightsFile(path=path, origin="cache")
    assert all(isinstance(e, Downloading) and e.num_bytes_total == len(CONTENT) for e in events)
    done = [e.num_bytes_done for e in events]
    assert done == sorted(done) and done[-1] == len(CONTENT) and len(done) >= 3


def test_obtain_asks_the_server_only_once(server, cache, entry):
    for _ in range(2):
        assert weights_store.obtain(entry, policy=LOCAL) == cache / "net.pth"
    assert len(server.ranges_asked) == 1
    fetch(entry)  # nor does fetching what is there
    assert len(server.ranges_asked) == 1


def test_a_broken_connection_keeps_what_arrived_and_is_continued(server, cache, entry):
    server.breaks_after = 300_000
    with pytest.raises(DownloadError, match="broke off after 300000 of 768000 bytes, which are kept"):
        fetch(entry)
    assert (cache / "net.pth.part").stat().st_size == 300_000
    assert weights_store.locate(entry) is None
    server.breaks_after = None
    events = []
    assert fetch(entry, events).read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=300000-"]
    assert events[0].num_bytes_done > 300_000


def test_a_server_without_ranges_starts_over(server, cache, entry):
    cache.mkdir()
    (cache / "net.pth.part").write_bytes(CONTENT[:1000])
    server.honours_ranges = False
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges_asked == ["bytes=1000-"]


def test_a_server_that_refuses_the_range_is_asked_again(server, cache, entry):
    cache.mkdir()
    (cache / "net.pth.part").write_bytes(CONTENT[:1000])
    server.refuses_ranges = True
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges_asked == ["bytes=1000-", None]


def test_a_part_that_is_too_long_is_thrown_away(server, cache, entry):
    cache.mkdir()
    (cache / "net.pth.part").write_bytes(CONTENT + b"more")
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges_asked == [None]


def test_a_complete_part_needs_no_server(server, cache, entry):
    cache.mkdir()
    (cache / "net.pth.part").write_bytes(CONTENT)
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges_asked == []


def test_a_wrong_checksum_is_refused_and_not_kept(server, cache, entry):
    server.content = CONTENT[:-1] + b"\0"
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DownloadError, match=f"SHA-256 is {found}, {entry.remote.sha256} was expected"):
        fetch(entry)
    assert not (cache / "net.pth").exists()
    server.content = CONTENT
    assert fetch(entry).read_bytes() == CONTENT  # the bad bytes are not continued
    assert server.ranges_asked == [None, None]


def test_a_file_that_is_too_long_is_refused(server, cache, entry):
    server.content = CONTENT + b"more"
    with pytest.raises(DownloadError, match="more than the expected 768000 bytes"):
        fetch(entry)
    assert not (cache / "net.pth").exists()


def test_a_failure_says_address_and_place(server, cache, entry):
    url = server.url.replace("net.pth", "gone.pth")
    missing = replace(entry, remote=replace(entry.remote, url=url))
    with pytest.raises(DownloadError, match="404") as caught:
        fetch(missing)
    assert url in str(caught.value) and str(cache) in str(caught.value)


def test_nobody_listening(cache, entry):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/net.pth"
        with pytest.raises(DownloadError, match="refused") as caught:
            fetch(replace(entry, remote=replace(entry.remote, url=url)))
    assert url in str(caught.value)


def test_a_folder_that_cannot_be_made(cache, entry):
    cache.write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"net\.pth could not be fetched"):
        fetch(entry)


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/a/net.pth",
        "https://example.com/net.pth",
        "https://github.com.example.com/net.pth",
        "https://notgithub.com/net.pth",
        "file:///net.pth",
    ],
)
def test_untrusted_addresses_are_not_asked(cache, entry, url):
    with pytest.raises(DownloadError, match="refused to ask"):
        weights_store.fetch(replace(entry, remote=replace(entry.remote, url=url)))


def test_github_and_its_content_hosts_are_trusted():
    for host in ("github.com", "objects.githubusercontent.com", "release-assets.githubusercontent.com"):
        OFFICIAL.check(f"https://{host}/net.pth")


@pytest.mark.parametrize("elsewhere", ["http://localhost:{port}/net.pth", "https://example.com/net.pth"])
def test_redirects_are_checked_too(server, cache, entry, elsewhere):
    server.redirect_to = elsewhere.format(port=server.url.split(":")[2].split("/")[0])
    with pytest.raises(DownloadError, match="refused to ask"):
        fetch(entry)
    assert len(server.ranges_asked) == 1


def test_offline_says_address_and_place(server, cache, entry, monkeypatch):
    monkeypatch.setenv("VIDSR_OFFLINE", "1")
    with pytest.raises(WeightsMissingError, match="VIDSR_OFFLINE forbids") as caught:
        weights_store.obtain(entry)
    assert server.url in str(caught.value) and str(cache) in str(caught.value)
    assert server.ranges_asked == []
    cache.mkdir()
    (cache / "net.pth").write_bytes(CONTENT)
    assert weights_store.obtain(entry) == cache / "net.pth"


def test_a_cached_file_of_the_wrong_size(cache, entry):
    cache.mkdir()
    (cache / "net.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="767999 bytes and should have 768000; delete it"):
        weights_store.locate(entry)


def test_two_at_once_ask_once(server, cache, entry):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(entry))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [cache / "net.pth"] * 4
    assert (cache / "net.pth").read_bytes() == CONTENT
    assert len(server.ranges_asked) == 1


def test_weights_inside_a_package(cache, entry, tmp_path, monkeypatch):
    folder = tmp_path / "site" / "some_weights" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "net.param").write_bytes(b"x")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    packaged = weights_store.PackagedFile(package="some_weights", path="models/net.param", needs=("net.bin",))
    both = replace(entry, packaged=packaged)
    assert weights_store.locate(both) is None  # half of a pair
    (folder / "net.bin").write_bytes(b"x")
    assert weights_store.locate(both) == weights_store.WeightsFile(path=folder / "net.param", origin="package")
    fetch(both)
    assert weights_store.locate(both).origin == "cache"
    absent = replace(packaged, package="no_such_package")
    assert weights_store.locate(Entry(packaged=absent)) is None


def test_an_entry_without_weights(cache):
    with pytest.raises(WeightsMissingError, match="a-model has no weights"):
        weights_store.obtain(Entry())


def test_the_folder_follows_the_system(monkeypatch, tmp_path):
    monkeypatch.delenv("VIDSR_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights_store.cache_folder() == tmp_path / "xdg" / "vidsr" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert weights_store.cache_folder() == tmp_path / ".cache" / "vidsr" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights_store.cache_folder() == tmp_path / ".cache" / "vidsr" / "weights"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert weights_store.cache_folder() == tmp_path / "Library" / "Caches" / "vidsr" / "weights"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert weights_store.cache_folder() == tmp_path / "local" / "vidsr" / "weights"
    monkeypatch.setenv("VIDSR_CACHE", str(tmp_path / "own"))
    assert weights_store.cache_folder() == tmp_path / "own"
