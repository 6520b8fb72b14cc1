"""Everything that can only be known on a GPU, in one call of eight minutes: is it right, how fast, what holds it up.

    python benchmarks/gpu.py --out gpu-report

measures part after part: the tests that need a GPU; what the device does at most; half precision against fp32; each
convolution alone; the networks alone; own kernels for dense blocks; whole runs; and where the device's time goes.
`--part`, `--case`, `--seconds` and `--frames` take less of it. report.json and report.md in the folder are written anew
after each step: what ends the call early takes nothing away. What finds no time, fails, or cannot be measured here is
named with its reason. The exit code is 0 if all that was asked for is met, 1 if not, 75 on a machine without a GPU.
Nothing is downloaded: speeds are taken with random weights, which are as fast as trained ones.

    python benchmarks/gpu.py --tables gpu-report/report.json --write docs/gpus.md

makes the page's tables of one report or of several.

    python benchmarks/gpu.py --out try --device cpu --tiny

goes the same way with a tiny network on the CPU, to try this script; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from gpu_parts import blocks, ceilings, gate, gpu_tests, layers, network, profiles, runs
from gpu_parts.bench import Bench
from gpu_parts.cases import CASES, TINY_CASES
from gpu_parts.report import Report, machine_of, pages_text
from gpu_parts.steps import Part, Step, failure, outcome

from vidsr.devices.names import resolve_device
from vidsr.measure.tables import write_block

# Whether it is right comes first. What is compiled comes last: it may take all the time that is left.
PARTS: tuple[Part, ...] = (
    gpu_tests.PART,
    ceilings.PART,
    gate.PART,
    layers.PART,
    network.PART,
    runs.PART,
    profiles.PART,
    network.COMPILED,
    blocks.PART,
)
NO_GPU = 75
SECONDS, TINY_SECONDS = 3.0, 0.1


def main() -> int:
    began = time.monotonic()
    parser = _parser()
    given = parser.parse_args()
    if given.tables is not None or given.write is not None:
        return _show_tables(given.tables or [], given.write)
    cases = TINY_CASES if given.tiny else CASES
    if given.device == "cpu" and not given.tiny:
        parser.error("--device cpu would take hours; it is for --tiny")
    unknown = sorted(set(given.case or ()) - {case.name for case in cases})
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(case.name for case in cases)}")
    if given.device != "cpu" and not torch.cuda.is_available():
        print(f"no GPU: torch {torch.__version__} sees none; nothing was measured", file=sys.stderr)
        return NO_GPU
    device = resolve_device(given.device)
    wanted = [part for part in PARTS if given.part is None or part.name in given.part]
    wanted = [part for part in wanted if not (given.no_tests and part is gpu_tests.PART)]
    with tempfile.TemporaryDirectory() as folder:
        given.out.mkdir(parents=True, exist_ok=True)
        bench = Bench(
            device=device,
            cases=tuple(case for case in cases if given.case is None or case.name in given.case),
            seconds=given.seconds or (TINY_SECONDS if given.tiny else SECONDS),
            num_frames=given.frames,
            ends_at=began + 60 * given.minutes,
            folder=Path(folder),
            out=given.out,
            is_tiny=given.tiny,
        )
        report = Report(given.out, PARTS, machine_of(device), sys.argv[1:])
        measure(bench, wanted, report)
    missing = report.complete()
    print((given.out / "report.md").read_text(encoding="utf-8"))
    return 1 if missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="folder of the report")
    names = [part.name for part in PARTS]
    parser.add_argument("--part", action="append", choices=names, help="one of the parts; may be given several times")
    parser.add_argument("--no-tests", action="store_true", help="all parts but the tests")
    parser.add_argument("--case", action="append", help="one of the networks; may be given several times")
    parser.add_argument(
        "--seconds", type=_positive, help=f"that one measurement takes, about; {SECONDS:g} unless given"
    )
    parser.add_argument("--frames", type=int, help="of whole runs; as many as take --seconds unless given")
    parser.add_argument("--minutes", type=float, default=8.0, help="what does not end in this time is not begun")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true", help="a tiny network, to try this script")
    parser.add_argument("--tables", type=Path, nargs="*", metavar="REPORT", help="show reports instead of measuring")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page whose block is made anew of these reports")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be more than 0")
    return value


def _show_tables(paths: Sequence[Path], page: Path | None) -> int:
    text = pages_text([json.loads(path.read_text(encoding="utf-8")) for path in paths], PARTS)
    print(text)
    if page is not None:
        write_block(page, "gpu", text)
    return 0


def measure(bench: Bench, parts: Sequence[Part], report: Report) -> None:
    """All steps of all parts, one after another, each in the report before the next begins."""
    for part in parts:
        steps = iter(part.steps(bench))
        while True:
            try:
                step: Step | None = next(steps, None)
            except Exception as error:  # noqa: BLE001, the other parts go on
                report.add(part.name, {"name": "its steps", "one_of": "", "met": None, **failure(error)})
                break
            if step is None:
                break
            report.begin(part.name, step.name)
            found = outcome(step, bench)
            report.add(part.name, found)
            said = part.line(found["figures"]) if found["state"] == "done" else f"{found['state']}: {found['why']}"
            print(f"{part.name}, {step.name}: {said}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
