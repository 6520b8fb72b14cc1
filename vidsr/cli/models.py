"""`vidsr models`: list, info, fetch, path and convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.exits import exits
from vidsr.cli.machine_output import json_line
from vidsr.cli.progress import make_drawer
from vidsr.errors import TargetExistsError, UsageError, WeightsError
from vidsr.models import weights_store
from vidsr.models.catalogue import CATALOGUE, ModelEntry, find_model

app = typer.Typer(help="The networks: which there are, where their weights lie.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="A model's name, or the path of a checkpoint.", show_default=False)]


@app.command("list")
@exits
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List all models and where their weights are."""
    if as_json:
        print(json_line({"kind": "models", "models": [_values(entry) for entry in CATALOGUE]}))
        return
    for entry in CATALOGUE:
        scale = f"{entry.scale}x" if entry.scale else "any"
        print(f"{entry.name:<28} {scale:<4} {_whereabouts(entry):<14} {entry.summary}")


@app.command("info")
@exits
def info(name: _Name) -> None:
    """Show one model: its source, its file, its architecture."""
    found = find_model(name)
    if isinstance(found, ModelEntry):
        print(f"name        {found.name}\nsummary     {found.summary}")
        if found.remote is not None:
            print(f"license     {found.license}\nurl         {found.remote.url}")
            print(f"size        {found.remote.size_bytes} bytes\nsha256      {found.remote.sha256}")
        if found.kind == "classical":
            return
    weights = _weights_here(found)
    if weights is None:
        print(f"weights     not on this machine; `vidsr models fetch {name}` downloads them")
        return
    from vidsr.models.loading import load_network  # torch takes seconds to import

    network = load_network(weights)
    print(f"weights     {weights}")
    print(f"network     {type(network).__name__}, scale {network.scale}, {network.num_parameters} parameters")
    if network.flops_per_input_pixel is not None:
        print(f"work        {network.flops_per_input_pixel / 1e6:.3f} MFLOP per input pixel")
    print(f"reach       {network.reach_px} input pixels")


@app.command("fetch")
@exits
def fetch(name: _Name) -> None:
    """Download a model's official weights into the cache, verified by SHA-256."""
    found = find_model(name)
    if not isinstance(found, ModelEntry) or found.remote is None:
        raise UsageError(f"{name} has nothing to download")
    drawer = make_drawer(as_json=False)
    try:
        path = weights_store.fetch(found, drawer)
    finally:
        drawer.close()
    print(path)


@app.command("path")
@exits
def path(name: _Name) -> None:
    """Print where a model's weights lie on this machine."""
    found = find_model(name)
    weights = _weights_here(found)
    if weights is None:
        raise WeightsError(f"the weights of {name} are not on this machine; `vidsr models fetch {name}` downloads them")
    print(weights)


@app.command("convert")
@exits
def convert(
    name: _Name,
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.", show_default=False)],
) -> None:
    """Convert any checkpoint that vidsr reads to safetensors."""
    from vidsr.models.families import FAMILIES, family_of  # torch takes seconds to import
    from vidsr.models.loading import load_network, save_safetensors

    if output.suffix != ".safetensors":
        raise UsageError(f"{output}: the output's suffix must be .safetensors")
    if output.exists():
        raise TargetExistsError(f"{output}: is already there; choose another name")
    weights = _weights_here(find_model(name))
    if weights is None:
        raise WeightsError(f"{name} has no weights on this machine; `vidsr models fetch {name}` downloads them")
    network = load_network(weights)
    if family_of(network) is None:
        raise UsageError(f"{name}: only {' and '.join(family.name for family in FAMILIES)} are converted")
    save_safetensors(network, output)
    print(f"wrote {output}: {type(network).__name__}, {network.num_parameters} parameters")


def _values(entry: ModelEntry) -> dict[str, object]:
    located = weights_store.locate(entry) if entry.kind == "network" else None
    return {
        "name": entry.name,
        "kind": entry.kind,
        "scale": entry.scale,
        "summary": entry.summary,
        "weights": located and located.path,
        "origin": located and located.origin,
    }


def _weights_here(found: ModelEntry | Path) -> Path | None:
    if isinstance(found, Path):
        return found
    if found.kind == "classical":
        raise UsageError(f"{found.name} is a resampling kernel and has no weights")
    located = weights_store.locate(found)
    return None if located is None else located.path


def _whereabouts(entry: ModelEntry) -> str:
    if entry.kind == "classical":
        return "built in"
    located = weights_store.locate(entry)
    return "to download" if located is None else {"package": "installed", "cache": "downloaded"}[located.origin]
