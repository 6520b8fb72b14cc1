"""Cases: how they are combined, and that their figures agree with each other and with what was run."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from vidsr.errors import SourceError, UsageError, VidsrError
from vidsr.inference.upscaler import Upscaler
from vidsr.measure.bench import _measure_and_send, make_cases
from vidsr.measure.case import _compare, _memory, measure
from vidsr.measure.figures import STAGES, Case
from vidsr.measure.peak import multiply_peak, peak_resident_bytes, resident_bytes
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import save_safetensors
from vidsr.options.upscale import UpscaleOptions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(tmp_path):
    """A network that takes no time."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_safetensors(SRVGGNetCompact(scale=4, num_features=8, num_convs=2).eval(), path)
    return path


def test_every_combination():
    axes = {"model": ["nearest", "lanczos"], "device": ["cpu"], "precision": ["auto", "fp32"], "scale": ["3"]}
    cases = make_cases(axes, ["64x48", "96x64"], seconds=2.0, num_rounds=5)
    assert len(cases) == 8
    assert {(c.options.model, c.options.precision, c.size) for c in cases} == {
        (model, precision, size)
        for model in ("nearest", "lanczos")
        for precision in ("auto", "fp32")
        for size in ((64, 48), (96, 64))
    }
    assert all(c.options.scale == 3 and c.seconds == 2.0 and c.num_rounds == 5 for c in cases)


def test_what_was_chosen_is_in_the_name_of_a_case():
    options = UpscaleOptions(model="nearest", device="cpu", scale=Fraction(3, 2), engine="torch", precision="fp32")
    assert str(Case(options=options, size=(64, 48))) == "nearest at 64x48 times 3/2 on torch fp32 cpu"


def test_without_choices_a_few_quick_ones_and_in_full_more():
    quick, full = make_cases({"device": ["cpu"]}), make_cases({"device": ["cpu"]}, is_full=True)
    assert {str(case) for case in quick} < {str(case) for case in full}
    assert len({case.options.model for case in full}) == 3, "the networks that come with the installation"
    (known,) = make_cases({"device": ["cpu"], "model": ["lanczos"]})
    assert known.size == (320, 180)


@pytest.mark.parametrize(
    ("axes", "sizes", "clip"),
    [
        ({}, ["321x180"], None),
        ({}, ["wide"], None),
        ({"precision": ["fp8"]}, [], None),
        ({"colour": ["blue"]}, [], None),
        ({}, ["64x48"], "clip.mp4"),
    ],
)
def test_what_cannot_be_combined(axes, sizes, clip):
    with pytest.raises(UsageError):
        make_cases(axes, sizes, clip=clip)


def check(figures):
    """What holds for every case."""
    assert set(figures.run.busy) == set(STAGES)
    assert all(0 <= share <= 1 for share in figures.run.busy.values())
    work = sum(figures.run.busy[stage] for stage in ("copy in", "convert", "network", "copy out"))
    assert 0 < work <= 1
    assert figures.run.fps.min <= figures.run.fps.median <= figures.run.fps.max
    assert figures.run.fixed_seconds > 0
    if (peak := figures.memory.peak_bytes) is not None:
        assert peak >= figures.memory.start_bytes > 10 << 20
        assert peak >= figures.memory.steady_bytes


def test_a_network(tiny, tmp_path):
    options = UpscaleOptions(model=str(tiny), device="cpu", engine="torch", scale=Fraction(2), preset="ultrafast")
    figures = measure(Case(options=options, size=(64, 48), seconds=0.1, num_rounds=2), tmp_path)
    check(figures)
    assert (figures.size, figures.target_size, figures.batch) == ((64, 48), (128, 96), 1)
    assert (figures.engine, figures.precision, figures.device) == ("torch", "fp32", "cpu")
    assert figures.machine["torch"] == torch.__version__
    network = figures.network
    # 8 features: 3 to 8, twice 8 to 8, 8 to 48, all 3x3.
    flops_per_pixel = 2 * 9 * (3 * 8 + 2 * 8 * 8 + 8 * 48)
    assert network.gflops.median == pytest.approx(network.fps.median * 64 * 48 * flops_per_pixel / 1e9, rel=0.2)
    assert network.of_peak.max <= network.gflops.max / network.peak_gflops.min * 1.001
    assert network.peak.gflops == network.peak_gflops.max
    # The same library, with the channels last.
    assert network.psnr_db is None or network.psnr_db > 110
    assert network.max_levels < 0.01
    assert figures.run.of_network.max <= figures.run.fps.max / network.fps.min * 1.001


def test_a_system_that_tells_the_peak_alone(monkeypatch):
    """As macOS does."""
    monkeypatch.setattr("vidsr.measure.case.peak_resident_bytes", lambda: 1000)
    assert _memory(torch.device("cpu"), []).peak_bytes == 1000
    assert _memory(torch.device("cpu"), [1, 2000]).peak_bytes == 2000


def test_what_goes_wrong_in_the_process_is_told(monkeypatch):
    sent = []

    class Sender:
        send = staticmethod(sent.append)

    def fail(case, folder):
        raise ValueError("math domain error")

    monkeypatch.setattr("vidsr.measure.bench.measure", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    case = Case(options=UpscaleOptions(model="nearest", device="cpu"), size=(64, 48))
    _measure_and_send(case, Path(), Sender())
    assert type(sent[0]) is VidsrError
    assert str(sent[0]) == "nearest at 64x48 on cpu: unexpected ValueError: math domain error"


def test_a_clip_of_ones_own(make_clip, tmp_path):
    clip = make_clip(size=(50, 34), frames=5)
    options = UpscaleOptions(model="nearest", device="cpu", preset="ultrafast")
    figures = measure(Case(options=options, size=None, clip=clip.path, seconds=0.1, num_rounds=1), tmp_path)
    check(figures)
    assert figures.network is None and figures.run.of_network is None
    assert figures.size == (50, 34)
    assert figures.run.num_frames == 5, "there are no more"


def test_what_is_no_video(tmp_path):
    options = UpscaleOptions(model="nearest", device="cpu")
    path = tmp_path / "no.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(SourceError):
        measure(Case(options=options, size=None, clip=path), tmp_path)


def test_a_difference_to_fp32_is_seen_in_the_worse_picture(tiny, monkeypatch):
    upscaler = Upscaler(UpscaleOptions(model=str(tiny), device="cpu"))
    pictures = [torch.full((1, 3, 20, 30), 0.5), torch.rand((1, 3, 33, 20), generator=torch.manual_seed(1))]
    right = upscaler.run_network

    def wrong(x):
        out = right(x).clamp(0.1, 0.9)
        return out + 1 / 255 if x.shape[2] == 33 else out

    monkeypatch.setattr(upscaler, "run_network", wrong)
    monkeypatch.setattr("vidsr.measure.case.load_network", lambda path: lambda_network(right))
    psnr_db, max_levels = _compare(upscaler, pictures)
    assert max_levels == pytest.approx(1, abs=1e-3)
    assert psnr_db == pytest.approx(48.13, abs=0.01)  # 20 log10(255)


class lambda_network(torch.nn.Module):  # noqa: N801
    def __init__(self, run):
        super().__init__()
        self._run = run

    def forward(self, x):
        return self._run(x).clamp(0.1, 0.9)


def test_the_machine():
    peak = multiply_peak(torch.device("cpu"), "fp32")
    assert peak.gflops > 0.5
    assert "product" in peak.by or "convolution" in peak.by
    held, most = resident_bytes(), peak_resident_bytes()
    assert held is None or 10 << 20 < held <= most
