"""A network compiled by torch.compile for one shape, in a process of its own, which can be stopped in time.

    python -m gpu_parts.compiled --case x4plus --device cuda:0 --batch 1 --seconds 2

prints what came of it as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import torch

from gpu_parts import processes
from gpu_parts.cases import CASES, TINY_CASES, random_network, real_frame
from gpu_parts.timing import stretches
from vidsr.devices.names import settle
from vidsr.engines.gate import closeness
from vidsr.engines.torch import TorchEngine
from vidsr.models.rrdb.network import ResidualDenseBlock

_LEAST_PSNR_DB = 50.0  # to the same engine not compiled; it rounds less often, which is no error


def in_a_process(
    case_name: str,
    device: torch.device,
    batch: int,
    seconds: float,
    limit_seconds: float,
    *,
    by_blocks: bool,
    backend: str = "inductor",
) -> dict[str, Any] | None:
    """`compiling_seconds`, until the first result is there, and `seconds` of a call in each of five stretches.

    Returns:
        None where it took longer than the limit, and was stopped.

    Raises:
        RuntimeError: it failed; the message is the end of what was said.
    """
    arguments = ["-m", "gpu_parts.compiled", "--case", case_name, "--device", str(device)]
    arguments += ["--batch", str(batch), "--seconds", str(seconds), "--backend", backend]
    said = processes.python([*arguments, *(["--by-blocks"] if by_blocks else [])], limit_seconds)
    if said.was_stopped:
        return None
    found: dict[str, Any] = said.lines[-1]
    return found


def measure(
    case_name: str, device: torch.device, batch: int, seconds: float, *, by_blocks: bool, backend: str
) -> dict[str, Any]:
    """Args: by_blocks: compile one dense block, which all of them share, and leave the rest as it is."""
    case = next(case for case in (*CASES, *TINY_CASES) if case.name == case_name)
    settle(device)
    torch.backends.cudnn.benchmark = True
    network = random_network(case)
    engine = TorchEngine(network, device, "fp16" if device.type == "cuda" else "fp32")
    width, height = case.size
    x = torch.nn.functional.interpolate(real_frame(), size=(height, width), mode="bilinear").repeat(batch, 1, 1, 1)
    x = x.to(device)
    with torch.inference_mode():
        expected = engine.compute(x[:1])
        began = time.perf_counter()
        compute = engine.compute
        if by_blocks:
            for module in network.modules():  # which the engine has moved, and uses
                if isinstance(module, ResidualDenseBlock):
                    module.compile(dynamic=False, backend=backend)
        else:
            compute = torch.compile(engine.compute, dynamic=False, backend=backend)
        close = closeness(compute(x)[:1], expected)
        compiling_seconds = time.perf_counter() - began
        if close.psnr_db < _LEAST_PSNR_DB:
            raise RuntimeError(f"compiled, it is another picture: {close}")
        return {
            "compiling_seconds": compiling_seconds,
            "seconds": stretches(lambda: compute(x), device, seconds),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--by-blocks", action="store_true")
    parser.add_argument("--backend", default="inductor")
    given = parser.parse_args(arguments)
    found = measure(
        given.case,
        torch.device(given.device),
        given.batch,
        given.seconds,
        by_blocks=given.by_blocks,
        backend=given.backend,
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
