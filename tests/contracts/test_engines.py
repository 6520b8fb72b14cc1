"""What every engine promises, whatever it runs on. A new engine is one line in RUNS."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from vidsr.engines.base import Engine, IdentityEngine
from vidsr.engines.gate import closeness
from vidsr.engines.table import ENGINES, find_engine
from vidsr.errors import DeviceMemoryError
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet
from vidsr.models.span.network import SPAN


def rrdb(scale):
    torch.manual_seed(scale)
    return RRDBNet(scale=scale, num_blocks=1, num_features=8, growth_channels=4).eval().requires_grad_(False)


def compact():
    torch.manual_seed(0)
    return SRVGGNetCompact(scale=4, num_features=8, num_convs=3).eval().requires_grad_(False)


def span():
    torch.manual_seed(0)
    network = SPAN(scale=2, num_features=8, num_blocks=2).eval().requires_grad_(False)
    network.upsampler[0].weight /= 64  # counted up to 255 inside, a picture from 0 to 1 comes out once it is trained
    return network


@dataclass(frozen=True)
class Case:
    """An engine with a network, and how far it may be from plain fp32 PyTorch on the CPU."""

    engine: str
    make: Callable[[], Engine]
    scale: int
    make_network: Callable[[], torch.nn.Module] | None = None
    inside: str = ""  # the attribute that does the engine's work, called once or more for each run
    max_difference: float | None = 0.0  # for pictures in [0, 1]; None: the gate's word is enough


# Sums in another order or by another algorithm differ by float32's rounding, 1e-7 for each operation. Half precision
# keeps 11 bits of each value: the gate that `auto` goes by says how far that may lead.
ROUNDING, HALF = 1e-5, None
# (engine, device, precision, its attribute that does the work, how far it may be from the reference at most)
RUNS = [
    ("winograd", "cpu", "fp32", "_compute", ROUNDING),
    ("torch", "cpu", "fp32", "_network", ROUNDING),
    ("torch", "cuda:0", "fp16", "_network", HALF),
    ("cuda-graphs", "cuda:0", "fp16", "_compute", HALF),
    ("cuda-graphs-padded", "cuda:0", "fp16", "_compute", HALF),
    ("compiled", "cuda:0", "fp16", "_compute", HALF),
    ("openvino", "cpu", "fp32", "_infer", ROUNDING),
    ("openvino-gpu", "cpu", "fp32", "_infer", HALF),
]
NETWORKS = {
    "rrdb-x4": (lambda: rrdb(4), 4),
    "rrdb-x2": (lambda: rrdb(2), 2),
    "compact": (compact, 4),
    "span": (span, 2),
}


def open_engine(name, make_network, device, precision):
    return find_engine(name).open(make_network(), device, precision)


def cases():
    yield pytest.param(Case("none", lambda: IdentityEngine(torch.device("cpu")), 1), id="identity")
    for engine, device, precision, inside, max_difference in RUNS:
        for network, (make_network, scale) in NETWORKS.items():
            marks = []
            if find_engine(engine).supports(make_network()) is not None:
                continue  # says what it lacks, which its own tests hold
            if device != "cpu":
                marks = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
                if find_engine(engine).by_name_only:
                    marks.append(pytest.mark.slow)  # as it compiles
            elif absent := find_engine(engine).why_absent():
                marks = [pytest.mark.skip(reason=f"{engine} is not here: {absent}")]
            make = functools.partial(open_engine, engine, make_network, torch.device(device), precision)
            case = Case(engine, make, scale, make_network, inside, max_difference)
            yield pytest.param(case, id=f"{engine}-{device}-{precision}-{network}", marks=marks)


def test_no_engine_of_the_table_is_left_out():
    tested = {(engine, device.partition(":")[0]) for engine, device, *_ in RUNS}
    assert tested == {(row.name, device) for row in ENGINES for device in row.precisions}


SIZES = [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (5, 7), (16, 16), (12, 33)]


@pytest.fixture(params=cases())
def case(request):
    return request.param


@pytest.fixture
def engine(case):
    return case.make()


def make_picture(engine, height, width, batch=1):
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand((batch, 3, height, width), generator=generator).to(engine.info.device)


def test_says_what_it_is(case, engine):
    info = engine.info
    assert info.scale == case.scale
    assert info.engine == case.engine
    assert info.precision in ("fp32", "fp16")
    assert info.reach_px >= 0
    assert info.align_px >= 1
    assert info.bytes_per_pixel >= 0
    assert info.flops_per_pixel is None or info.flops_per_pixel >= 0
    assert engine.info == info


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_takes_any_size_and_gives_plain_float32(engine, height, width, batch):
    x = make_picture(engine, height, width, batch)
    kept = x.clone()
    out = engine.run(x)
    scale = engine.info.scale
    assert out.shape == (batch, 3, height * scale, width * scale)
    assert out.dtype == torch.float32
    assert out.device == x.device == engine.info.device
    assert out.is_contiguous()
    assert torch.isfinite(out).all()
    assert torch.equal(x, kept), "the input was written to"


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_takes_pictures_however_they_lie_in_memory(engine, memory_format):
    x = make_picture(engine, 9, 14, 2)
    expected = engine.run(x)
    kept = x.clone()
    laid = x.contiguous(memory_format=memory_format)
    assert torch.equal(engine.run(laid), expected)
    assert torch.equal(laid, kept), "the input was written to"
    view = torch.cat([x, x], dim=3)[..., 14:]
    assert torch.equal(engine.run(view), expected)


def test_a_batch_is_its_pictures_one_by_one(engine):
    x = make_picture(engine, 11, 14, 3)
    together, alone = engine.run(x), torch.cat([engine.run(picture) for picture in x.split(1)])
    # Another batch may mean another algorithm, with sums in another order: float32 rounding; half's is 1/2048.
    limit = 2e-3 if engine.info.precision == "fp16" else 1e-5
    torch.testing.assert_close(together, alone, rtol=0, atol=limit)


def test_a_work_as_one_launch_does_what_it_does(engine):
    def work(tensors):
        out = engine.run(tensors[0].float() / 255)
        return [(out * 255).round().clamp(0, 255).to(torch.uint8), out.amax((1, 2, 3))]

    launch = engine.as_one_launch(work, work)
    for seed in (7, 8, 9, 10):  # recorded at the second, replayed from then on
        codes = torch.randint(0, 256, (2, 3, 12, 17), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        codes = codes.to(engine.info.device)
        planes, peak = launch([codes])
        expected, expected_peak = work([codes])
        assert planes.dtype == torch.uint8 and int((planes.int() - expected.int()).abs().max()) <= 1
        torch.testing.assert_close(peak, expected_peak, rtol=0, atol=2e-3)


def test_more_pixels_than_one_call_takes_are_refused_as_too_many(engine):
    if engine.info.max_pixels is None:
        pytest.skip("takes as many as fit into memory")
    side = math.isqrt(engine.info.max_pixels) + 1
    with pytest.raises(DeviceMemoryError, match="takes at once; try a smaller --tile"):
        engine.run(torch.zeros((1, 1, 1, 1), device=engine.info.device).expand(1, 3, side, side))


def test_the_same_picture_gives_the_same_result(engine):
    x = make_picture(engine, 16, 16)
    assert torch.equal(engine.run(x), engine.run(x))


@pytest.fixture
def other_defaults():
    """Puts PyTorch's defaults for new tensors to what no engine computes with."""

    def put():
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")

    yield put
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def test_the_defaults_of_pytorch_do_not_matter(case, engine, other_defaults):
    if case.make_network is None or engine.info.device.type != "cpu":
        pytest.skip("makes no tensors, or not on the CPU")
    x, network = make_picture(engine, 9, 14), case.make_network()
    expected = engine.run(x)
    other_defaults()
    out = find_engine(case.engine).open(network, engine.info.device, "fp32").run(x)
    assert out.dtype == torch.float32 and torch.equal(out, expected)


