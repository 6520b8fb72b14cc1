"""Unchanged regions: what is not computed again is what it was, and what could have changed is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidsr.engines.table import find_engine
from vidsr.inference.unchanged_regions import TILE_PX, Box, Regions, changed_tiles, crops_of
from vidsr.inference.upscaler import Upscaler
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.options.upscale import UpscaleOptions

pytestmark = pytest.mark.usefixtures("one_thread")

# Sums in another order: a crop's pixels may lie otherwise in an engine's vectors.
LEVELS = 1e-3
REACH = 3


@pytest.fixture
def network():
    """A network of reach 3, and how many pixels it was given."""
    torch.manual_seed(0)
    inner = SRVGGNetCompact(scale=2, num_features=4, num_convs=REACH - 2).eval().requires_grad_(False)

    def run(x_nchw):
        run.num_pixels += x_nchw.shape[-1] * x_nchw.shape[-2]
        return inner(x_nchw)

    run.num_pixels = 0
    return run


def picture(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def changed(x_nchw, *spots):
    """A copy with other values in boxes (top, bottom, left, right)."""
    copy = x_nchw.clone()
    for top, bottom, left, right in spots:
        copy[..., top:bottom, left:right] = 1 - copy[..., top:bottom, left:right]
    return copy


def new_regions():
    return Regions(scale=2, reach_px=REACH, align_px=1)


@pytest.mark.parametrize("size", [(96, 160), (97, 161), (130, 75)])
@pytest.mark.parametrize(
    "spots",
    [
        [(0, 1, 0, 1)],
        [(40, 41, 60, 61)],
        [(15, 17, 15, 17)],  # over the corner of four tiles
        [(0, 96, 70, 72)],
        [(2, 5, 3, 9), (90, 95, 60, 70)],
        [(90, 200, 60, 300)],  # to the far corner
    ],
)
def test_a_changed_frame_is_what_the_whole_would_be(network, size, spots):
    first = picture(*size)
    second = changed(first, *spots)
    regions = new_regions()
    regions.run(first, network)
    network.num_pixels = 0
    result = regions.run(second, network)
    assert network.num_pixels < 0.6 * size[0] * size[1] and regions.num_partly == 1
    assert (result - network(second)).abs().max() * 255 < LEVELS


def test_changes_of_many_frames_do_not_add_up_to_an_error(network):
    generator, x = np.random.default_rng(0), picture(96, 112)
    regions = new_regions()
    regions.run(x, network)
    for _ in range(40):
        top, left = int(generator.integers(0, 92)), int(generator.integers(0, 108))
        x = changed(x, (top, top + 4, left, left + 4))
        assert (regions.run(x, network) - network(x)).abs().max() * 255 < LEVELS
    assert regions.num_partly == 40


def test_what_nothing_has_changed_in_is_not_computed(network):
    x, regions = picture(64, 64), new_regions()
    first = regions.run(x, network).clone()
    network.num_pixels = 0
    assert torch.equal(regions.run(x.clone(), network), first)
    assert network.num_pixels == 0


def test_frames_that_differ_everywhere_are_computed_whole(network):
    regions = new_regions()
    for seed in range(3):
        x = picture(64, 80, seed)
        assert torch.equal(regions.run(x, network), network(x))
    assert regions.num_partly == 0


@pytest.mark.parametrize("other", [picture(64, 81), picture(80, 64), torch.cat([picture(64, 80)] * 2)])
def test_another_size_or_number_is_computed_whole(network, other):
    regions, x = new_regions(), picture(64, 80)
    for given in (x, other, x, other):
        assert torch.equal(regions.run(given, network), network(given))
    assert regions.num_partly == 0


def test_forgetting_computes_the_whole(network):
    regions, x = new_regions(), picture(64, 80)
    regions.run(x, network)
    regions.forget()
    network.num_pixels = 0
    regions.run(changed(x, (8, 9, 8, 9)), network)
    assert network.num_pixels == 64 * 80


def test_after_a_failure_nothing_half_pasted_is_used(network):
    x, regions = picture(96, 160), new_regions()
    regions.run(x, network)
    num_calls = 0

    def fails_at_the_second_crop(crop):
        nonlocal num_calls
        num_calls += 1
        if num_calls == 2:
            raise MemoryError
        return network(crop)

    two = changed(x, (2, 5, 3, 9), (90, 95, 120, 130))
    with pytest.raises(MemoryError):
        regions.run(two, fails_at_the_second_crop)
    assert num_calls == 2
    assert torch.equal(regions.run(two, network), network(two))


def test_values_that_are_no_numbers_count_as_changed(network):
    x, regions = picture(96, 160), new_regions()
    x[0, 0, 5, 5] = torch.nan
    regions.run(x, network)
    network.num_pixels = 0
    assert regions.run(x.clone(), network).isnan().any()
    assert network.num_pixels > 0


def test_tiles_are_found_by_any_channel_and_cut_short_at_the_end():
    before = torch.zeros(1, 3, 33, 50)
    after = before.clone()
    after[0, 2, 32, 49] = 1
    after[0, 1, 0, 16] = -1e-30
    assert np.argwhere(changed_tiles(after, before)).tolist() == [[0, 1], [2, 3]]
    assert changed_tiles(after, before).shape == (3, 4)


@pytest.mark.parametrize("seed", range(20))
def test_crops_cover_all_that_a_change_reaches_and_read_all_it_depends_on(seed):
    generator = np.random.default_rng(seed)
    height, width, reach = 200 + seed, 310, 18
    tiles = np.zeros((-(-height // TILE_PX), -(-width // TILE_PX)), bool)
    for _ in range(seed % 4 + 1):
        tiles[generator.integers(0, tiles.shape[0]), generator.integers(0, tiles.shape[1])] = True
    crops = crops_of(tiles, height, width, reach)
    assert crops is not None
    changed_px = tiles.repeat(TILE_PX, 0).repeat(TILE_PX, 1)[:height, :width]
    kept_px = np.zeros_like(changed_px)
    for read, kept in crops:
        kept_px[kept.top : kept.bottom, kept.left : kept.right] = True
        assert read == kept.dilated(reach, height, width)
    for y, x in np.argwhere(changed_px)[::37]:
        assert kept_px[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].all()
    assert sum(read.area for read, _ in crops) < 0.6 * height * width


def test_two_spots_far_apart_are_two_crops():
    tiles = np.zeros((40, 60), bool)
    tiles[1, 1] = tiles[38, 58] = True
    assert len(crops_of(tiles, 640, 960, 18)) == 2
    tiles[2, 2] = True
    assert len(crops_of(tiles, 640, 960, 18)) == 2
    assert crops_of(np.zeros((40, 60), bool), 640, 960, 18) == []
    assert crops_of(np.ones((40, 60), bool), 640, 960, 18) is None
    tiles[::3, ::3] = True  # little, but everywhere
    assert crops_of(tiles, 640, 960, 18) is None


def test_a_box_stays_inside_the_picture():
    assert Box(10, 20, 30, 40).dilated(15, 30, 50) == Box(0, 30, 15, 50)
    assert Box(10, 20, 30, 40).within(Box(5, 50, 10, 50)) == Box(5, 15, 20, 30)


@pytest.mark.parametrize(
    ("model", "is_used"), [("realesr-animevideov3", True), ("nearest", False), ("RealESRGAN_x4plus_anime_6B", False)]
)
def test_only_networks_of_small_reach_work_in_parts(model, is_used):
    upscaler = Upscaler(UpscaleOptions(model=model, device="cpu"))
    assert (upscaler.new_regions() is not None) == is_used


@pytest.mark.parametrize("engine", ["torch", "winograd"])
def test_the_real_network_in_parts(engine):
    absent = find_engine(engine).why_absent()
    if absent is not None:
        pytest.skip(f"{engine} is not here: {absent}")
    upscaler = Upscaler(UpscaleOptions(model="realesr-animevideov3", device="cpu", scale=2, engine=engine))
    regions, x = upscaler.new_regions(), picture(120, 160)
    upscaler.upscale_tensor(x, regions=regions)
    x = changed(x, (50, 58, 3, 9))
    result = upscaler.upscale_tensor(x, regions=regions)
    assert regions.num_partly == 1
    # A crop's tiles of 6 pixels lie elsewhere than the whole picture's, so that Winograd's sums differ.
    limit = LEVELS if engine == "torch" else 10 * LEVELS
    assert (result - upscaler.upscale_tensor(x)).abs().max() * 255 < limit
