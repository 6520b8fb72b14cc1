"""The script that measures on a GPU goes its whole way on the CPU, loses nothing, and says what is missing and why."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vidsr.media.write.segment import SegmentWriter

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
NAMES = ("tests", "ceilings", "gate", "layers", "network", "runs", "profile", "compiled", "dense-block")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location("benchmark_on_gpu", BENCHMARKS / "gpu.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        importlib.import_module("gpu_parts.compiled")
        yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "gpu_parts"]:
        del sys.modules[name]


@pytest.fixture
def parts(script):
    """The modules of the parts."""
    return sys.modules


@pytest.fixture
def call(script, monkeypatch, tmp_path):
    """The script on the CPU with a tiny network: the exit code and the report."""

    def main(*arguments):
        command = ["gpu.py", "--out", tmp_path, "--device", "cpu", "--tiny", "--seconds", "0.02", *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in command])
        code = script.main()
        return code, json.loads((tmp_path / "report.json").read_text())

    return main


def own_part(steps_module, name, **steps):
    """A part whose steps are these functions."""
    made = [steps_module.Step(name=key, needs_seconds=0, measure=measure) for key, measure in steps.items()]
    return steps_module.Part(
        name=name, steps=lambda bench: made, line=lambda figures: str(figures), text=lambda listed: str(listed)
    )


def only(outcomes):
    (outcome,) = outcomes
    return outcome


def places(folder):
    return {"folder": folder, "out": folder, "is_tiny": True}


def test_without_a_gpu_it_says_so(script, monkeypatch, capsys, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "report")])
    assert script.main() == 75
    assert "no GPU" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_all_parts_go_their_whole_way(script, call, capsys, tmp_path):
    code, report = call()
    assert code == 0
    assert tuple(part.name for part in script.PARTS) == tuple(report["parts"]) == NAMES
    assert report["is_complete"] and report["machine"]["torch"] == torch.__version__
    states = {
        f"{part}, {o['name']}": (o["state"], o.get("why")) for part, listed in report["parts"].items() for o in listed
    }
    measured = {name for name, (state, _) in states.items() if state == "done"}
    assert {name: why for name, (state, why) in states.items() if state != "done"} == {
        "tests, gpu": "not with --tiny",
        "tests, contracts": "not with --tiny",
        "compiled, tiny compiled by blocks": f"torch {torch.__version__} sees no CUDA device",
        "dense-block, kernels": "they need triton and a CUDA device",
    }
    printed = capsys.readouterr().out
    assert all(f"\n{name}: " in f"\n{printed}" for name in states), "a line for each"
    text = (tmp_path / "report.md").read_text()
    assert text in printed and "All that was asked for is met." in text and "NOT COMPLETE" not in text
    assert len(measured) == 7, "two ceilings, and one step of each of five parts"
    found = {part: [o["figures"] for o in listed if "figures" in o] for part, listed in report["parts"].items()}
    for ceiling in found["ceilings"]:
        assert 0 < ceiling["rate"]["min"] <= ceiling["rate"]["median"] <= ceiling["rate"]["max"]
    assert [row["size"] for row in only(found["gate"])["rows"]] == ["96x64", "81x57"]
    assert all(row["passed"] and row["psnr_db"] > 100 for row in only(found["gate"])["rows"])
    network, product = only(found["network"]), found["ceilings"][1]["rate"]["median"]
    assert network["product_tflops"] == product and network["engine"] == "torch" and network["batch"] == 1
    tiny = script.TINY_CASES[0]
    assert network["tflops"] == pytest.approx(network["fps"]["median"] * tiny.flops / 1e12)
    run = only(found["runs"])
    assert run["network_fps"] == network["fps"]["median"], "measured once"
    for one in (run["encoded"], run["thrown_away"]):
        assert one["frames"] == 12 and one["recomputed"] == 0
        assert one["of_network"] == pytest.approx(one["steady_fps"] / run["network_fps"])
    profile = only(found["profile"])
    assert sum(profile["kinds"].values()) == pytest.approx(1) and profile["kinds"]["convolution"] > 0.1
    assert {"convolution", "activation", "mul, add", "resize", "colour and checks"} <= set(profile["kinds"])
    assert any("conv" in kernel["name"] for kernel in profile["longest"])


def test_layers_are_those_of_the_engine(parts, script):
    layers = parts["gpu_parts.layers"]
    network = script.TINY_CASES[0].make().eval()
    found = layers.layers_of(network, 2, (64, 48))
    assert sum(found.values()) == 15 + 1 + 1 + 2 + 2
    assert {str(layer): count for layer, count in found.items()}["12->4, 3x3, 64x48"] == 3
    tiny, flops = script.TINY_CASES[0], sum(layer.flops * count for layer, count in found.items())
    # Doublings are made of 2x2 taps at the smaller size, a row and a column more: fewer operations than by definition.
    assert 0.6 * 2 * tiny.flops < flops < 2 * tiny.flops
    plain = script.CASES[2].make().eval()
    found = layers.layers_of(plain, 1, (64, 48))
    assert sum(layer.flops * n for layer, n in found.items()) == plain.flops_per_input_pixel * 64 * 48
    ends = [layer for layer in found if layer.padded != layer]
    assert [(layer.in_channels, layer.padded.in_channels, layer.padded.out_channels) for layer in ends] == [(3, 8, 64)]


def test_runs_are_as_long_as_the_fastest_engine_needs(parts, script, tmp_path):
    case = script.CASES[0]
    one = parts["gpu_parts.bench"].Bench(
        device=torch.device("cpu"), cases=(case,), seconds=3, num_frames=None, ends_at=0, **places(tmp_path)
    )
    for fps, expected in ((0.5, 12), (50, 150), (20, 150), (9000, 900)):
        one.network_fps[case.name, f"by {fps}"] = fps
        assert one.frames_of_run(case) == expected
    one.network_fps["another", "torch"] = 9000
    one.num_frames = 7
    assert one.frames_of_run(case) == 7


def test_goals_are_40_percent_of_the_peak(script):
    for case in script.CASES:
        assert case.goal_fps * case.flops == pytest.approx(0.4 * 989e12, rel=0.02)


def test_engines_are_those_of_the_table_that_run_on_cuda(parts, script, monkeypatch, tmp_path):
    bench = parts["gpu_parts.bench"]
    one = bench.Bench(device=torch.device("cpu"), cases=(), seconds=1, num_frames=None, ends_at=0, **places(tmp_path))
    rows = [row for row in bench.ENGINES if row.name in ("winograd", "torch", "cuda-graphs", "compiled")]
    assert len(rows) == 4
    monkeypatch.setattr(bench, "ENGINES", rows)
    assert one.engines(script.TINY_CASES[0].make()) == ["torch"]
    one.device = torch.device("cuda")
    monkeypatch.setattr(type(rows[0]), "why_not", lambda *args: None)
    assert one.engines(script.TINY_CASES[0].make()) == ["torch", "cuda-graphs"]


def test_what_an_early_end_leaves(tmp_path):
    """Killed in its second part, whatever that was doing: the report has the first, and says where it ended."""
    out = tmp_path / "report"
    program = (
        f"import sys, time; sys.path[:0] = [{str(BENCHMARKS)!r}, {str(ROOT)!r}]\n"
        "import gpu, gpu_parts.gate as gate, dataclasses\n"
        "endless = dataclasses.replace(gate.PART, steps=lambda bench: [gate.Step(name='endless', needs_seconds=0,\n"
        "    measure=lambda: time.sleep(100))])\n"
        "gpu.PARTS = (gpu.ceilings.PART, endless)\n"
        f"sys.argv = ['gpu.py', '--device', 'cpu', '--tiny', '--seconds', '0.02', '--out', {str(out)!r}]\n"
        "gpu.main()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up and process.poll() is None:
            if (out / "report.md").exists() and "endless" in (out / "report.md").read_text():  # written last
                break
            time.sleep(0.05)
        process.kill()
    report = json.loads((out / "report.json").read_text())
    assert report["now"] == "gate, endless" and not report["is_complete"]
    assert [o["state"] for o in report["parts"]["ceilings"]] == ["done", "done"]
    text = (out / "report.md").read_text()
    assert "NOT COMPLETE: ended or still at work at gate, endless." in text and "TFLOP/s" in text


def test_the_report_is_written_before_and_after_every_step(parts, script, call, monkeypatch, tmp_path):
    seen = []

    def look():
        seen.append(json.loads((tmp_path / "report.json").read_text()))
        return {}

    both = [own_part(parts["gpu_parts.steps"], name, a=look, b=look) for name in ("gate", "runs")]
    monkeypatch.setattr(script, "PARTS", tuple(both))
    assert call()[0] == 0
    assert [one["now"] for one in seen] == ["gate, a", "gate, b", "runs, a", "runs, b"]
    assert [sum(map(len, one["parts"].values())) for one in seen] == [0, 1, 2, 3]


def test_a_failure_is_written_down_and_the_others_go_on(parts, script, call, monkeypatch, tmp_path):
    def fail():
        raise ValueError("the ninth wave\nand more")

    def broken_steps(bench):
        raise RuntimeError("no steps")
        yield

    steps = parts["gpu_parts.steps"]
    first = own_part(steps, "gate", a=fail, b=lambda: {"is": "there"})
    second = steps.Part(name="layers", steps=broken_steps, line=str, text=str)
    third = own_part(steps, "runs", c=lambda: {"is": "there too"})
    monkeypatch.setattr(script, "PARTS", (first, second, third))
    code, report = call()
    assert code == 1
    failed, done = report["parts"]["gate"]
    assert failed["state"] == "failed" and failed["why"] == "ValueError: the ninth wave\nand more"
    assert any('raise ValueError("the ninth wave' in line for line in failed["trace"])
    assert done["figures"] == {"is": "there"}
    assert only(report["parts"]["layers"])["why"] == "RuntimeError: no steps"
    assert only(report["parts"]["runs"])["figures"] == {"is": "there too"}
    text = (tmp_path / "report.md").read_text()
    assert "- gate, a: failed\n- layers, its steps: failed\n" in text and "there too" in text


def test_what_has_no_time_is_named(parts, script, call, monkeypatch, tmp_path, capsys):
    steps, ran = parts["gpu_parts.steps"], []
    made = [
        steps.Step(name=f"of {need} s", needs_seconds=need, measure=lambda need=need: ran.append(need) or {})
        for need in (90, 1000, 80)
    ]
    monkeypatch.setattr(
        script, "PARTS", (steps.Part(name="runs", steps=lambda bench: made, line=str, text=lambda listed: "there"),)
    )
    code, report = call("--minutes", "2")
    assert code == 1 and ran == [90, 80], "what is shorter may still find its time"
    assert [o["state"] for o in report["parts"]["runs"]] == ["done", "skipped", "done"]
    why = report["parts"]["runs"][1]["why"]
    assert why.startswith("needs about 1000 s, and 1") and why.endswith(" s were left")
    text = (tmp_path / "report.md").read_text()
    assert "Not met:\n\n- runs, of 1000 s: skipped\n" in text and f"- of 1000 s: skipped: {why}" in text
    assert f"runs, of 1000 s: skipped: {why}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("met", "code"),
    [((None, None), 0), ((False, None), 1), ((False, False), 1), ((True, False), 0), ((True, True), 0)],
)
def test_one_engine_that_is_fast_enough_will_do(parts, script, call, monkeypatch, met, code):
    steps = parts["gpu_parts.steps"]
    made = [
        steps.Step(name=f"x4plus by {index}", needs_seconds=0, one_of="x4plus", measure=lambda one=one: {"met": one})
        for index, one in enumerate(met)
    ]
    part = steps.Part(name="network", steps=lambda bench: made, line=str, text=str)
    monkeypatch.setattr(script, "PARTS", (part,))
    assert call()[0] == code


def test_goals_are_of_the_card_they_are_for(parts, script, monkeypatch, tmp_path):
    network, bench = parts["gpu_parts.network"], parts["gpu_parts.bench"]
    one = bench.Bench(device=torch.device("cpu"), cases=(), seconds=1, num_frames=None, ends_at=0, **places(tmp_path))
    one._batches["x4plus"] = 1
    slow, fast = (network._figures(one, script.CASES[0], "torch", [seconds]) for seconds in (0.25, 0.05))
    assert slow["met"] is None and fast["met"] is None
    one.device = torch.device("cuda")
    for card, is_asked in (("NVIDIA H200", True), ("NVIDIA GeForce RTX 4090", False)):
        monkeypatch.setattr(bench, "device_name", lambda device, card=card: card)
        slow, fast = (network._figures(one, script.CASES[0], "torch", [seconds]) for seconds in (0.25, 0.05))
        assert (slow["met"], fast["met"]) == ((False, True) if is_asked else (None, None))


@pytest.mark.parametrize(
    ("test", "passed", "words"),
    [
        ("@pytest.mark.gpu\ndef test_one(): pass", True, "1 passed"),
        ("@pytest.mark.gpu\ndef test_one(): assert 0, 'wave'", False, "1 failed"),
        ("def test_one(): pass", False, "no tests ran: 1 deselected"),
        ("@pytest.mark.gpu\ndef test_one(): pytest.skip('no card')", False, "no tests ran: 1 skipped"),
        ("", False, "no tests ran in "),
        (None, False, "file or directory not found"),
    ],
)
def test_no_tests_are_no_success(parts, monkeypatch, tmp_path, test, passed, words):
    gpu_tests = parts["gpu_parts.gpu_tests"]
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['gpu: x']\n")
    folder = tmp_path / "tests" / "gpu"
    if test is not None:
        folder.mkdir(parents=True)
        (folder / "test_it.py").write_text(f"import pytest\n{test}\n")
    monkeypatch.setattr(gpu_tests, "ROOT", tmp_path)
    found = gpu_tests.measure(small_bench(tmp_path, 300.0), folder)
    assert found["met"] is passed and words in found["summary"]
    assert words in (tmp_path / "tests-gpu.log").read_text() or words.startswith("no tests ran: ")
    if "wave" in (test or ""):
        (failed,) = found["failed"]
        assert failed.startswith("FAILED tests/gpu/test_it.py::test_one") and failed in gpu_tests.line(found)
        assert failed in gpu_tests.text([found]) and "assert 0, 'wave'" in found["said"]


def small_bench(out, seconds_left):
    return type("Bench", (), {"is_tiny": False, "seconds_left": seconds_left, "out": out})()


def test_tests_that_hang_are_stopped(parts, monkeypatch, tmp_path):
    gpu_tests = parts["gpu_parts.gpu_tests"]
    (tmp_path / "test_it.py").write_text("import time, pytest\n@pytest.mark.gpu\ndef test_one(): time.sleep(100)\n")
    monkeypatch.setattr(gpu_tests, "_NEEDS_SECONDS", 2.0)
    found = gpu_tests.measure(small_bench(tmp_path, 0.0), tmp_path)
    assert found["met"] is False and found["summary"].startswith("stopped after 2 s, at: ")
    assert "test_it.py::test_one" in found["summary"], "which test it was at"


def test_compiling_for_one_shape(parts):
    compiled, cpu = parts["gpu_parts.compiled"], torch.device("cpu")
    found = compiled.in_a_process("tiny", cpu, 2, 0.02, limit_seconds=300, by_blocks=False, backend="eager")
    assert len(found["seconds"]) == 5 and min(found["seconds"]) > 0 and found["compiling_seconds"] > 0
    assert compiled.in_a_process("tiny", cpu, 1, 0.02, limit_seconds=0.1, by_blocks=False) is None


def test_processes_are_stopped_with_all_that_they_started(parts, tmp_path):
    python = parts["gpu_parts.processes"].python
    sleeper = "import time, pathlib, sys; time.sleep(4); pathlib.Path(sys.argv[1]).touch()"
    program = (
        "import subprocess, sys, time; print('{\"a\": 1}'); print('words'); print('[2]', end='\\n{', flush=True); "
        f"subprocess.Popen([sys.executable, '-c', {sleeper!r}, {str(tmp_path / 'late')!r}]); time.sleep(100)"
    )
    began = time.monotonic()
    said = python(["-c", program], limit_seconds=2)
    assert said.was_stopped and said.lines == [{"a": 1}, [2]], "what was said before is kept"
    assert time.monotonic() - began < 60
    time.sleep(3)
    assert not (tmp_path / "late").exists()
    said = python(["-c", "import gpu_parts; print('[3]')"], limit_seconds=60)
    assert not said.was_stopped and said.lines == [[3]]
    with pytest.raises(RuntimeError, match=r"exit code 3: the ninth wave"):
        python(["-c", "import sys; sys.stderr.write('the ninth wave'); sys.exit(3)"], limit_seconds=60)


def test_own_kernels_keep_what_was_done_in_time(parts, monkeypatch):
    blocks, processes = parts["gpu_parts.blocks"], parts["gpu_parts.processes"]
    layers = [
        {"layer": "64->32", "tflops": {"cuDNN": 100.0, "by_tap": None}, "by": {"by_tap": "OutOfResources: shared"}},
        {"layer": "96->32", "tflops": {"cuDNN": 120.0, "by_tap": 240.0}, "by": {"by_tap": "64x4x32"}},
    ]
    monkeypatch.setattr(processes, "python", lambda *args: processes.Said(lines=layers, was_stopped=True))
    bench = type("Bench", (), {"device": "cuda:0", "seconds": 1.0, "seconds_left": 100.0, "product_tflops": 800.0})()
    found = blocks.speed(bench)
    assert found.pop("met") is None
    text = blocks.text([found])
    assert "240 TFLOP/s (30 % of the product)" in text and " failed |" in text
    assert "OutOfResources" in text and text.endswith("Stopped, as it took too long.")
    monkeypatch.setattr(processes, "python", lambda *args: processes.Said(lines=[], was_stopped=True))
    assert blocks.speed(bench)["met"] is False and blocks.check(bench)["met"] is False


def test_kinds_of_kernels(parts):
    profiles = parts["gpu_parts.profiles"]
    inside = (profiles._NETWORK, profiles._PICTURE)
    conv = ("aten::_convolution", "aten::convolution", "aten::conv2d", *inside)
    add = "void at::native::elementwise_kernel<128, 4, at::native::CUDAFunctor_add<c10::Half>>"
    for kind, name, operations in (
        ("convolution", "sm90_xmma_fprop_implicit_gemm_f16f16", ("aten::cudnn_convolution", *conv)),
        ("bias", add, ("aten::add_", *conv)),
        ("mul, add", add, ("aten::add_", *inside)),
        ("cat", "void at::native::CatArrayBatchedCopy<x>", ("aten::cat", *inside)),
        ("activation", "void at::native::vectorized_elementwise_kernel<4, x>", ("aten::leaky_relu_", *inside)),
        ("activation", "void at::native::vectorized_elementwise_kernel<4, x>", ("aten::_prelu_kernel", *inside)),
        ("copy", "Memcpy DtoD (Device -> Device)", ("aten::copy_", "aten::_to_copy", *inside)),
        ("resize", add, ("aten::add_", profiles._PICTURE)),
        ("resize", add, ("aten::conv2d", profiles._PICTURE)),
        ("colour and checks", add, ("aten::add_",)),
        ("transfer", "Memcpy HtoD (Pinned -> Device)", ("aten::copy_",)),
        ("convolution", "sm90_xmma_fprop_implicit_gemm_f16f16", ("cudaGraphLaunch",)),
        ("mul, add", add, ()),
        ("cat", "void at::native::CatArrayBatchedCopy<x>", ()),
        ("other", "mystery", inside),
    ):
        assert profiles.kind_of(name, operations) == kind, (name, operations)


def test_what_is_thrown_away_is_not_encoded(parts, script, monkeypatch, tmp_path):
    runs, case = parts["gpu_parts.runs"], script.TINY_CASES[0]
    bench = parts["gpu_parts.bench"].Bench(
        device=torch.device("cpu"), cases=(case,), seconds=1, num_frames=5, ends_at=0, **places(tmp_path)
    )
    options = bench.options(case)
    prepared, upscaler = bench.prepare(case, options, 5), runs.Upscaler(options)
    written = []
    write = SegmentWriter.write
    monkeypatch.setattr(SegmentWriter, "write", lambda *args: written.append(args) or write(*args))
    assert runs.thrown_away(prepared, upscaler)["frames"] == 5
    assert not written
    assert runs.run(prepared, upscaler)["frames"] == 5
    assert len(written) == 5


def test_speed_behind_the_start(parts):
    steady_fps = parts["gpu_parts.runs"].steady_fps
    assert steady_fps([(10.0, 10), (11.0, 20), (12.0, 30)]) == 10
    assert steady_fps([(10.0, 2), (10.0, 12), (11.0, 30)]) == 18
    assert steady_fps([(10.0, 30)]) is None
    assert steady_fps([]) is None


def test_tables_of_reports(script, call, monkeypatch, capsys, tmp_path):
    page, kept = tmp_path / "page.md", tmp_path / "report.json"
    page.write_text("# Title\n<!-- begin gpu -->\nold\n<!-- end gpu -->\nbehind\n")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--write", str(page)])
    assert script.main() == 0
    assert page.read_text() == "# Title\n<!-- begin gpu -->\nNothing has been measured yet.\n<!-- end gpu -->\nbehind\n"
    _, report = call("--part", "ceilings", "--part", "network", "--part", "compiled")
    report["machine"].update(device="NVIDIA H200", cuda="13.0", cudnn=91900, driver="580.1", date="2026-12-01")
    kept.write_text(json.dumps(report))
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tables", str(kept), str(kept), "--write", str(page)])
    assert script.main() == 0
    text = page.read_text()
    assert capsys.readouterr().out.strip() in text and text.endswith("<!-- end gpu -->\nbehind\n")
    assert text.count(f"### NVIDIA H200; torch {torch.__version__}, CUDA 13.0, cuDNN 91900, driver 580.1, Python ") == 2
    assert "; 2026-12-01\n" in text and "Nothing" not in text
    assert "| tiny fp32, 64x48 |" in text and "- product of 256x256 matrices, fp32: " in text
    assert "- tiny compiled by blocks: left out: torch " in text and "Whole runs" not in text


def test_the_page_has_a_place_for_tables():
    text = (ROOT / "docs" / "gpus.md").read_text()
    assert text.count("<!-- begin gpu -->\n") == text.count("<!-- end gpu -->\n") == 1


def test_what_cannot_be_asked_for(script, monkeypatch, capsys):
    for arguments, words in (
        (["--device", "cpu"], "it is for --tiny"),
        (["--device", "cpu", "--tiny", "--case", "x4plus"], "no case x4plus; there are tiny"),
        (["--part", "wave"], "invalid choice"),
        (["--seconds", "0"], "must be more than 0"),
    ):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            script.main()
        assert ended.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("code", "succeeds", "words"), [(0, True, ""), (1, False, ""), (75, True, "There is no GPU here")]
)
def test_make_gpu(tmp_path, code, succeeds, words):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "hatch_build.py"):
        (tmp_path / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "called with $@"\nexit {code}\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / "installed").touch()
    (tmp_path / ".venv" / "installed-test").touch()
    done = subprocess.run(["make", "gpu"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is succeeds, done.stderr
    assert "called with benchmarks/gpu.py --out gpu-report\n" in done.stdout and words in done.stdout
