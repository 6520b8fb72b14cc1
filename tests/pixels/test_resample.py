"""Resizing against its definition, written out as a dense matrix in float64, and its small building blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidsr.pixels.resample import every, interleave, pad_edge, resize

KERNELS = ["nearest", "bicubic", "lanczos"]
# 2, 1/2, 3/2, 2/3, 4/3, 4, 1/4 and ratios whose weights repeat too rarely for a pass each.
LENGTHS = [
    (24, 48),
    (24, 12),
    (24, 36),
    (24, 16),
    (24, 32),
    (24, 96),
    (24, 6),
    (100, 137),
    (137, 100),
    (25, 13),
    (7, 64),
    (7, 65),
    (64, 7),
    (129, 2),
    (1, 1),
    (1, 3),
    (1, 70),
    (3, 1),
    (2, 5),
    (5, 2),
    (17, 17),
]


def lanczos_matrix(num_in, num_out):
    """Row i holds the weights of output sample i: sinc windowed by a sinc of three lobes, edges repeated."""
    step = num_in / num_out
    widening = max(step, 1.0)
    centre = (np.arange(num_out)[:, None] + 0.5) * step - 0.5
    reach = int(np.ceil(3 * widening)) + 1
    virtual = np.arange(-reach, num_in + reach)
    x = (virtual - centre) / widening
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((num_out, num_in))
    for column, index in enumerate(np.clip(virtual, 0, num_in - 1)):
        matrix[:, index] += weights[:, column]
    return matrix


def make_noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def check(x, height, width):
    out = resize(x, height, width, "lanczos")
    rows, columns = lanczos_matrix(x.shape[2], height), lanczos_matrix(x.shape[3], width)
    expected = rows @ x.double().numpy() @ columns.T
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    # Two passes of float32 sums, of up to 400 products of size 0.1 where much is shrunk, and of ten else.
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("num_in", "num_out"), LENGTHS)
def test_lanczos_is_its_definition(num_in, num_out):
    check(make_noise(2, 3, num_in, 9), num_out, 9)  # one axis
    check(make_noise(2, 3, 9, num_in), 9, num_out)  # the other
    check(make_noise(1, 3, num_in, num_in), num_out, num_out)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 1, 1, 1), (4, 4)), ((3, 3, 5, 7), (10, 7)), ((1, 3, 20, 30), (40, 15)), ((2, 1, 33, 20), (20, 33))],
)
def test_lanczos_takes_both_axes_as_they_come(shape, size):
    check(make_noise(*shape), *size)


def test_lanczos_takes_views():
    x = make_noise(2, 3, 20, 14)
    view = x.transpose(2, 3)[..., 1:-1, ::2]
    assert torch.equal(resize(view, 24, 13, "lanczos"), resize(view.contiguous(), 24, 13, "lanczos"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_size_is_the_same_picture(kernel):
    x = make_noise(2, 3, 11, 14)
    # torch's bicubic runs its sums even then, with weights of 0 and 1.
    torch.testing.assert_close(resize(x, 11, 14, kernel), x, rtol=0, atol=1e-7 if kernel == "bicubic" else 0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("num_in", "num_out"), LENGTHS)
def test_a_constant_picture_stays_constant(num_in, num_out, kernel):
    out = resize(torch.full((1, 3, num_in, num_in), 0.7), num_out, num_out, kernel)
    # Normalised weights in float32: a few units in the last place.
    torch.testing.assert_close(out, torch.full_like(out, 0.7), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("num_in", "num_out"), [(48, 96), (96, 48), (48, 72), (72, 48), (48, 64), (100, 137), (80, 20)]
)
def test_a_ramp_stays_a_ramp(num_in, num_out):
    step = num_in / num_out
    ramp = torch.arange(num_in, dtype=torch.float32) / num_in
    out = resize(ramp.expand(1, 1, 4, num_in), 4, num_out, "lanczos")[0, 0, 0].numpy()
    position = (np.arange(num_out) + 0.5) * step - 0.5
    border = int(np.ceil(3 * max(step, 1) / step)) + 1
    found, expected = out[border:-border], position[border:-border] / num_in
    # Lanczos reproduces constants but no slopes: it wobbles by 0.02 of an input sample's step. Where the phases are
    # symmetric the mean is exact, so a shift by 0.01 of a sample shows there.
    assert np.abs(found - expected).max() * num_in < 0.02 * max(step, 1)
    assert abs(np.mean(found - expected)) * num_in < 1e-3 * max(step, 1)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(66, 120), (22, 40), (44, 80), (33, 60), (37, 59), (132, 240)])
def test_things_stay_where_they_are(kernel, size):
    height, width = 44, 80
    y, x = np.mgrid[0:height, 0:width]
    blob = np.exp(-((y - 20.25) ** 2 + (x - 33.5) ** 2) / (2 * 4.0**2))
    out = resize(torch.tensor(blob, dtype=torch.float32)[None, None], *size, kernel)[0, 0].double().numpy()
    out_y, out_x = np.mgrid[0 : size[0], 0 : size[1]]
    found = (out * out_y).sum() / out.sum(), (out * out_x).sum() / out.sum()
    expected = (20.25 + 0.5) * size[0] / height - 0.5, (33.5 + 0.5) * size[1] / width - 0.5
    # Half a pixel is the mistake that is looked for; a hundredth of it is float32 and the cut tails of the blob.
    assert found == pytest.approx(expected, abs=5e-3)


def test_shrinking_does_not_alias():
    wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * 0.4 * torch.arange(64.0) + 0.3).expand(1, 1, 8, 64)
    for kernel in ("bicubic", "lanczos"):
        inner = resize(wave, 2, 16, kernel)[0, 0, 0, 4:-4]
        # A wave of 2.5 pixels, at a quarter of the size, is gray. What a kernel lets through is below 2 %.
        assert (inner - 0.5).abs().max() < 0.02
    assert (resize(wave, 2, 16, "nearest") - 0.5).abs().max() > 0.4


def test_nearest_repeats_and_drops_pixels():
    x = make_noise(1, 3, 4, 6)
    assert torch.equal(resize(x, 8, 18, "nearest"), x.repeat_interleave(2, 2).repeat_interleave(3, 3))
    assert torch.equal(resize(x, 4, 2, "nearest"), x[..., 1::3])


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_input_is_not_written_to(kernel):
    x = make_noise(1, 3, 12, 10)
    kept = x.clone()
    resize(x, 24, 15, kernel)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("num_phases", [1, 2, 3, 5])
def test_interleaving_undoes_taking_every_nth(num_phases, axis):
    x = make_noise(2, 3, 30, 30)
    parts = [every(x, axis, start, num_phases) for start in range(num_phases)]
    assert all(part.is_contiguous() and part.shape[axis] == 30 // num_phases for part in parts)
    assert torch.equal(interleave(parts, axis), x)


def test_interleaving_puts_sample_k_of_part_r_at_kp_plus_r():
    parts = [torch.tensor([[0, 2, 4]]), torch.tensor([[1, 3, 5]])]
    assert interleave(parts, -1).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert interleave(parts, -2).tolist() == [[0, 2, 4], [1, 3, 5]]


def test_every_nth_starts_where_it_is_told_to():
    x = torch.arange(7).view(1, 7)
    assert every(x, -1, 1, 3).tolist() == [[1, 4]]
    assert every(x.T, -2, 2, 2).flatten().tolist() == [2, 4, 6]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (0, 3), (2, 3), (20, 20), (-2, 1)])
@pytest.mark.parametrize("axis", [-1, -2])
def test_padding_repeats_the_edges_by_any_amount(axis, before, after):
    x = make_noise(2, 4, 5)
    widths = [(0, 0), (0, 0), (0, 0)]
    widths[axis] = (max(before, 0), max(after, 0))  # less than nothing is nothing
    assert np.array_equal(pad_edge(x, axis, before, after).numpy(), np.pad(x.numpy(), widths, mode="edge"))
