"""Sequences by their names: what belongs together, in numeric order, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsr.errors import SourceError, SourceMissingError
from vidsr.media.sequence import Pattern, count_pictures, find_sequence, is_animated, parse_pattern


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("text", "prefix", "width", "suffix"),
    [
        ("shot.%04d.png", "shot.", 4, ".png"),
        ("%d.tif", "", 1, ".tif"),
        ("shot.####.exr", "shot.", 4, ".exr"),
        ("a#b_##.exr", "a#b_", 2, ".exr"),
        ("100%%.%03d.png", "100%.", 3, ".png"),
        ("%%%02d%%.png", "%", 2, "%.png"),
        ("left_%04d_eye.png", "left_", 4, "_eye.png"),
        ("ü ö.%04d.png", "ü ö.", 4, ".png"),
    ],
)
def test_a_pattern_says_where_the_number_is(text, prefix, width, suffix):
    pattern = parse_pattern(Path("folder") / text)
    assert pattern == Pattern(folder=Path("folder"), prefix=prefix, width=width, suffix=suffix)
    assert parse_pattern(pattern.path) == pattern
    assert pattern.number_of(pattern.name(7)) == 7


@pytest.mark.parametrize("text", ["shot.png", "shot.%s.png", "100%%d.png", "0001.png"])
def test_other_names_are_no_patterns(text):
    assert parse_pattern(Path(text)) is None


def test_only_names_that_the_pattern_makes_belong_to_it(tmp_path):
    others = [
        "a.1.png",
        "a.00005.png",
        "a.0006.PNG",
        "b.0001.png",
        "a..png",
        "a.-001.png",
        "a.0007.png.part",
        "a.²²²².png",
    ]
    folder = fill(tmp_path / "x", "a.0002.png", "a.0010.png", "a.0009.png", "a.10000.png", *others)
    found = find_sequence(folder / "a.%04d.png")
    assert list(found.numbers) == [2, 9, 10, 10000]
    assert found.pattern.file(found.first) == folder / "a.0002.png"


@pytest.mark.parametrize(
    ("names", "pattern", "numbers"),
    [
        (["1.png", "2.png", "10.png"], "%d.png", [1, 2, 10]),
        (["r.1001.png", "r.1002.png"], "r.%04d.png", [1001, 1002]),
        (["08.png", "09.png", "100.png"], "%02d.png", [8, 9, 100]),
        (["0.png", "7.png"], "%d.png", [0, 7]),
        (["v2_0001.exr", "v2_0002.exr"], "v2_%04d.exr", [1, 2]),
        (["take1.0003_L.tif"], "take1.%04d_L.tif", [3]),
        (["50%.01.png", "50%.02.png"], "50%%.%02d.png", [1, 2]),
        (["a.0001.png", ".a.0001.png", "._a.0002.png", "notes.txt", "a.0001.png.part"], "a.%04d.png", [1]),
    ],
)
def test_a_folder_means_its_one_sequence(tmp_path, names, pattern, numbers):
    found = find_sequence(fill(tmp_path / "folder", *names))
    assert (found.pattern.path.name, list(found.numbers)) == (pattern, numbers)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.1.png", "b.1.png"], "more than one sequence (a.%d.png, b.%d.png)"),
        (["a.1.png", "a.1.exr"], "more than one sequence"),
        (["a.01.png", "a.2.png"], "a.2.png is not numbered as a.01.png is"),
        (["1.png", "cover.png"], "cover.png has no number"),
    ],
)
def test_a_folder_of_several_is_refused_and_says_what_to_name(tmp_path, names, said):
    with pytest.raises(SourceError) as caught:
        find_sequence(fill(tmp_path / "folder", *names))
    assert said in str(caught.value) and "pattern" in str(caught.value)


def test_a_pattern_that_matches_nothing_is_named(tmp_path):
    folder = fill(tmp_path / "folder", "b.0001.png")
    with pytest.raises(SourceMissingError, match=r"a\.%04d\.png: no file fits.*such as b\.0001\.png"):
        find_sequence(folder / "a.%04d.png")
    with pytest.raises(SourceMissingError, match="no folder"):
        find_sequence(tmp_path / "nowhere" / "a.%04d.png")


def test_what_is_no_sequence_is_left_to_others(tmp_path):
    folder = fill(tmp_path / "folder", "clip.mp4", "1.txt")
    assert find_sequence(folder) is None
    assert find_sequence(folder / "clip.mp4") is None
    assert find_sequence(folder / "gone.png") is None


def test_a_file_that_looks_like_a_pattern_is_that_file(tmp_path):
    folder = fill(tmp_path / "folder", "a.%04d.png", "a.0001.png")
    found = find_sequence(folder / "a.%04d.png")
    assert found.pattern.file(found.first) == folder / "a.%04d.png" and found.pattern.width is None


def test_missing_numbers_are_told_in_words(tmp_path):
    numbers = [n for n in range(1001, 1021) if n not in (1004, 1010, 1011, 1012)]
    found = find_sequence(fill(tmp_path / "f", *(f"{n}.png" for n in numbers)))
    assert found.missing(1001, 1021) == "frames 1004, 1010 to 1012 are missing"
    assert found.missing(1001, 1010) == "frame 1004 is missing"
    assert found.missing(1005, 1010) is None
    many = find_sequence(fill(tmp_path / "g", *(f"{n}.png" for n in range(0, 100, 2))))
    assert many.missing(0, 99).endswith("17, 19 and 39 more gaps are missing")


def test_pictures_are_counted(tmp_path):
    assert count_pictures(fill(tmp_path / "f", "1.png", "2.jpg", "cover.jpg", "a.mp4", ".3.png")) == (3, 2)


def test_animations_are_told_from_pictures(tmp_path):
    still = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\x08IDAT acTL"
    (tmp_path / "still.png").write_bytes(still)
    (tmp_path / "moving.png").write_bytes(still.replace(b"IDAT", b"acTL"))
    (tmp_path / "still.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10" + bytes(9))
    (tmp_path / "moving.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x12" + bytes(9))
    assert [is_animated(path) for path in sorted(tmp_path.iterdir())] == [True, True, False, False]
