"""Runs cases of test_fuzz.py in a process of its own, one after the other, each under limits of time and memory.

Called with a folder of whole files, the first case, the one after the last, and seconds for each case. It says on
standard output what it begins and how that ended; what it then does not say is how the process died.
"""

from __future__ import annotations

import faulthandler
import io
import json
import random
import shutil
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import vidsr  # noqa: F401, before torch, whose threads it tells how to wait

import torch  # isort: skip

from vidsr.errors import VidsrError
from vidsr.judge.verify import verify
from vidsr.media.read.source import probe
from vidsr.media.write.matroska import VideoFields, write_fields
from vidsr.models.loading import load_network
from vidsr.options.recipes import load_recipe
from vidsr.options.upscale import UpscaleOptions
from vidsr.run.prepare import prepare
from vidsr.run.upscale import Run

MORE_BYTES = 3 << 30  # of address space, beyond what an idle process has
WEIGHTS = (".safetensors", ".pth", ".param", ".bin")
EDGES = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x0000FFFF)


def mutate(data, rng):
    """Some bytes other than they were; most often where the headers and the tables are."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        if not data:
            break
        reach = rng.choice((64, 1024, len(data)))
        at = min(rng.randrange(reach), len(data) - 1)
        if rng.random() < 0.3:
            at = len(data) - 1 - at
        length = rng.choice((1, 4, 16, 300))
        match rng.choice(("byte", "byte", "bit", "edge", "edge", "zero", "noise", "cut out", "twice", "end")):
            case "byte":
                data[at] = rng.randrange(256)
            case "bit":
                data[at] ^= 1 << rng.randrange(8)
            case "edge":
                data[at : at + 4] = rng.choice(EDGES).to_bytes(4, rng.choice(("big", "little")))
            case "zero":
                data[at : at + length] = bytes(length)
            case "noise":
                data[at : at + length] = rng.randbytes(length)
            case "cut out":
                del data[at : at + length]
            case "twice":
                data[at:at] = data[at : at + length]
            case "end":
                del data[at + 1 :]
    return bytes(data)


def damaged(whole, rng):
    data = whole.read_bytes()
    if rng.random() < 0.1:  # nothing but noise behind a head, or even that
        return data[: rng.choice((0, 4, 12, 40))] + rng.randbytes(rng.choice((0, 1, 100, 5000)))
    return mutate(data, rng)


def upscale(path, folder):
    target = folder / "out.mkv"
    options = UpscaleOptions(model="nearest", device="cpu", stop=3, preset="ultrafast")
    Run(prepare(path, target, options, overwrite=True)).execute()


def patch(path):
    file = io.BytesIO(path.read_bytes())
    try:
        write_fields(file, "t", VideoFields(sample_aspect_ratio=Fraction(64, 45)))
    except ValueError:
        assert file.getvalue() == path.read_bytes(), "refused, but changed"


def act(path, whole, folder, rng):
    """Have vidsr do something with a damaged file; the name of what."""
    if path.suffix in WEIGHTS:
        if path.suffix in (".param", ".bin"):
            other = ".bin" if path.suffix == ".param" else ".param"
            shutil.copy(whole.with_suffix(other), path.with_suffix(other))
        load_network(path)
    elif path.suffix == ".toml":
        load_recipe(path)
    elif whole.name.startswith("patch"):
        patch(path)
    else:
        action = rng.choice(("probe", "verify", "upscale", "upscale"))
        if action == "probe":
            probe(path)
        elif action == "verify":
            verify(whole, path, quick=rng.random() < 0.5)
        else:
            upscale(path, folder)


def run_case(number, wholes, folder):
    rng = random.Random(number)
    whole = wholes[number % len(wholes)]
    path = folder / f"case{whole.suffix}"
    path.write_bytes(damaged(whole, rng))
    say(case=number, file=whole.name)
    try:
        act(path, whole, folder, rng)
    except VidsrError as error:
        assert str(error), "an error without a word"
        return "refused"
    return "done"


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def limit_memory():
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is not None:
        num_bytes = pages * resource.getpagesize() + MORE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(wholes, first, stop, seconds):
    torch.set_num_threads(1)
    wholes = sorted(Path(wholes).iterdir())
    limit_memory()
    for number in range(first, stop):
        faulthandler.dump_traceback_later(seconds, exit=True)
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            say(case=number, outcome=run_case(number, wholes, Path(folder)))
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    faulthandler.enable()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
