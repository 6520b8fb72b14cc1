"""Flags made from what the options say of themselves."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from vidsr.cli.arguments import takes_options
from vidsr.cli.exits import exits
from vidsr.cli.main import app
from vidsr.options.upscale import SPECS, UpscaleOptions


def command_of(*names):
    """A program of one command, and what it was given."""
    program, seen = typer.Typer(), []

    @exits
    @takes_options(*names)
    def command(*, what: str, options: UpscaleOptions, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        seen.append((what, options, loud))

    program.command()(command)
    return program, seen


def test_a_command_gets_what_was_given_as_options():
    program, seen = command_of("scale", "model", "strict", "encoder_options")
    arguments = ["w", "-s", "3/2", "--strict", "--encoder-option", "g=5", "--encoder-option", "tune=film"]
    assert CliRunner().invoke(program, [*arguments, "--loud"]).exit_code == 0
    options = UpscaleOptions(scale=Fraction(3, 2), strict=True, encoder_options={"g": 5, "tune": "film"})
    assert seen == [("w", options, True)]
    assert CliRunner().invoke(program, ["w", "--no-strict", "--recipe", "anime"]).exit_code == 0
    assert seen[1][1] != UpscaleOptions() and not seen[1][1].strict
    assert CliRunner().invoke(program, ["w", "--crf", "5"]).exit_code == 2, "not one of its options"


@pytest.mark.parametrize("name", SPECS)
def test_every_option_has_a_flag_of_its_own(name):
    spec = SPECS[name]
    flag = spec.flag or f"--{name.replace('_', '-')}"
    output = CliRunner().invoke(app, ["upscale", "--help"]).output
    assert f"{flag} " in output or f"{flag}, " in output or f"{flag}/--no-" in output
    assert "".join(spec.meaning.split()) in "".join(output.split()), "wherever lines are broken"


def test_a_value_of_the_wrong_form_names_the_command_line():
    program, seen = command_of()
    result = CliRunner().invoke(program, ["w", "--scale", "two"])
    assert result.exit_code == 2 and "command line: scale is 'two'; write a number" in result.stderr
    assert seen == []
