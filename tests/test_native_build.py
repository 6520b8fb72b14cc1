"""What installing does with the kernels: compiles them where it can, and says why where it cannot."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")


@pytest.fixture
def build(monkeypatch):
    """hatch_build.py as a module; what it takes from hatchling, which is there while building only, is stood in for."""
    hatchling = types.ModuleType("hatchling.builders.hooks.plugin.interface")

    class Hook:
        def __class_getitem__(cls, config):
            return cls

    hatchling.BuildHookInterface = Hook
    parts = hatchling.__name__.split(".")
    for end in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(parts[end - 1]))
    monkeypatch.setitem(sys.modules, hatchling.__name__, hatchling)
    for name in ("CXX", "CXXFLAGS", "ARCHFLAGS"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(build, tmp_path):
    """Files of the names that are compiled, with next to nothing in them."""
    folder = tmp_path / "native" / "winograd"
    folder.mkdir(parents=True)
    for _, unit, _ in build._units():
        (folder / f"{unit}.cpp").write_text("")
    (folder / "interface.cpp").write_text('extern "C" __attribute__((visibility("default"))) int six() { return 6; }')
    return folder


def installed(build, root):
    """What the hook of an installation in that folder hands on and warns of."""
    (root / build.LIBRARY).parent.mkdir(parents=True)
    (root / build.LIBRARY).write_text("of another source")
    hook, warnings = build.NativeHook(), []
    hook.root, hook.app = str(root), types.SimpleNamespace(display_warning=warnings.append)
    data = {"artifacts": [], "pure_python": True}
    hook.initialize("standard", data)
    return data, warnings


@needs_compiler
def test_a_wheel_with_kernels_is_for_its_platform_and_every_python(build, sources, tmp_path):
    data, warnings = installed(build, tmp_path)
    assert not warnings
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert data == {"artifacts": [build.LIBRARY], "pure_python": False, "tag": f"py3-none-{platform}"}
    assert ctypes.CDLL(str(tmp_path / build.LIBRARY)).six() == 6


@pytest.mark.skipif(sys.platform == "win32", reason="needs scripts that can be run")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "CXX cannot be run (No such file or directory); a C++17 compiler is needed, GCC or Clang"),
        ("exit 1", "kernels.cpp -o "),
        ("exit 1", ": exit code 1"),
        ("echo 'error: no -std=c++17' >&2; echo more >&2; exit 4", ": error: no -std=c++17"),
        ("exit 0", None),
    ],
)
def test_without_a_compiler_the_rest_is_installed(build, sources, tmp_path, monkeypatch, script, reason):
    compiler = tmp_path / "CXX"
    if script is not None:
        compiler.write_text(f"#!/bin/sh\n{script}\n")
        compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    data, warnings = installed(build, tmp_path)
    if reason is None:
        assert data["pure_python"] is False
        return
    assert data == {"artifacts": [], "pure_python": True}
    (warning,) = warnings
    assert "the winograd engine was not built, PyTorch is used instead: " in warning and reason in warning
    assert not (tmp_path / build.LIBRARY).exists()


def test_flags_of_the_environment_are_given_to_the_compiler(build, sources, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setenv("CXX", "ccache my++")
    monkeypatch.setenv("CXXFLAGS", "-g '-DNAME=two words'")
    monkeypatch.setattr(build, "_run", commands.append)
    assert build.compile_library(sources, tmp_path / "out.so") is None
    assert len(commands) == len(build._units()) + 1
    assert all(command[:2] == ["ccache", "my++"] for command in commands)
    assert all("-g" in command and "-DNAME=two words" in command for command in commands)
    assert "-shared" in commands[-1] and str(tmp_path / "out.so") in commands[-1]


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("nm") is None, reason="reads what nm says on Linux")
def test_kernels_leave_no_function_that_another_unit_could_take(tmp_path):
    """Compiled for several instruction sets, of one name the linker would take any."""
    command = ["g++", "-std=c++17", "-O0", "-Wno-psabi", "-DVIDSR_KERNELS=portable", "-c"]
    kernels = ROOT / "native" / "winograd" / "kernels.cpp"
    subprocess.run([*command, str(kernels), "-o", str(tmp_path / "kernels.o")], check=True)
    names = subprocess.run(["nm", "-C", str(tmp_path / "kernels.o")], capture_output=True, text=True, check=True)
    seen = [line.split(maxsplit=2)[-1] for line in names.stdout.splitlines() if " D " in line or " R " in line]
    others = [line for line in names.stdout.splitlines() if line.split(maxsplit=2)[-2] not in "DRtrdb"]
    assert seen == ["vidsr::portable"]
    assert not others
