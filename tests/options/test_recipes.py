"""The packaged recipes hold what they promise, and a recipe that does not says which file and which key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vidsr.errors import UsageError
from vidsr.frames import pixel_layout
from vidsr.media.containers import MATROSKA
from vidsr.media.write.encoders import choose_layout, find_encoder
from vidsr.models.catalogue import ModelEntry, find_model
from vidsr.options import recipes
from vidsr.options.recipes import list_recipes, load_recipe
from vidsr.options.upscale import UpscaleOptions

NAMES = ["anime", "film", "phone", "vhs"]
GOOD = 'name = "mine"\npurpose = "a test"\nnotes = "none"\n[options]\nmodel = "lanczos"\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_recipe(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return path

    return write_recipe


def test_the_packaged_recipes() -> None:
    assert [recipe.name for recipe in list_recipes()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_recipe_is_complete(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name  # and so is the file's, by which it was found
    assert recipe.purpose and "\n" not in recipe.purpose and len(recipe.purpose) <= 100
    assert len(recipe.notes) > 100
    assert UpscaleOptions.from_mapping(recipe.options).model == recipe.options["model"]


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_recipe_runs_without_a_download(name: str) -> None:
    model = find_model(str(load_recipe(name).options["model"]))
    assert isinstance(model, ModelEntry)
    assert model.packaged is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_recipe_suits_its_encoder(name: str) -> None:
    options = UpscaleOptions.from_mapping(load_recipe(name).options)
    encoder = find_encoder(options.codec)
    encoder.options(options.crf, options.preset)
    source = pixel_layout("yuv420p")
    assert source is not None
    choose_layout(encoder, source, options.pix_fmt, MATROSKA)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_recipe_by_path(write: Callable[[str], Path], kind: type) -> None:
    recipe = load_recipe(kind(write(GOOD)))
    assert (recipe.name, recipe.purpose, recipe.notes) == ("mine", "a test", "none")
    assert recipe.options == {"model": "lanczos"}


def test_options_keep_their_meaning(write: Callable[[str], Path]) -> None:
    recipe = load_recipe(write(GOOD + 'size = [640, 480]\nblend = 1\ncrf = 18\nstop = "30f"\n'))
    options = UpscaleOptions.from_mapping(recipe.options)
    assert (options.size, options.blend, options.crf, options.stop) == ((640, 480), 1.0, 18.0, 30)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'flim'; known are anime, film, phone, vhs"):
        load_recipe("flim")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: no recipe can be read there \(No such file"):
        load_recipe(tmp_path / "none.toml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.toml: .*not UTF-8"):
        load_recipe(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "scale = \n", "is not TOML .*line 6"),
        (GOOD.replace("notes", "note"), "unknown key 'note'; known are name, purpose, notes, options"),
        ("scale = 2\n" + GOOD, r"unknown key 'scale'; .*; options belong into \[options\]"),
        (GOOD.replace('name = "mine"\n', ""), "name is missing; it must be a text"),
        (GOOD.replace('"a test"', "3"), "purpose is 3; it must be a text"),
        (GOOD.replace('"none"', '"  "'), "notes is '  '; it must be a text"),
        (GOOD.split("[options]")[0], "options is None; it must be a table"),
        (GOOD.split("[options]")[0] + "options = 3", "options is 3; it must be a table"),
        (GOOD + "sharpness = 1\n", "unknown option 'sharpness'; known are scale, "),
        (GOOD + 'crf = "good"\n', "crf is 'good'; it is the encoder's"),
        (GOOD + "blend = 1.5\n", "blend is 1.5; it must be between 0 and 1"),
        (GOOD + "blend = true\n", "blend is True; it is share of the network"),
        (GOOD + "codec = 264\n", "codec is 264; it must be a text"),
        (GOOD + "fit = 1\n", "fit is '1'; it must be after or before"),
        (GOOD + "pix_fmt = 420\n", "pix_fmt is 420; it must be a text"),
        (GOOD + "size = [640, 480, 3]\n", r"size is '\[640, 480, 3\]'; write width x height"),
        (GOOD + "size = 640\n", "size is '640'; write width x height"),
        (GOOD + "height = 720.5\n", "height is 720.5; it is output height"),
        (GOOD + "stop = 00:00:01\n", r"stop is datetime\.time\(0, 0, 1\); it must be"),
        (GOOD + "[options.more]\n", "unknown option 'more'"),
        (GOOD + "scale = 2\nheight = 480\n", "scale and height were given"),
    ],
)
def test_mistakes_name_the_file_and_the_key(write: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"mine.toml: {message}"):
        load_recipe(write(text))


def test_recipes_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vidsr").mkdir()
    monkeypatch.setattr(recipes.resources, "files", lambda package: tmp_path / package)
    with pytest.raises(UsageError, match=r"pipelines_data are missing; install vidsr again"):
        list_recipes()


def test_recipes_inside_the_package_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder, name in (("vidsr/pipelines_data", "inside"), ("pipelines", "beside")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.toml").write_text(GOOD.replace("mine", name))
    monkeypatch.setattr(recipes.resources, "files", lambda package: tmp_path / package)
    assert [recipe.name for recipe in list_recipes()] == ["inside"]
