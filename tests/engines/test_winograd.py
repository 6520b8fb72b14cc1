"""Our own kernels: the same numbers as PyTorch in every instruction set, at every size, from several threads."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch

from vidsr.engines import winograd
from vidsr.engines.choice import choose_engine
from vidsr.engines.winograd import WinogradEngine
from vidsr.engines.winograd_plan import LayerSpec, NetworkSpec, PictureSpec
from vidsr.errors import DeviceError, UsageError
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(winograd.why_absent() is not None, reason=str(winograd.why_absent()))

NETWORKS = {
    "compact": lambda: SRVGGNetCompact(scale=4, num_features=24, num_convs=3),
    "compact x2": lambda: SRVGGNetCompact(scale=2, num_features=16, num_convs=1),
    "compact, one channel": lambda: SRVGGNetCompact(scale=3, num_features=40, num_convs=2, channels=1),
    "x4": lambda: RRDBNet(scale=4, num_blocks=2, num_features=24, growth_channels=12),
    "x1": lambda: RRDBNet(scale=1, num_blocks=1, num_features=16, growth_channels=8),
    "x2": lambda: RRDBNet(scale=2, num_blocks=1, num_features=16, growth_channels=8),
    "x8": lambda: RRDBNet(scale=8, num_blocks=1, num_features=16, growth_channels=16),
}


def make_network(name):
    torch.manual_seed(1)
    return NETWORKS[name]().eval().requires_grad_(False)


def make_picture(network_name, height, width, num_frames=1):
    channels = 1 if "one channel" in network_name else 3
    generator = torch.Generator().manual_seed(height + 7 * width)
    return torch.rand((num_frames, channels, height, width), generator=generator)


@needs_library
@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("band_tiles", [0, 1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_pytorch(name, band_tiles, instruction_set):
    network = make_network(name)
    try:
        engine = WinogradEngine(
            network, CPU, "fp32", num_threads=3, instruction_set=instruction_set, band_tiles=band_tiles
        )
    except DeviceError as error:
        pytest.skip(str(error))
    for height, width in ((1, 1), (5, 7), (37, 70), (6, 61)):
        x = make_picture(name, height, width, 2)
        out, expected = engine.run(x), network(x)
        # F(6x6) loses about a digit of float32; levels of 255 are 0.004.
        assert (out - expected).abs().max() < 2e-5 * expected.abs().max()
        assert torch.equal(engine.run(x), out)


@needs_library
@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_the_number_of_threads_changes_no_bit(num_threads):
    x = make_picture("x4", 41, 50)
    one = WinogradEngine(make_network("x4"), CPU, "fp32", num_threads=1).run(x)
    assert torch.equal(WinogradEngine(make_network("x4"), CPU, "fp32", num_threads=num_threads).run(x), one)


@needs_library
def test_the_number_of_threads_is_that_of_the_call(one_thread):
    engine, x = WinogradEngine(make_network("x4"), CPU, "fp32"), make_picture("x4", 41, 50)
    one = engine.run(x)
    for num_threads in (3, 2, 4, 1):
        torch.set_num_threads(num_threads)
        assert torch.equal(engine.run(x), one)


@needs_library
@pytest.mark.parametrize("name", ["compact", "x4"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none_and_leaves_no_trace(name, value):
    engine = WinogradEngine(make_network(name), CPU, "fp32")
    x = make_picture(name, 40, 40)
    expected = engine.run(x)
    spoilt = x.clone()
    spoilt[0, 1, 20, 20] = value
    out = engine.run(spoilt)
    assert not out[..., 80:84, 80:84].isfinite().all()
    assert torch.equal(engine.run(x), expected)


@needs_library
def test_large_and_tiny_values_pass():
    network = make_network("compact")
    engine = WinogradEngine(network, CPU, "fp32")
    for factor in (1e6, 1e-30, 1e-42):
        x = factor * make_picture("compact", 20, 20)
        torch.testing.assert_close(engine.run(x), network(x), rtol=1e-3, atol=max(1e-5 * factor, 1e-5))


@needs_library
def test_calls_from_several_threads_and_engines():
    engines = [WinogradEngine(make_network(name), CPU, "fp32", num_threads=2) for name in ("compact", "x4")]
    x = make_picture("x4", 33, 47)
    expected = [engine.run(x) for engine in engines]
    wrong = []

    def work(number):
        for _ in range(20):
            if not torch.equal(engines[number % 2].run(x), expected[number % 2]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_library
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own():
    engine = WinogradEngine(make_network("compact"), CPU, "fp32", num_threads=2)
    x = make_picture("compact", 20, 20)
    expected = engine.run(x)
    child = os.fork()
    if not child:  # nothing of pytest may run here
        same = False
        try:
            same = torch.equal(engine.run(x), expected)
        finally:
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(engine.run(x), expected)


@needs_library
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_process_forked_from_the_middle_of_a_call_can_call(num_threads):
    engine = WinogradEngine(make_network("x4"), CPU, "fp32", num_threads=num_threads)
    small, large = make_picture("x4", 20, 20), make_picture("x4", 300, 300)
    expected = engine.run(small)
    was_running, seconds = False, 0.02
    while not was_running and seconds > 1e-4:  # on a busy machine the call may be over before the fork
        began, results = threading.Event(), []

        def work(began=began, results=results):
            began.set()
            results.append(engine.run(large))

        other = threading.Thread(target=work)
        other.start()
        began.wait()
        time.sleep(seconds)
        was_running, seconds = other.is_alive(), seconds / 2
        child = os.fork()
        if not child:  # nothing of pytest may run here
            signal.alarm(20)
            same = False
            try:
                same = torch.equal(engine.run(small), expected) and torch.equal(engine.run(small), expected)
            finally:
                os._exit(0 if same else 1)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        other.join()
        assert ended == 0
    assert was_running
    assert torch.equal(engine.run(large), results[0])


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow():
    engine = WinogradEngine(make_network("x4"), CPU, "fp32")

    def resident_kib():
        for height, width in ((64, 96), (20, 20), (90, 64)):
            engine.run(make_picture("x4", height, width))
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    before = [resident_kib() for _ in range(5)][-1]
    assert [resident_kib() for _ in range(30)][-1] - before < 8 * 1024


SHORT_OF_MEMORY = """
import resource, torch
from pathlib import Path
from vidsr.engines.winograd import WinogradEngine
from vidsr.errors import DeviceMemoryError
from vidsr.models.rrdb.network import RRDBNet

