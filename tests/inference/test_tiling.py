"""Tiles: they cover everything once, and nobody can tell afterwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from vidsr.inference.tiling import Span, run_tiled, spans
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.rrdb.network import RRDBNet


def make_picture(height, width, batch=1):
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(height * width))


@pytest.mark.parametrize("align", [1, 2, 4])
@pytest.mark.parametrize("overlap", [0, 3, 10, 32])
@pytest.mark.parametrize("tile", [1, 7, 16, 32])
def test_spans_cover_everything_once_and_see_their_surroundings(tile, overlap, align):
    for length in range(1, 140):
        cut = spans(length, tile, overlap, align)
        assert [s.keep_start for s in cut] == [0, *(s.keep_stop for s in cut[:-1])]
        assert cut[-1].keep_stop == length
        assert all(0 < s.keep_stop - s.keep_start <= tile for s in cut)
        assert all(s.start % align == 0 for s in cut)
        for s in cut:
            assert 0 <= s.start <= max(s.keep_start - overlap, 0)
            assert min(s.keep_stop + overlap, length) <= s.stop <= length
        # One shape for all; where the length is no multiple of the alignment, one more for those at the end.
        widths = {s.stop - s.start for s in cut if s.stop < length or length % align == 0}
        assert len(widths) <= 1, (length, cut)
        # No wider than needed: the context on both sides, rounded outwards.
        assert max(s.stop - s.start for s in cut) <= tile + 2 * overlap + 3 * (align - 1)


@pytest.mark.parametrize("tile", [0, 50, 51])
def test_what_fits_into_one_tile_is_not_cut(tile):
    assert spans(50, tile, 8) == [Span(0, 50, 0, 50)]


def test_spans_by_hand():
    assert spans(10, 5, 2) == [Span(0, 9, 0, 5), Span(1, 10, 5, 10)]
    assert spans(20, 7, 1) == [Span(0, 9, 0, 6), Span(5, 14, 6, 13), Span(11, 20, 13, 20)]


class ToyNetwork(torch.nn.Module):
    """Looks two pixels far and doubles the size; counts in whole numbers, so that sums are exact in any order."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = (
            torch.randint(-3, 4, shape, generator=generator).float() for shape in ((4, 3, 3, 3), (12, 4, 3, 3))
        )
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        y = functional.conv2d(functional.conv2d(x, self.first, padding=1).relu(), self.second, padding=1)
        return functional.pixel_shuffle(y, 2)


@pytest.mark.parametrize("overlap", [2, 5])
@pytest.mark.parametrize("tile", [4, 7, 16])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (5, 40), (40, 3), (1, 19)])
def test_tiled_is_untiled_bit_for_bit(height, width, tile, overlap):
    network = ToyNetwork()
    x = (make_picture(height, width, batch=2) * 255).round()
    whole = network(x)
    tiled = run_tiled(network, x, scale=2, tile=tile, overlap=overlap)
    assert torch.equal(tiled, whole)
    assert tiled.shape == (2, 3, 2 * height, 2 * width)
    assert all(h <= tile + 2 * overlap and w <= tile + 2 * overlap for _, _, h, w in network.shapes[1:])
    assert len(set(network.shapes[1:])) == 1


def test_too_small_an_overlap_shows():
    network, x = ToyNetwork(), make_picture(24, 24)
    # Three tiles: of two, each reads the other's share of the border as well.
    assert not torch.equal(run_tiled(network, x, scale=2, tile=8, overlap=1), network(x))


def test_no_tiles_run_the_picture_as_it_is():
    x = make_picture(8, 8)
    for tile in (0, 8, 100):
        assert run_tiled(lambda whole: whole, x, scale=1, tile=tile, overlap=3) is x


def test_the_output_has_the_networks_type_and_channels():
    out = run_tiled(lambda x: x[:, :1].half(), make_picture(9, 8), scale=1, tile=4, overlap=1)
    assert out.dtype == torch.float16
    assert out.shape == (1, 1, 9, 8)
    assert torch.equal(out, make_picture(9, 8)[:, :1].half())


@pytest.mark.parametrize(("height", "width"), [(40, 40), (37, 51), (9, 61)])
def test_the_compact_network_in_tiles(height, width):
    torch.manual_seed(1)
    network = SRVGGNetCompact(scale=4, num_features=8, num_convs=4).eval().requires_grad_(False)
    x = make_picture(height, width)
    tiled = run_tiled(network, x, scale=4, tile=16, overlap=network.reach_px)
    # Convolutions may choose another algorithm, and another order of sums, for another size.
    torch.testing.assert_close(tiled, network(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "tile"), [(16, 96, 32), (97, 37, 32), (3, 129, 24), (1, 131, 16)])
def test_a_network_that_folds_pixels_in_tiles(height, width, tile):
    torch.manual_seed(1)
    network = RRDBNet(scale=2, num_blocks=1, num_features=4, growth_channels=2).eval().requires_grad_(False)
    x = make_picture(height, width)
    assert network.align_px == 2
    tiled = run_tiled(network, x, scale=2, tile=tile, overlap=network.reach_px, align=2)
    torch.testing.assert_close(tiled, network(x), rtol=0, atol=1e-5)  # as above


@pytest.mark.parametrize("length", [101, 129, 133])
def test_the_last_pixel_of_an_odd_picture_is_seen_by_every_tile_within_reach(length):
    def network(x):  # folds pixels by two, then looks 16 blocks, 32 pixels, to both sides
        folded = functional.pixel_unshuffle(functional.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)), 2)
        summed = functional.avg_pool2d(folded, (1, 33), stride=1, padding=(0, 16), divisor_override=1)
        return functional.pixel_shuffle(summed, 2)[..., : x.shape[-2], : x.shape[-1]]

    x = (make_picture(2, length) * 255).round()
    assert torch.equal(run_tiled(network, x, scale=1, tile=10, overlap=33, align=2), network(x))


@pytest.mark.parametrize(("height", "width", "tile"), [(60, 90, 24), (61, 37, 16), (40, 200, 30), (33, 34, 32)])
@pytest.mark.parametrize("align", [1, 2])
def test_cross_faded_tiles_add_up_to_the_whole(height, width, tile, align):
    x = torch.rand(2, 3, height, width)

    def enlarge(piece):  # reaches no further than its own pixel, so every tile has the whole's values
        return piece.repeat_interleave(2, -1).repeat_interleave(2, -2)

    out = run_tiled(enlarge, x, scale=2, tile=tile, overlap=8, align=align, fade=4)
    torch.testing.assert_close(out, enlarge(x))  # the two weights at a border sum to one but for rounding


def test_a_fade_leaves_no_step_where_tiles_disagree():
    values = iter(range(100))

    def disagreeing(piece):  # every tile another constant: the hardest border there can be
        return torch.full_like(piece, float(next(values)))

    out = run_tiled(disagreeing, torch.zeros(1, 1, 8, 96), scale=1, tile=32, overlap=16, fade=8)
    steps = out[0, 0, 4].diff()
    assert steps.max() <= 1 / 16 + 1e-6 and steps.min() >= 0  # one level over 16 pixels, instead of all at once
    assert out[0, 0, 4, 0] == 0 and out[0, 0, 4, -1] == 2
