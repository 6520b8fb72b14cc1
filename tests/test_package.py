"""The package as strangers get it: what is in it, what it says of itself, and what their type checker sees of it."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from vidsr.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NAME = "vidsr-upscale"
EXTRAS = frozenset(PYPROJECT["project"]["optional-dependencies"])
# What continuous integration runs is of use in the repository only; the other is about git itself.
NOT_IN_THE_SOURCES = {".ci/run"}

STRANGER = """\
from fractions import Fraction
from pathlib import Path

import vidsr
from vidsr.errors import SourceError
from vidsr.events import Event, Progress


def show(event: Event) -> None:
    if isinstance(event, Progress):
        print(event.num_frames_done, event.seconds_left)


options = vidsr.UpscaleOptions(scale=Fraction(2), model="lanczos", fit="before")
try:
    result: vidsr.Result = vidsr.upscale_video(Path("clip.mp4"), "clip_2x.mp4", options, on_event=show)
    print(result.target.name, result.num_frames + 1)
except SourceError as error:
    root: vidsr.VidsrError = error
upscaler = vidsr.Upscaler(options)
print(upscaler.upscale_image, vidsr.__version__.upper())
"""
# A line that is wrong, and mypy's word for it.
MISTAKES = [
    ("vidsr.UpscaleOptions(modle='lanczos')", "call-arg"),
    ("vidsr.UpscaleOptions(fit='inside')", "arg-type"),
    ("options.crf = 20", "misc"),
    ("vidsr.upscale_video('clip.mp4', on_events=show)", "call-arg"),
    ("vidsr.upscale_video('clip.mp4', options)", "arg-type"),
    ("vidsr.upscale_video('clip.mp4', on_event='show')", "arg-type"),
    ("result.frames", "attr-defined"),
    ("upscaler.upscale_picture", "attr-defined"),
    ("vidsr.SourceError", "attr-defined"),
    ("Progress(done=1)", "call-arg"),
]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, unpacked where nothing else is."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("sdist")
    build(ROOT, "sdist", folder)
    with tarfile.open(folder / f"vidsr_upscale-{__version__}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"vidsr_upscale-{__version__}"


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the source distribution, without a compiler."""
    folder = tmp_path_factory.mktemp("wheel")
    said = build(sdist, "wheel", folder, CXX="no-compiler-of-this-name")
    assert "the winograd engine was not built, PyTorch is used instead: no-compiler-of-this-name cannot be run" in said
    (path,) = folder.iterdir()
    return path


