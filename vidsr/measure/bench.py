"""The cases of a benchmark, and running them: each in a process of its own, so that no memory is another's."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from vidsr.devices.names import resolve_device
from vidsr.errors import UsageError, VidsrError
from vidsr.measure.case import measure
from vidsr.measure.figures import Case, Figures
from vidsr.models import weights_store
from vidsr.models.catalogue import CATALOGUE
from vidsr.options.upscale import UpscaleOptions
from vidsr.options.values import parse_size

# Which sizes a network is measured at where none are named; a frame should take a second or two at most.
_QUICK = {
    "cpu": {"realesr-animevideov3": ("320x180",), "RealESRGAN_x4plus_anime_6B": ("160x90",)},
    "cuda": {"realesr-animevideov3": ("1280x720",), "RealESRGAN_x4plus": ("640x360",)},
}
_COMPACT_SIZES = {"cpu": ("160x90", "320x180", "640x360"), "cuda": ("640x360", "1280x720", "1920x1080")}
_RRDB_SIZES = {"cpu": ("160x90",), "cuda": ("640x360", "1280x720", "1920x1080")}
_OTHER_SIZES = {"cpu": ("320x180",), "cuda": ("640x360",)}  # of models that are in no table


def make_cases(
    axes: Mapping[str, Sequence[str]],
    sizes: Sequence[str] = (),
    *,
    clip: Path | None = None,
    is_full: bool = False,
    seconds: float = 9.0,
    num_rounds: int = 3,
) -> list[Case]:
    """Every combination of what is to be compared.

    Args:
        axes: names of `UpscaleOptions`, each with its values as text, such as {"model": ["nearest", "lanczos"]}.
            Without models: a few that need no download, by the device.
        sizes: input sizes such as 320x180; none: by model and device.
        clip: a file instead of the drawn clip, with its own size.
        is_full: all models on this machine and more sizes.
        seconds, num_rounds: see `Case`.

    Raises:
        UsageError: a value that does not parse, an odd size, a clip and sizes.
        DeviceError: no such device.
    """
    if clip is not None and sizes:
        raise UsageError(f"{clip} has its own size; leave the sizes out")
    others = {name: values for name, values in axes.items() if name not in ("model", "device") and values}
    cases = []
    for device in axes.get("device") or ("auto",):
        kind = resolve_device(device).type
        table = _full_table(kind) if is_full else _QUICK[kind]
        for model in axes.get("model") or table:
            model_sizes = (None,) if clip is not None else sizes or table.get(model, _OTHER_SIZES[kind])
            for size, values in itertools.product(model_sizes, itertools.product(*others.values())):
                mapping = {**dict(zip(others, values, strict=True)), "model": model, "device": device}
                options = UpscaleOptions.from_mapping(mapping, origin="bench")
                parsed = None if size is None else _even(size)
                cases.append(Case(options=options, size=parsed, clip=clip, seconds=seconds, num_rounds=num_rounds))
    return cases


def _full_table(kind: str) -> dict[str, tuple[str, ...]]:
    """All networks whose weights are on this machine."""
    here = [entry.name for entry in CATALOGUE if entry.kind == "network" and weights_store.locate(entry) is not None]
    return {name: _RRDB_SIZES[kind] if name.startswith("RealESRGAN") else _COMPACT_SIZES[kind] for name in here}


def _even(text: str) -> tuple[int, int]:
    width, height = parse_size(text)
    if width % 2 or height % 2 or not width or not height:
        raise UsageError(f"size is {text}; the clip that is drawn has 4:2:0 chroma, so both sides must be even")
    return width, height


def run_case(case: Case) -> Figures | VidsrError:
    """Measure a case in a process of its own; what keeps it from running is returned and does not stop the others."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="vidsr-bench-") as folder:
        process = context.Process(target=_measure_and_send, args=(case, Path(folder), sender), daemon=True)
        process.start()
        sender.close()
        try:
            result: Figures | VidsrError = receiver.recv()
        except EOFError:
            process.join()
            return VidsrError(
                f"{case}: the process that measured it ended with code {process.exitcode}; "
                "-9 means killed, most often for lack of memory: try a smaller size"
            )
        finally:
            process.terminate()
            process.join()
    return result


def _measure_and_send(case: Case, folder: Path, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    try:
        sender.send(measure(case, folder))
    except VidsrError as error:
        sender.send(error)
    except Exception as error:  # noqa: BLE001, told by the parent, which has but the exit code otherwise
        sender.send(VidsrError(f"{case}: unexpected {type(error).__name__}: {error}"))
