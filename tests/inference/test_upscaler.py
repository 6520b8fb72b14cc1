"""The `Upscaler`: its parts put together rightly, its refusals, and what it does when memory runs short."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

import vidsr.inference.upscaler
from vidsr.engines.base import EngineInfo, IdentityEngine
from vidsr.engines.torch import most_pixels
from vidsr.errors import DeviceMemoryError, UnknownModelError, UsageError, WeightsMissingError
from vidsr.inference.model_choice import ChosenModel, choose_model
from vidsr.inference.upscaler import MAX_OVERLAP_PX, Upscaler
from vidsr.models.catalogue import find_model
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import blend_networks, load_network, save_safetensors
from vidsr.models.rrdb.network import RRDBNet
from vidsr.models.weights_store import locate
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.resample import resize

CPU = torch.device("cpu")


def make_picture(height, width, batch=1):
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(height * width))


def make_upscaler(**options):
    return Upscaler(UpscaleOptions(device="cpu", **options))


def make_compact(seed=0):
    torch.manual_seed(seed)
    return SRVGGNetCompact(scale=4, num_features=8, num_convs=3).eval().requires_grad_(False)


@pytest.fixture
def checkpoint(tmp_path):
    """A file with a tiny network of scale 4."""
    path = tmp_path / "tiny.safetensors"
    save_safetensors(make_compact(), path)
    return path


def run_network(network, x):
    with torch.inference_mode():
        return network(x)


@pytest.mark.parametrize("model", ["lanczos", "bicubic", "nearest"])
def test_a_classical_model_is_its_kernel(model):
    x = make_picture(9, 14, 2)
    upscaler = make_upscaler(model=model, scale=Fraction(3, 2))
    assert torch.equal(upscaler.upscale_tensor(x), resize(x, 14, 21, model))
    assert upscaler.engine_info.engine == "none"


def test_sizes_come_from_the_options_or_the_call():
    upscaler = make_upscaler(model="lanczos", scale=Fraction(4, 3))
    assert upscaler.output_size(30, 21) == (40, 28)
    assert upscaler.upscale_tensor(make_picture(21, 30)).shape == (1, 3, 28, 40)
    assert upscaler.upscale_tensor(make_picture(21, 30), (31, 50)).shape == (1, 3, 50, 31)


def test_a_checkpoint_of_ones_own(checkpoint):
    x = make_picture(7, 10, 2)
    upscaler = make_upscaler(model=str(checkpoint), scale=Fraction(4))
    assert upscaler.model == ChosenModel(name="tiny.safetensors", reason="asked for", entry=None, path=checkpoint)
    assert (upscaler.engine_info.scale, upscaler.engine_info.precision) == (4, "fp32")
    # Float32 sums in another order: the engine has another memory layout.
    torch.testing.assert_close(upscaler.upscale_tensor(x), run_network(make_compact(), x), rtol=0, atol=1e-5)


def test_after_the_network_comes_lanczos(checkpoint):
    x = make_picture(8, 10)
    out = make_upscaler(model=str(checkpoint), scale=Fraction(5, 2)).upscale_tensor(x)
    expected = resize(run_network(make_compact(), x), 20, 25, "lanczos")
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_fit_before_shrinks_the_input_instead(checkpoint):
    x = make_picture(8, 10)
    out = make_upscaler(model=str(checkpoint), scale=Fraction(5, 2), fit="before").upscale_tensor(x)
    small = resize(x, 5, 7, "bicubic")  # 20 and 25 over 4, rounded up
    expected = resize(run_network(make_compact(), small), 20, 25, "lanczos")
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [Fraction(4), Fraction(6)])
def test_fit_makes_no_difference_where_the_network_is_not_too_large(checkpoint, scale):
    x = make_picture(8, 10)
    outs = [make_upscaler(model=str(checkpoint), scale=scale, fit=fit).upscale_tensor(x) for fit in ("before", "after")]
    assert torch.equal(*outs)


@pytest.mark.parametrize("fit", ["before", "after"])
def test_blend_0_is_lanczos_bit_for_bit(checkpoint, fit):
    x = make_picture(9, 14, 2)
    for model in (str(checkpoint), "nearest"):
        upscaler = make_upscaler(model=model, scale=Fraction(3, 2), blend=0.0, fit=fit)
        assert torch.equal(upscaler.upscale_tensor(x), resize(x, 14, 21, "lanczos"))
        assert isinstance(upscaler._engine, IdentityEngine)


@pytest.mark.parametrize("blend", [0.25, 0.5])
def test_blend_is_the_share_of_the_network(checkpoint, blend):
    x = make_picture(9, 14, 2)
    sizes = {"scale": Fraction(3, 2), "model": str(checkpoint)}
    network, lanczos, mixed = (make_upscaler(**sizes, blend=share).upscale_tensor(x) for share in (1.0, 0.0, blend))
    assert (network - lanczos).abs().max() > 0.05
    torch.testing.assert_close(mixed, blend * network + (1 - blend) * lanczos, rtol=0, atol=1e-6)  # float32


def test_an_image_is_rounded_and_clipped():
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    out = make_upscaler(model="lanczos", scale=Fraction(3, 2)).upscale_image(image)
    assert out.shape == (14, 21, 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    exact = resize(x.float(), 14, 21, "lanczos")[0].permute(1, 2, 0).numpy() * 255
    assert exact.min() < -1  # so that there is something to clip
    assert exact.max() > 256
    assert np.abs(out - exact.clip(0, 255)).max() <= 0.501


@pytest.mark.parametrize("image", [np.zeros((6, 8, 3), np.uint8)[:, ::-1], np.asfortranarray(np.ones((5, 4, 3), "u1"))])
def test_an_image_may_be_a_view(image):
    out = make_upscaler(model="nearest").upscale_image(image)
    assert np.array_equal(out, image.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_refuses_what_is_no_image(image):
    with pytest.raises(UsageError, match=r"a picture is uint8 \(H, W, 3\)"):
        make_upscaler(model="lanczos").upscale_image(image)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 3, 4, 4, dtype=torch.float16),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(3, 4, 4),
        torch.zeros(1, 4, 4, 4),
        torch.zeros(1, 4, 4, 3),
    ],
)
def test_refuses_what_is_no_batch_of_pictures(x):
    with pytest.raises(UsageError, match=r"pictures are float32 \(N, 3, H, W\)"):
        make_upscaler(model="lanczos").upscale_tensor(x)


@pytest.mark.parametrize("options", [{"model": "lanczos"}, {"model": "nearest", "scale": Fraction(1)}])
def test_the_input_is_not_written_to(options):
    x = make_picture(6, 6)
    kept = x.clone()
    make_upscaler(**options, blend=0.5).upscale_tensor(x)
    assert torch.equal(x, kept)


class FakeEngine:
    """Doubles pictures exactly (no rounding anywhere), and has memory for so many pixels at once."""

    def __init__(self, num_pixels_that_fit, bytes_per_pixel=0, reach_px=3, max_pixels=None):
        self.num_pixels_that_fit = num_pixels_that_fit
        self.tried, self.done = [], []
        self.info = EngineInfo(
            engine="fake",
            device=CPU,
            precision="fp32",
            scale=2,
            reach_px=reach_px,
            align_px=1,
            bytes_per_pixel=bytes_per_pixel,
            max_pixels=max_pixels,
            flops_per_pixel=None,
        )

    def as_one_launch(self, work, recordable):
        return work

    def run(self, x):
        num_frames, _, height, width = x.shape
        self.tried.append((num_frames, height, width))
        if num_frames * height * width > self.num_pixels_that_fit:
            raise DeviceMemoryError("does not fit")
        self.done.append((num_frames, height, width))
        reach = self.info.reach_px
        spread = functional.max_pool2d(x, 2 * reach + 1, stride=1, padding=reach)
        return functional.interpolate(spread, scale_factor=2.0, mode="nearest")


def with_engine(engine, **options):
    upscaler = make_upscaler(model="lanczos", scale=Fraction(2), **options)
    upscaler._engine = engine
    return upscaler


def unconstrained(x):
    return with_engine(FakeEngine(10**9)).upscale_tensor(x)


def test_where_memory_suffices_everything_runs_at_once():
    engine = FakeEngine(10**9)
    with_engine(engine).upscale_tensor(make_picture(60, 80, 4))
    assert engine.tried == [(4, 60, 80)]


def test_where_memory_runs_short_there_are_fewer_frames_first():
    x = make_picture(60, 80, 7)
    engine = FakeEngine(2 * 60 * 80)
    upscaler = with_engine(engine)
    assert torch.equal(upscaler.upscale_tensor(x), unconstrained(x))
    assert engine.tried[:2] == [(7, 60, 80), (3, 60, 80)]
    assert engine.done == [(1, 60, 80)] * 7
    # What was found out is kept.
    engine.tried.clear()
    assert torch.equal(upscaler.upscale_tensor(x[:2]), unconstrained(x)[:2])
    assert engine.tried == [(1, 60, 80)] * 2


def test_where_one_frame_is_too_much_there_are_tiles():
    x = make_picture(150, 200, 2)
    engine = FakeEngine(60 * 60)
    upscaler = with_engine(engine)
    assert torch.equal(upscaler.upscale_tensor(x), unconstrained(x))
    assert engine.tried[:2] == [(2, 150, 200), (1, 150, 200)]
    # Tiles of 100 and their surroundings of 3 pixels do not fit, tiles of 50 do.
    assert engine.tried[2] == (1, 75 + 6, 100 + 6)
    assert engine.tried[3] == (1, 50 + 6, 50 + 6)
    assert engine.done == [(1, 56, 56)] * (2 * 3 * 4)
    engine.tried.clear()
    upscaler.upscale_tensor(x[:1])
    assert engine.tried == [(1, 56, 56)] * 12


def test_below_the_smallest_tile_it_gives_up():
    engine = FakeEngine(20 * 20)
    with pytest.raises(DeviceMemoryError, match=r"cpu: out of memory with one frame in tiles of 37 pixels; close"):
        with_engine(engine).upscale_tensor(make_picture(150, 100, 2))
    assert [shape[0] for shape in engine.tried] == [2, 1, 1, 1]
    assert engine.tried[-1][1:] == (30 + 6, 34 + 6)  # 150 in fives, 100 in threes


def test_a_picture_that_is_too_small_to_be_tiled_says_its_size():
    with pytest.raises(DeviceMemoryError, match="in tiles of 40 pixels"):
        with_engine(FakeEngine(10)).upscale_tensor(make_picture(30, 40))


def test_the_last_resort_still_gives_the_same_picture():
    x = make_picture(64, 130)
    engine = FakeEngine(40 * 40)
    assert torch.equal(with_engine(engine).upscale_tensor(x), unconstrained(x))
    assert max(height * width for _, height, width in engine.done) <= 40 * 40


def test_tiles_can_be_asked_for():
    x = make_picture(64, 96)
    engine = FakeEngine(10**9)
    assert torch.equal(with_engine(engine, tile=32).upscale_tensor(x), unconstrained(x))
    assert engine.done == [(1, 32 + 6, 32 + 6)] * 6


def test_tiles_overlap_no_further_than_it_pays():
    engine = FakeEngine(10**9, reach_px=300)
    with_engine(engine, tile=32).upscale_tensor(make_picture(40, 200))
    assert {shape[2] for shape in engine.done} == {29 + 2 * MAX_OVERLAP_PX}  # 200 in sevens


def test_memory_is_estimated_before_anything_is_tried(monkeypatch):
    x = make_picture(200, 300)
    # Half of what is free may be taken: 100 bytes for each of 200 * 200 pixels.
    monkeypatch.setattr(vidsr.inference.upscaler, "free_bytes", lambda device: 2 * 100 * 200 * 200)
    engine = FakeEngine(200 * 200, bytes_per_pixel=100)
    assert torch.equal(with_engine(engine).upscale_tensor(x), unconstrained(x))
    assert engine.tried == engine.done
    assert len(engine.done) == 3 * 5  # tiles of 200 - 2 * 64


def test_by_estimate_too_there_are_fewer_frames_before_there_are_tiles(monkeypatch):
    x = make_picture(60, 80, 7)
    monkeypatch.setattr(vidsr.inference.upscaler, "free_bytes", lambda device: 2 * 100 * (3 * 60 * 80))
    engine = FakeEngine(3 * 60 * 80, bytes_per_pixel=100)
    assert torch.equal(with_engine(engine).upscale_tensor(x), unconstrained(x))
    assert engine.tried == [(3, 60, 80), (3, 60, 80), (1, 60, 80)]


def test_an_engine_that_counts_in_32_bits_gets_no_more_than_it_can_count(monkeypatch):
    monkeypatch.setattr(vidsr.inference.upscaler, "free_bytes", lambda device: 10**12)
    x = make_picture(60, 80, 7)
    engine = FakeEngine(10**9, bytes_per_pixel=1, max_pixels=3 * 60 * 80 + 5)
    assert torch.equal(with_engine(engine).upscale_tensor(x), unconstrained(x))
    assert engine.tried == [(3, 60, 80), (3, 60, 80), (1, 60, 80)]
    x = make_picture(200, 300)
    engine = FakeEngine(10**9, bytes_per_pixel=1, max_pixels=190 * 190)
    assert torch.equal(with_engine(engine).upscale_tensor(x), unconstrained(x))
    assert engine.tried == engine.done and len(engine.done) > 1
    assert all(height * width <= 190 * 190 for _, height, width in engine.done)


@pytest.mark.parametrize(
    ("network", "whole", "not_whole"),
    [
        (RRDBNet(scale=4, num_blocks=1), (1920, 1080), (2048, 1080)),
        (RRDBNet(scale=2, num_blocks=1), (3840, 2160), (4096, 2160)),
        (SRVGGNetCompact(scale=4), (7680, 4320), (8192, 4320)),
    ],
)
def test_the_largest_tensor_of_a_network_is_counted_in_32_bits(network, whole, not_whole):
    most = most_pixels(network)
    for (width, height), fits in ((whole, True), (not_whole, False)):
        assert (width * height <= most) is fits
    if isinstance(network, RRDBNet):  # the phases of its last upsampling have one row and one column more
        height, width = (side * network.scale // 2 + 1 for side in whole)
        assert 4 * 64 * height * width < 2**31


def test_what_is_recorded_adapts_to_nothing():
    engine, works = FakeEngine(2 * 60 * 80), []
    engine.as_one_launch = lambda work, recordable: works.append(recordable) or work
    upscaler, x = with_engine(engine), make_picture(60, 80, 7)
    launch = upscaler.as_one_launch(lambda tensors: [upscaler.upscale_tensor(tensors[0])])
    (expected,), watched = launch([x]), upscaler.network_watch.seconds
    engine.tried.clear()
    assert torch.equal(works[0]([x])[0], expected)
    assert engine.tried == engine.done[-len(engine.tried) :]  # at once in what fitted before
    assert upscaler.network_watch.seconds == watched  # events of a recording have no time
    engine.num_pixels_that_fit = 60 * 80 - 1
    with pytest.raises(DeviceMemoryError, match="does not fit"):
        works[0]([x])
    assert torch.equal(launch([x])[0], expected)  # that one goes on in tiles


def test_a_short_batch_does_not_make_those_after_it_short():
    engine = FakeEngine(10**9)
    upscaler = with_engine(engine)
    for num_frames in (1, 4, 2):
        upscaler.upscale_tensor(make_picture(20, 30, num_frames))
    assert engine.tried == [(1, 20, 30), (4, 20, 30), (2, 20, 30)]


def test_every_size_has_an_estimate_of_its_own(monkeypatch):
    monkeypatch.setattr(vidsr.inference.upscaler, "free_bytes", lambda device: 2 * 100 * 100 * 100)
    engine = FakeEngine(100 * 100, bytes_per_pixel=100)
    upscaler = with_engine(engine)
    for height, width in ((40, 60), (200, 300), (40, 60)):
        upscaler.upscale_tensor(make_picture(height, width))
    assert engine.tried == engine.done
    assert engine.tried[0] == engine.tried[-1] == (1, 40, 60)


@pytest.mark.parametrize("tile", [None, 32])
def test_a_network_in_tiles_is_the_network(checkpoint, tile):
    x = make_picture(50, 70, 2)
    out = make_upscaler(model=str(checkpoint), scale=Fraction(4), tile=tile).upscale_tensor(x)
    torch.testing.assert_close(out, run_network(make_compact(), x), rtol=0, atol=1e-5)  # float32, as above


def test_auto_is_the_compact_network_on_a_cpu():
    if locate(find_model("realesr-animevideov3")) is None:
        pytest.skip("the weights of realesr-animevideov3 are not on this machine")
    upscaler = make_upscaler()
    assert upscaler.model.name == "realesr-animevideov3"
    assert upscaler.model.reason == "auto: the compact network, since there is no GPU"
    assert upscaler.engine_reason.startswith("default")
    assert (upscaler.engine_info.engine, upscaler.engine_info.scale) != ("none", 1)
    assert upscaler.upscale_image(np.zeros((5, 7, 3), np.uint8)).shape == (10, 14, 3)


def test_auto_is_the_best_network_on_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(vidsr.inference.upscaler.weights_store, "obtain", lambda entry, on_event: tmp_path / entry.name)
    chosen = choose_model(UpscaleOptions(), torch.device("cuda:0"))
    assert (chosen.name, chosen.path) == ("RealESRGAN_x4plus", tmp_path / "RealESRGAN_x4plus")
    assert chosen.reason == "auto: the best network, since there is a GPU"


def test_a_model_that_was_asked_for_has_that_as_its_reason():
    chosen = choose_model(UpscaleOptions(model="LANCZOS"), CPU)
    assert (chosen.name, chosen.reason, chosen.path) == ("lanczos", "asked for", None)


@pytest.mark.parametrize(("model", "error"), [("nonsense", UnknownModelError), ("no/such.pth", WeightsMissingError)])
def test_a_model_that_is_not_there(model, error):
    with pytest.raises(error):
        make_upscaler(model=model)


def test_less_denoising_needs_a_sibling(checkpoint):
    with pytest.raises(UsageError, match=r"realesr-general-x4v3; tiny\.safetensors has no weaker sibling"):
        make_upscaler(model=str(checkpoint), denoise=0.5)
    with pytest.raises(UsageError, match="realesr-general-x4v3; lanczos is no network"):
        make_upscaler(model="lanczos", denoise=0.5)


@pytest.mark.parametrize("denoise", [0.0, 0.25])
def test_less_denoising_blends_the_weights_of_two(tmp_path, monkeypatch, denoise):
    networks = {"realesr-general-x4v3": make_compact(1), "realesr-general-wdn-x4v3": make_compact(2)}
    for name, network in networks.items():
        save_safetensors(network, tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(
        vidsr.inference.upscaler.weights_store, "obtain", lambda e, on_event: tmp_path / f"{e.name}.safetensors"
    )
    x = make_picture(6, 8)
    out = make_upscaler(model="realesr-general-x4v3", scale=Fraction(4), denoise=denoise).upscale_tensor(x)
    expected = run_network(blend_networks(*networks.values(), denoise), x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(out, run_network(networks["realesr-general-x4v3"], x), atol=1e-3)


def test_half_precision_is_refused_on_the_cpu(checkpoint):
    with pytest.raises(UsageError, match="fp16 was asked for on the CPU"):
        make_upscaler(model=str(checkpoint), precision="fp16")


def test_a_checkpoint_can_be_read_back(checkpoint):
    again = load_network(checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), make_compact().parameters(), strict=True))


def test_the_defaults_are_the_options_defaults(monkeypatch):
    chosen = dataclasses.replace(choose_model(UpscaleOptions(model="lanczos"), CPU), name="nearest")
    monkeypatch.setattr(vidsr.inference.upscaler, "choose_model", lambda options, device, on_event: chosen)
    assert Upscaler().options == UpscaleOptions()
