"""Compiles native/winograd/ when vidsr is built or installed; without a C++ compiler all else is installed."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "vidsr/engines/_winograd.so"
# Everything but the kernels is compiled once, for any processor of the family.
_ONCE = ("dispatch", "pool", "weights", "network", "interface")
_X86 = frozenset({"x86_64", "amd64", "i686", "i386"})


class NativeHook(BuildHookInterface[Any]):
    """Puts the compiled kernels into wheels and beside the sources of an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        library = root / LIBRARY
        library.unlink(missing_ok=True)  # of another source or machine
        reason = compile_library(root / "native" / "winograd", library)
        if reason is not None:
            self.app.display_warning(f"vidsr: the winograd engine was not built, PyTorch is used instead: {reason}")
            return
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        # Plain C, no Python in it: one library for every Python of a platform.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(source: Path, library: Path) -> str | None:
    """Compile the shared library; why it could not be done, or None.

    CXX and CXXFLAGS are respected, as is ARCHFLAGS on macOS.
    """
    compiler = shlex.split(os.environ.get("CXX", "clang++" if sys.platform in ("darwin", "win32") else "g++"))
    flags = shlex.split(os.environ.get("CXXFLAGS", "")) + shlex.split(os.environ.get("ARCHFLAGS", ""))
    position = [] if sys.platform == "win32" else ["-fPIC", "-fvisibility=hidden"]
    common = [*compiler, "-std=c++17", "-O3", *position, *flags]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for name, unit, extra in _units():
            objects.append(str(Path(folder) / f"{name}.o"))
            command = [*common, *extra, "-c", str(source / f"{unit}.cpp"), "-o", objects[-1]]
            reason = _run(command)
            if reason is not None:
                return reason
        threads = [] if sys.platform == "win32" else ["-pthread"]
        return _run([*compiler, *flags, "-shared", *objects, "-o", str(library), *threads])


def _units() -> list[tuple[str, str, list[str]]]:
    """(name of the object, source, flags) of all that is compiled."""
    # GCC remarks that vectors of 64 bytes are passed otherwise where AVX-512 is missing; none are passed at all.
    quiet = ["-Wno-psabi"]
    units = [("portable", "kernels", [*quiet, "-DVIDSR_KERNELS=portable"])]
    is_x86 = platform.machine().lower() in _X86 and "arm64" not in os.environ.get("ARCHFLAGS", "")
    x86 = ["-DVIDSR_X86"] if is_x86 else []
    if is_x86:
        avx512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
        units.append(("avx512", "kernels", [*quiet, *avx512, "-DVIDSR_KERNELS=avx512"]))
        units.append(("avx2", "kernels", [*quiet, "-mavx2", "-mfma", "-DVIDSR_KERNELS=avx2"]))
    return units + [(name, name, x86) for name in _ONCE]


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]} cannot be run ({error.strerror}); a C++17 compiler is needed, GCC or Clang"
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        return f"{shlex.join(command)}: {said}"
    return None
