"""Maps whose weights repeat as strided convolutions: the same as written out, and read once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vidsr.frames import ColorTags, PictureFormat, pixel_layout
from vidsr.pixels.axis_blocks import Block
from vidsr.pixels.color import rgb_to_planes
from vidsr.pixels.resample import resize
from vidsr.pixels.stencil import from_stencil, stencil_of

CPU = torch.device("cpu")


def make_map(num_in, num_out, period, step, num_taps, reach):
    """Rows of random weights that repeat, with what they would see beyond the ends added up on the edge samples."""
    kernel = np.random.default_rng(num_in).normal(size=(period, num_taps))
    dense = np.zeros((num_out, num_in))
    for i in range(num_out):
        block, phase = divmod(i, period)
        places = np.clip(np.arange(num_taps) + block * step - reach, 0, num_in - 1)
        np.add.at(dense[i], places, kernel[phase])

    def rows(start, stop):
        first = max(start // period * step - reach, 0)
        last = min((stop - 1) // period * step - reach + num_taps, num_in)
        first = min(first, num_in - 1)
        return Block(start, first, torch.from_numpy(dense[start:stop, first : max(last, first + 1)].astype(np.float32)))

    return dense, rows


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize(
    ("period", "step", "num_taps", "reach"),
    [(1, 2, 12, 5), (1, 4, 24, 10), (3, 2, 9, 4), (2, 3, 20, 9), (9, 16, 27, 5)],
)
@pytest.mark.parametrize("num_in", [97, 128, 201])
def test_every_output_is_the_sum_of_its_inputs(num_in, period, step, num_taps, reach, axis):
    num_out = num_in * period // step
    dense, rows = make_map(num_in, num_out, period, step, num_taps, reach)
    stencil = stencil_of(rows, num_in, num_out, period, step, CPU)
    x = torch.randn(2, 3, *((5, num_in) if axis == -1 else (num_in, 5)), generator=torch.Generator().manual_seed(1))
    out = from_stencil(x, axis, stencil, num_out)
    wanted = np.moveaxis(np.tensordot(dense, x.double().numpy(), (1, x.ndim + axis)), 0, axis)
    assert out.is_contiguous() and out.shape == wanted.shape
    np.testing.assert_allclose(out.numpy(), wanted, rtol=0, atol=2e-5)  # float32 sums of up to 27 products
    half = from_stencil(x.half(), axis, stencil, num_out)
    assert half.dtype == torch.float16 and np.abs(half.double().numpy() - wanted).max() < 0.1
    # All but the outputs near the ends are the convolution's.
    assert sum(len(block.matrix) for block in stencil.ends) <= 2 * period * (num_taps // step + 2)


def test_a_picture_of_ends_alone_has_no_stencil():
    _, rows = make_map(12, 6, 1, 2, 12, 5)
    assert stencil_of(rows, 12, 6, 1, 2, CPU) is None


def test_taps_of_zero_cost_nothing():
    def rows(start, stop):
        first, last = max(2 * start - 9, 0), min(2 * stop + 9, 100)
        matrix = torch.zeros(stop - start, last - first)
        for row, i in enumerate(range(start, stop)):
            matrix[row, 2 * i - first] = 1
        return Block(start, first, matrix)

    stencil = stencil_of(rows, 100, 50, 1, 2, CPU)
    assert stencil.weights.tolist() == [[1.0]]
    x = torch.arange(100.0).view(1, 1, 1, 100)
    assert torch.equal(from_stencil(x, -1, stencil, 50), x[..., ::2])


@pytest.mark.parametrize("axis", [-1, -2])
def test_more_samples_than_32_bits_count_go_plane_by_plane(monkeypatch, axis):
    _, rows = make_map(128, 64, 1, 2, 12, 5)
    stencil = stencil_of(rows, 128, 64, 1, 2, CPU)
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    expected, sizes, conv2d = from_stencil(x, axis, stencil, 64), [], torch.nn.functional.conv2d
    monkeypatch.setattr("vidsr.pixels.stencil._MOST_SAMPLES", 2 * 128 * 128)
    noted = lambda x, *given, **named: sizes.append(x.numel()) or conv2d(x, *given, **named)  # noqa: E731
    monkeypatch.setattr("vidsr.pixels.stencil.F.conv2d", noted)
    out = from_stencil(x, axis, stencil, 64)
    assert sizes == [128 * 128] * 6 and out.is_contiguous()
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


class Traffic(TorchDispatchMode):
    """Bytes that operations read and write, each of its tensors once, and how many there are; views are none."""

    def __init__(self):
        super().__init__()
        self.num_bytes = self.num_operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.is_view or func.name().startswith("aten::empty"):
            return result
        read = {id(leaf): leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in [*read.values(), *written])
        self.num_operations += 1
        return result


def test_on_a_gpu_the_way_after_the_network_reads_a_picture_once():
    """On the device without values, which goes the GPU's way: 1280x720, four times as large, to twice as large.

    Tap by tap it was 7.0 GB in 120 operations.
    """
    color = ColorTags(matrix=1, full_range=False, siting="left")
    target = PictureFormat(width=2560, height=1440, layout=pixel_layout("yuv420p"), color=color)
    large = torch.empty((1, 3, 2880, 5120), device="meta")

    def run():
        with torch.inference_mode(), Traffic() as traffic:
            out = resize(large, 1440, 2560, "lanczos")
            resized = traffic.num_bytes
            rgb_to_planes(out, target)
        return resized, traffic

    run()  # what is kept from call to call is made
    resized, traffic = run()
    least = 4 * 3 * (2880 * 5120 + 2 * 1440 * 5120 + 1440 * 2560)  # each axis read and written once
    assert least <= resized < 1.02 * least
    assert traffic.num_bytes < 1.0e9 and traffic.num_operations < 60