def build(source, target, folder, **settings):
    """What hatchling said; it needs no network, as it is the one of this environment."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(
        command, cwd=source, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_sources_are_whole(sdist):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what belongs to the sources is what git knows")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.splitlines() if (ROOT / name).exists()}
    assert tracked - files_of(sdist) == NOT_IN_THE_SOURCES


def test_sources_hold_nothing_that_was_built(sdist):
    suffixes = {Path(name).suffix for name in files_of(sdist)}
    assert not suffixes & {".so", ".pyc", ".o", ".whl", ".gz"}


def test_wheel_holds_the_package_and_its_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"vidsr/{path.relative_to(ROOT / 'vidsr').as_posix()}" for path in (ROOT / "vidsr").rglob("*.py")}
    recipes = {f"vidsr/pipelines_data/{path.name}" for path in (ROOT / "pipelines").glob("*.toml")}
    about = {name for name in names if name.startswith(f"vidsr_upscale-{__version__}.dist-info/")}
    assert recipes
    assert names - about == modules | recipes | {"vidsr/py.typed"}
    assert {Path(name).name for name in about} == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}


def test_wheel_without_kernels_is_for_every_machine(wheel):
    assert wheel.name == f"vidsr_upscale-{__version__}-py3-none-any.whl"


def test_wheel_says_what_it_is(wheel):
    about = zipfile.ZipFile(wheel).read(f"vidsr_upscale-{__version__}.dist-info/METADATA").decode()
    told = email.message_from_string(about)
    assert (told["Name"], told["Version"], told["License-Expression"]) == (NAME, __version__, "BSD-3-Clause")
    assert told["Author"] and told["Keywords"] and told["Summary"]
    assert told["License-File"] == "LICENSE"
    assert set(told.get_all("Provides-Extra")) == EXTRAS
    assert told.get_payload().lstrip().startswith("# vidsr")
    trove = pytest.importorskip("trove_classifiers")
    classifiers = told.get_all("Classifier")
    assert "Typing :: Typed" in classifiers
    assert set(classifiers) <= trove.classifiers


def test_the_version_has_a_place_in_the_changelog():
    headings = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert __version__ in headings


def test_extras_are_named_as_they_can_be_installed():
    """In messages by the name of the distribution, on pages also as `.` in a clone."""
    pages = [*ROOT.glob("*.md"), *files(ROOT / "docs"), *files(ROOT / "examples"), *files(ROOT / "benchmarks")]
    found = [
        (path.relative_to(ROOT).as_posix(), where, listed)
        for path in [*pages, *files(ROOT / "vidsr")]
        for where, listed in re.findall(r"(?<![\w-])(vidsr|vidsr-upscale|\.)\[([a-z,]+)\]", path.read_text("utf-8"))
    ]
    for path, where, listed in found:
        assert set(listed.split(",")) <= EXTRAS, path
        assert where == NAME or (where == "." and not path.startswith("vidsr/")), path
    assert {listed for path, _, listed in found if path.startswith("vidsr/")} == {"openvino", "spandrel", "webp"}
    assert {listed for path, _, listed in found if path == "README.md"} >= {"openvino", "spandrel", "webp"}


def files(folder):
    return [path for path in folder.rglob("*") if path.suffix in (".py", ".md")]


@pytest.fixture(scope="module")
def checked(wheel, tmp_path_factory):
    """mypy's words, by line, on a file in a folder of its own; the package is one that is installed elsewhere."""
    pytest.importorskip("mypy", reason="comes with the linters")
    folder = tmp_path_factory.mktemp("stranger")
    python = bare_environment(folder / "env")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages_of(folder / "env"))

    def check(text):
        (folder / "script.py").write_text(text)
        command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "script.py"]
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
        done = subprocess.run([*command, "--no-pretty"], cwd=folder, env=kept, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        return [line for line in done.stdout.splitlines() if ": error: " in line]

    return check


def bare_environment(folder):
    """The Python of a new environment that has nothing in it, not even pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def packages_of(environment):
    (folder,) = environment.rglob("site-packages")
    return folder


def test_a_strangers_script_passes_the_type_checker(checked):
    assert checked(STRANGER) == []


def test_a_strangers_mistakes_are_found(checked):
    first = STRANGER.count("\n") + 1
    said = checked(STRANGER + "".join(f"{line}\n" for line, _ in MISTAKES))
    found = {(int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]")) for line in said}
    assert found == {(first + number, code) for number, (_, code) in enumerate(MISTAKES)}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32" or shutil.which("g++") is None, reason="no g++ on this machine")
def test_what_was_built_from_the_sources_upscales(sdist, tmp_path):
    """Installed by pip where vidsr's own sources are not seen, only what it depends on."""
    pytest.importorskip("pip")
    build(sdist, "wheel", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-any" not in wheel.name
    environment = tmp_path / "env"
    python = bare_environment(environment)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet"]
    subprocess.run([*pip, str(wheel)], check=True)
    # The paths that this environment adds by .pth files, such as that of an editable vidsr, are not taken over.
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages_of(environment) / "dependencies.pth").write_text("\n".join(dependencies))

    def run(*command):
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        settings = {"VIDSR_OFFLINE": "1", "VIDSR_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=kept | settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    vidsr = str(python.parent / "vidsr")
    assert str(packages_of(environment)) in run(str(python), "-c", "import vidsr; print(vidsr.__file__)")
    for command in PYPROJECT["tool"]["cibuildwheel"]["test-command"]:
        run("sh", "-c", f'PATH="{python.parent}:$PATH"; {command}')
    assert re.search(r"engine +winograd +yes", run(vidsr, "doctor"))
    shutil.copy(ROOT / "examples" / "clip.mp4", tmp_path)
    assert "engine winograd" in run(vidsr, "upscale", "clip.mp4", "--scale", "2")
    assert "libx265 yuv420p10le" in run(vidsr, "upscale", "clip.mp4", "--recipe", "anime", "--overwrite")
    assert (tmp_path / "clip_2x.mp4").exists()