def test_nothing_is_recorded_for_gradients(engine):
    assert not engine.run(make_picture(engine, 4, 4)).requires_grad


def test_is_as_close_to_the_reference_as_it_says(case, engine):
    x = make_picture(engine, 48, 64, 2)
    out = engine.run(x).cpu()
    if case.make_network is None:
        assert torch.equal(out, x.cpu())
        return
    with torch.inference_mode():
        expected = case.make_network()(x.cpu())
    found = closeness(out, expected)
    assert found.passed, found
    if case.max_difference is not None:
        assert float((out - expected).abs().max()) <= case.max_difference


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "linux", "windows", "python"])
def test_a_lack_of_memory_is_a_kind_of_its_own(case, engine, error, monkeypatch):
    if case.make_network is None:
        pytest.skip("has no network that could run out of memory")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(engine, case.inside, fail)
    with pytest.raises(
        DeviceMemoryError, match=r"ran out of memory on 2 frames of 6x4; try a smaller --tile"
    ) as caught:
        engine.run(make_picture(engine, 4, 6, 2))
    assert caught.value.__cause__ is error


def test_other_errors_stay_what_they_are(case, engine, monkeypatch):
    if case.make_network is None:
        pytest.skip("has no network that could fail")

    def fail(*args, **kwargs):
        raise RuntimeError("weights of another shape")

    monkeypatch.setattr(engine, case.inside, fail)
    with pytest.raises(RuntimeError, match="another shape") as caught:
        engine.run(make_picture(engine, 4, 6))
    assert not isinstance(caught.value, DeviceMemoryError)
