"""The tests can be collected where nothing is installed but what vidsr runs on, pytest and Pillow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PYPROJECT = TESTS.parent / "pyproject.toml"


def importable():
    """Top-level names that any module of the tests may import at once."""
    requirements = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    packages = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in requirements}
    packages.remove("decord2")  # vidsr does without until a file asks for it
    return sys.stdlib_module_names | packages | {"vidsr", "pytest", "PIL"} | {path.stem for path in TESTS.rglob("*.py")}


def imported_at_once(tree):
    """Top-level names that a module imports when it is itself imported."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def test_no_module_needs_more_at_once():
    allowed, modules = importable(), sorted(TESTS.rglob("*.py"))
    wrong = {
        f"{path.relative_to(TESTS)}: {name}"
        for path in modules
        for name in set(imported_at_once(ast.parse(path.read_text()))) - allowed
    }
    assert not wrong, "import it in the test or fixture that needs it, by pytest.importorskip"
    assert len(modules) > 100


@pytest.mark.parametrize(
    "text",
    [
        "import imageio_ffmpeg",
        "from ncnn import Net",
        "import numpy, decord.bridge as b",
        "try:\n    import skimage\nexcept ImportError:\n    pass",
        "class A:\n    from openvino.runtime import Core",
    ],
)
def test_what_would_be_missing_is_found(text):
    assert set(imported_at_once(ast.parse(text))) - importable()


def test_what_waits_for_a_test_is_let_be():
    assert not list(imported_at_once(ast.parse("def test():\n    import ncnn\n    from mypy import api")))
