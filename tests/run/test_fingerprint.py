"""A fingerprint follows what files hold, and reads little of large ones."""

from __future__ import annotations

import pytest

from vidsr.run.fingerprint import fingerprint

MIB = 1 << 20


def test_the_same_bytes_have_the_same_fingerprint_wherever_they_lie(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x" * 3 * MIB)
    assert fingerprint([tmp_path / "a"]) == fingerprint([tmp_path / "b"])


@pytest.mark.parametrize("size", [1, 5000, 16 * MIB])
def test_every_byte_of_a_small_file_counts(tmp_path, size):
    path = tmp_path / "a"
    data = bytearray(size)
    found = set()
    for position in {0, size // 3, size // 2, size - 1}:
        data[position] += 1
        path.write_bytes(data)
        found.add(fingerprint([path]))
        data[position] -= 1
    assert len(found) == len({0, size // 3, size // 2, size - 1})


def test_a_large_file_is_sampled_from_end_to_end(tmp_path):
    path = tmp_path / "a"
    size = 40 * MIB
    with path.open("wb") as file:
        file.truncate(size)
    plain = fingerprint([path])
    for position in (0, size - 1):
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"x")
        assert fingerprint([path]) != plain
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"\0")
    with path.open("r+b") as file:
        file.truncate(size - 1)
    assert fingerprint([path]) != plain


def test_the_order_of_files_counts(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    paths = [tmp_path / "a", tmp_path / "b"]
    assert fingerprint(paths) != fingerprint(paths[::-1]) != fingerprint(paths[:1])
