"""A file appears whole, on the disk together with its name, or not at all; what was there stays until then."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from vidsr.files import appearing, append, give_name, part_path, publish, sync, sync_folder

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows puts no folders on the disk")


class Disk:
    """Stands in for the two calls that matter: notes their order, and fails where it is told to."""

    def __init__(self, monkeypatch):
        self.steps, self.failures = [], {}
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr("os.fsync", self.fsync)
        monkeypatch.setattr("os.replace", self.replace)

    def fsync(self, handle):
        self._step("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        self._fsync(handle)

    def replace(self, part, path):
        self._step("rename")
        self._replace(part, path)

    def _step(self, step):
        self.steps.append(step)
        if step in self.failures:
            raise OSError(self.failures[step], os.strerror(self.failures[step]))


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@posix
def test_bytes_come_before_the_name_and_the_name_before_the_end(tmp_path, disk):
    part, path = tmp_path / "x.part", tmp_path / "x"
    part.write_bytes(b"new")
    path.write_bytes(b"old")
    publish(part, path)
    assert disk.steps == ["file", "rename", "folder"]
    assert content(tmp_path) == {"x": b"new"}


@posix
def test_a_block_that_ends_well_publishes(tmp_path, disk):
    path = tmp_path / "x.mkv"
    path.write_bytes(b"old")
    with appearing(path) as part:
        assert part == part_path(path) == tmp_path / "x.mkv.part"
        part.write_bytes(b"new")
        assert path.read_bytes() == b"old" and disk.steps == []
    assert disk.steps == ["file", "rename", "folder"]
    assert content(tmp_path) == {"x.mkv": b"new"}


def test_a_part_may_lie_elsewhere(tmp_path):
    (tmp_path / "work").mkdir()
    own = tmp_path / "work" / "joined.part"
    with appearing(tmp_path / "x.mkv", own) as part:
        assert part == own
        part.write_bytes(b"new")
    assert (tmp_path / "x.mkv").read_bytes() == b"new"
    assert list((tmp_path / "work").iterdir()) == []


@posix
@pytest.mark.parametrize("was_there", [False, True])
@pytest.mark.parametrize("step", ["write", "file", "rename"])
def test_a_failure_at_any_step_leaves_what_was_there(tmp_path, disk, step, was_there):
    path, before = tmp_path / "x", {"x": b"old"} if was_there else {}
    if was_there:
        path.write_bytes(b"old")
    disk.failures = {step: errno.ENOSPC}
    with pytest.raises(OSError) as caught, appearing(path) as part:
        part.write_bytes(b"half of the n")
        if step == "write":
            raise OSError(errno.ENOSPC, "no space")
    assert caught.value.errno == errno.ENOSPC
    assert disk.steps == {"write": [], "file": ["file"], "rename": ["file", "rename"]}[step]
    assert content(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("r")])
def test_any_other_end_leaves_what_was_there(tmp_path, error):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(type(error)) as caught, appearing(tmp_path / "x") as part:
        part.write_bytes(b"half of the n")
        raise error
    assert caught.value is error
    assert content(tmp_path) == {"x": b"old"}


def test_a_block_that_wrote_nothing_is_a_failure(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileNotFoundError), appearing(tmp_path / "x"):
        pass
    assert content(tmp_path) == {"x": b"old"}


def test_a_folder_that_is_gone_hides_no_failure(tmp_path):
    with pytest.raises(RuntimeError, match="first"), appearing(tmp_path / "gone" / "x"):
        (tmp_path / "gone").write_bytes(b"a file where a folder was")
        raise RuntimeError("first")


@posix
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_file_system_that_syncs_no_folders_is_let_be(tmp_path, disk, code):
    disk.failures = {"folder": code}
    with appearing(tmp_path / "x") as part:
        part.write_bytes(b"new")
    append(tmp_path / "y", b"new")
    assert disk.steps == ["file", "rename", "folder", "file", "folder"]
    assert content(tmp_path) == {"x": b"new", "y": b"new"}


@posix
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_folder_that_fails_is_a_failure_though_the_file_is_there_whole(tmp_path, disk, code):
    disk.failures = {"folder": code}
    with pytest.raises(OSError) as caught, appearing(tmp_path / "x") as part:
        part.write_bytes(b"new")
    assert caught.value.errno == code
    assert content(tmp_path) == {"x": b"new"}


@posix
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_that_may_be_written_but_not_read(tmp_path):
    folder = tmp_path / "drop"
    folder.mkdir(mode=0o300)
    with appearing(folder / "x") as part:
        part.write_bytes(b"new")
    assert (folder / "x").read_bytes() == b"new"
    folder.chmod(0o700)


@posix
def test_a_folder_that_is_not_there_is_a_failure(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")


def test_windows_opens_no_folder(tmp_path, disk, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    (tmp_path / "x.part").write_bytes(b"new")
    publish(tmp_path / "x.part", tmp_path / "x")
    assert disk.steps == ["file", "rename"]


@posix
def test_many_files_share_one_sync_of_their_folder(tmp_path, disk):
    for number in range(3):
        (tmp_path / f"{number}.part").write_bytes(b"new")
        give_name(tmp_path / f"{number}.part", tmp_path / f"{number}")
    sync_folder(tmp_path)
    assert disk.steps == [*3 * ["file", "rename"], "folder"]


@posix
def test_what_is_appended_is_on_the_disk_and_the_name_with_the_first(tmp_path, disk):
    path = tmp_path / "journal.jsonl"
    append(path, b"one\n")
    append(path, b"two\n")
    assert disk.steps == ["file", "folder", "file"]
    assert path.read_bytes() == b"one\ntwo\n"


def test_what_cannot_be_synced_is_a_failure(tmp_path, disk):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    disk.failures = {"file": errno.EIO}
    for attempt in (lambda: append(path, b"more"), lambda: sync(path)):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EIO


def test_nobody_else_renames_or_syncs():
    """One place knows how a file appears; a copy of it elsewhere would forget a step."""
    root = Path(__file__).resolve().parents[1] / "vidsr"
    sources = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    assert [name for name, text in sources.items() if "fsync" in text] == ["files.py"]
    # A second name for what is on the disk already is no new file.
    renaming = {name for name, text in sources.items() if "part.replace(" in text}
    assert renaming == {"files.py", "media/write/pictures.py"}
