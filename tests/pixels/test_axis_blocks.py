"""Maps along an axis as products with small matrices: the same as written out, in any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidsr.frames import ColorTags, PictureFormat, pixel_layout
from vidsr.pixels.axis_blocks import Block, from_blocks
from vidsr.pixels.color import planes_to_rgb, rgb_to_planes
from vidsr.pixels.resample import resize

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (2, 3, 7, 5)])
def test_blocks_are_products(axis, shape):
    x = picture(*shape)
    first, second = picture(2, 3), picture(4, 5)
    result = from_blocks(x, axis, [Block(0, 1, first), Block(2, 0, second)])
    matrix = np.zeros((6, shape[axis]))
    matrix[:2, 1:4], matrix[2:, :5] = first, second
    wanted = np.moveaxis(np.tensordot(matrix, x.numpy(), (1, x.ndim + axis)), 0, axis)
    assert result.shape == wanted.shape
    assert np.abs(result.numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize("size", [(40, 30), (41, 29), (300, 301), (23, 31)])
def test_the_two_ways_to_resize_agree(size):
    """One for CPUs and one for GPUs and whoever differentiates."""
    x = picture(1, 3, 60, 47)
    by_blocks = resize(x, *size, "lanczos")
    by_taps = resize(x.requires_grad_(), *size, "lanczos").detach()
    assert (by_blocks - by_taps).abs().max() * 255 < 1e-3


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv411p", "yuv410p", "yuv440p"])
@pytest.mark.parametrize("size", [(96, 130), (61, 47), (3, 2), (1, 1)])
def test_the_two_ways_to_halve_chroma_agree(size, name, siting):
    color = ColorTags(matrix=1, full_range=True, siting=siting)
    form = PictureFormat(width=size[0], height=size[1], layout=pixel_layout(name), color=color)
    rgb = picture(1, 3, *reversed(size))
    by_blocks = rgb_to_planes(rgb, form)
    by_taps = rgb_to_planes(rgb.requires_grad_(), form)
    for mine, other in zip(by_blocks, by_taps, strict=True):
        # Both round, and a sum that lies between two codes may fall to either side.
        assert (mine.int() - other.int()).abs().max() <= 1
        assert (mine != other).sum() <= max(mine.numel() // 1000, 1)


def test_a_picture_is_the_same_in_any_batch():
    x = picture(4, 3, 90, 70)
    form = PictureFormat(
        width=35, height=45, layout=pixel_layout("yuv420p"), color=ColorTags(matrix=1, full_range=True, siting="left")
    )
    small = resize(x, 45, 35, "lanczos")
    planes = rgb_to_planes(small, form)
    back = planes_to_rgb(planes, form)
    for index in range(4):
        one = slice(index, index + 1)
        assert torch.equal(resize(x[one], 45, 35, "lanczos"), small[one])
        assert all(torch.equal(a, b[one]) for a, b in zip(rgb_to_planes(small[one], form), planes, strict=True))
        assert back[one].shape == small[one].shape


@pytest.mark.parametrize("axis", [-1, -2])
def test_where_a_picture_begins_does_not_matter(axis):
    """As in a batch of pictures of an odd size, on processors whose products care about it."""
    x = picture(45, 70)
    blocks = [Block(0, 0, picture(32, 40)), Block(32, 5, picture(8, 40))]
    wanted = from_blocks(x, axis, blocks)
    for offset in range(1, 17):
        moved = torch.empty(x.numel() + offset)[offset:].view_as(x).copy_(x)
        assert torch.equal(from_blocks(moved, axis, blocks), wanted), offset