torch.set_num_threads(1)
network = RRDBNet(scale=4, num_blocks=1).eval().requires_grad_(False)
engine = WinogradEngine(network, torch.device("cpu"), "fp32")
small, large = torch.rand(1, 3, 20, 20), torch.rand(1, 3, 1500, 1500)
expected = engine.run(small)
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
try:
    engine.run(large)
except DeviceMemoryError as error:
    assert "1 frames of 1500x1500" in str(error), error
    assert isinstance(error.__cause__, MemoryError), repr(error.__cause__)
    assert torch.equal(engine.run(small), expected)
    print("said so")
"""


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_running_out_of_memory_is_said_and_the_engine_goes_on():
    ended = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True)
    assert ended.stdout == "said so\n", ended.stderr


SHORT_OF_THREADS = """
import resource, torch
from pathlib import Path
from vidsr.engines.winograd import WinogradEngine
from vidsr.errors import DeviceError
from vidsr.models.compact.network import SRVGGNetCompact

torch.set_num_threads(1)
network = SRVGGNetCompact(scale=1, num_convs=1).eval().requires_grad_(False)
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)  # each thread takes 8 MiB for its stack
engine, x = WinogradEngine(network, torch.device("cpu"), "fp32", num_threads=4000), torch.rand(1, 3, 8, 8)
for _ in range(3):
    try:
        engine.run(x)
    except DeviceError as error:
        print(error)
