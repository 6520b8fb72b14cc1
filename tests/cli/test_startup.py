"""Commands that need no network start without torch, which alone takes seconds to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vidsr

_RUN = """
import sys
from vidsr.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
assert "torch" not in sys.modules
"""


def run(*arguments):
    return subprocess.run([sys.executable, "-c", _RUN, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["upscale", "--help"], ["models", "list"], ["probe", "{clip}"], ["verify", "{clip}", "{clip}"]],
)
def test_commands_without_a_network_start_without_torch(make_clip, arguments):
    clip = make_clip(frames=3)
    ended = run(*(argument.format(clip=clip.path) for argument in arguments))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_what_the_package_offers_is_there_when_asked_for():
    assert vidsr.Upscaler.__module__ == "vidsr.inference.upscaler"
    assert {name: getattr(vidsr, name) for name in vidsr.__all__}.keys() >= {"Result", "upscale_video"}
    with pytest.raises(AttributeError, match="no attribute 'upscaled'"):
        vidsr.upscaled  # noqa: B018