WinogradEngine(network, torch.device("cpu"), "fp32", num_threads=2).run(x)
"""


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_threads_that_cannot_be_started_are_told_and_the_others_end():
    ended = subprocess.run([sys.executable, "-c", SHORT_OF_THREADS], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = r"the winograd engine failed: \d+ of 4000 threads could be started \(.+\); try OMP_NUM_THREADS=1 or .+"
    lines = ended.stdout.splitlines()
    assert len(lines) == 3 and all(re.fullmatch(told, line) for line in lines), lines


@needs_library
def test_what_the_kernels_cannot_take_is_refused():
    engine = WinogradEngine(make_network("compact"), CPU, "fp32")
    with pytest.raises(ValueError, match=r"got \(1, 4, 8, 8\) .* expected 3 channels"):
        engine.run(torch.rand(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"got torch\.float64 on cpu"):
        engine.run(torch.rand(1, 3, 8, 8, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"got torch\.float32 on meta"):
        engine.run(torch.rand(1, 3, 8, 8, device="meta"))
    for num_threads in (0, -1):
        with pytest.raises(UsageError, match=f"num_threads is {num_threads}; it must be 1 or more"):
            WinogradEngine(make_network("compact"), CPU, "fp32", num_threads=num_threads)
    with pytest.raises(UsageError, match="band_tiles is -1; it must be 1 or more, or 0"):
        WinogradEngine(make_network("compact"), CPU, "fp32", band_tiles=-1)
    with pytest.raises(DeviceError, match="fp32 on the CPU, not in fp16 on cpu"):
        WinogradEngine(make_network("compact"), CPU, "fp16")
    with pytest.raises(DeviceError, match="has no sse9"):
        WinogradEngine(make_network("compact"), CPU, "fp32", instruction_set="sse9")


def test_without_the_compiled_part_auto_takes_pytorch(monkeypatch, tmp_path):
    monkeypatch.setattr(winograd, "_LIBRARY", tmp_path / "_winograd.so")
    assert "takes a C++17 compiler" in winograd.why_absent()
    assert choose_engine("auto", make_network("compact"), CPU, "fp32").row.name == "torch"
    with pytest.raises(DeviceError, match="was not built"):
        WinogradEngine(make_network("compact"), CPU, "fp32")


@pytest.mark.parametrize("size_of_layer", [None, -8])
def test_a_library_of_another_version_is_not_used(monkeypatch, tmp_path, size_of_layer):
    path = tmp_path / "_winograd.so"
    path.touch()

    def vidsr_abi(numbers):
        for place, kind in enumerate((PictureSpec, LayerSpec, NetworkSpec), 1):
            numbers[place] = ctypes.sizeof(kind)
        numbers[0], numbers[2] = winograd._VERSION, numbers[2] + size_of_layer

    older = types.SimpleNamespace() if size_of_layer is None else types.SimpleNamespace(vidsr_abi=vidsr_abi)
    monkeypatch.setattr(winograd, "_LIBRARY", path)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: older)
    winograd._library.cache_clear()
    assert winograd.why_absent() == "_winograd.so was built from another version of vidsr; install it again"
    with pytest.raises(DeviceError, match="install it again; use the torch engine"):
        WinogradEngine(make_network("compact"), CPU, "fp32")
    assert choose_engine("auto", make_network("compact"), CPU, "fp32").row.name == "torch"


def test_a_network_of_another_kind_is_left_to_pytorch():
    network = RRDBNet(scale=4, num_blocks=1, num_features=8, growth_channels=4, upsampler="pixelshuffle").eval()
    assert "pixelshuffle" in winograd.supports(network)
    assert choose_engine("auto", network, CPU, "fp32").row.name == "torch"


@needs_library
def test_errors_of_the_library_say_what_it_said():
    with pytest.raises(MemoryError):
        winograd._check(1)
    handle = ctypes.c_void_p()
    status = winograd._library().vidsr_network_create(NetworkSpec(), b"sse9", ctypes.byref(handle))
    with pytest.raises(DeviceError, match=r"engine failed: there is no such instruction set; try OMP_NUM_THREADS=1 or"):
        winograd._check(status)
