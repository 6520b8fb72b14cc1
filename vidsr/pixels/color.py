"""Planes to RGB and back on the device, by matrix, range and chroma siting, in floating point.

RGB here is the coded signal (gamma, PQ or HLG as the source has it) with 0 as black and 1 as nominal white;
values outside [0, 1] are kept, so that what a plane can hold survives the way there and back. Floating-point planes
hold linear light, and so does the RGB made from them; `vidsr.pixels.linear_light` codes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vidsr.frames import (
    MATRIX_BT470BG,
    MATRIX_BT709,
    MATRIX_BT2020_NCL,
    MATRIX_FCC,
    MATRIX_SMPTE170M,
    MATRIX_SMPTE240M,
    MATRIX_YCGCO,
    PictureFormat,
)
from vidsr.pixels.axis_blocks import Block, block_length, from_blocks
from vidsr.pixels.resample import every, interleave, pad_edge
from vidsr.pixels.stencil import Stencil, from_stencil, stencil_of

# Kr and Kb of each H.273 matrix; Kg is the rest.
_LUMA_WEIGHTS = {
    MATRIX_BT709: (0.2126, 0.0722),
    MATRIX_FCC: (0.30, 0.11),
    MATRIX_BT470BG: (0.299, 0.114),
    MATRIX_SMPTE170M: (0.299, 0.114),
    MATRIX_SMPTE240M: (0.212, 0.087),
    MATRIX_BT2020_NCL: (0.2627, 0.0593),
}
SUPPORTED_MATRICES = frozenset({*_LUMA_WEIGHTS, MATRIX_YCGCO})

TORCH_DTYPES = {
    np.uint8: torch.uint8,
    np.uint16: torch.uint16,
    np.float16: torch.float16,
    np.float32: torch.float32,
}


def planes_to_rgb(planes: Sequence[Tensor], picture: PictureFormat) -> Tensor:
    """Convert planes to RGB.

    Args:
        planes: one (N, h, w) tensor of the layout's dtype per plane, in `picture.layout`'s order, on any device;
            an alpha plane is ignored.
        picture: what the planes are.

    Returns:
        float32 (N, 3, H, W), R'G'B', on the planes' device; linear RGB for a floating-point layout.
    """
    layout = picture.layout
    num_frames = planes[0].shape[0]
    if layout.family == "gray":
        gain, offset = _code_range(picture, chroma=False)
        gray = (planes[0].to(torch.float32) - offset) * gain
        return gray[:, None].expand(-1, 3, -1, -1).contiguous()
    shape = (num_frames, 3, picture.height, picture.width)
    codes = torch.empty(shape, dtype=torch.float32, device=planes[0].device)
    codes[:, 0].copy_(planes[0])
    for index in (1, 2):
        plane = planes[index]
        if layout.chroma_shift_x or layout.chroma_shift_y:
            codes[:, index].copy_(_chroma_to_luma_grid(plane.to(torch.float32), picture))
        else:
            codes[:, index].copy_(plane)
    return _apply(*_to_rgb(picture, codes.device), codes)


def rgb_to_planes(rgb_nchw: Tensor, picture: PictureFormat, *, dither: bool = False) -> list[Tensor]:
    """Convert RGB, linear for a floating-point layout, to planes, rounded and clipped to what the depth can hold.

    Args:
        rgb_nchw: float32 (N, 3, H, W) of `picture`'s size, any device.
        picture: the planes to make; an alpha plane is not among the results.
        dither: spread what rounding would lose over neighbouring pixels, for planes of less depth than the source's.

    Returns:
        tensors (N, h, w) of the layout's dtype, one per colour plane in `picture.layout`'s order, same device.
    """
    layout = picture.layout
    if layout.family == "gray":
        gain, offset = _code_range(picture, chroma=False)
        weights = _luma_weights(picture.color.matrix, rgb_nchw.device)
        gray = torch.einsum("c,nchw->nhw", weights, rgb_nchw)
        return [_to_codes(gray / gain + offset, picture, dither)]
    codes = _apply(*_from_rgb(picture, rgb_nchw.device), rgb_nchw)
    planes = [_to_codes(codes[:, 0], picture, dither)]
    chroma = codes[:, 1:]
    if layout.chroma_shift_x or layout.chroma_shift_y:
        chroma = _luma_grid_to_chroma(chroma, picture)
    return [*planes, *(_to_codes(chroma[:, index], picture, dither) for index in (0, 1))]


def alpha_to_float(plane: Tensor, picture: PictureFormat) -> Tensor:
    """An alpha plane (N, H, W) as float32 (N, 1, H, W) in [0, 1]; alpha is full range in every format."""
    return plane[:, None].to(torch.float32) / picture.layout.max_code


def float_to_alpha(alpha_nchw: Tensor, picture: PictureFormat) -> Tensor:
    """The inverse of `alpha_to_float`, rounded and clipped."""
    return _to_codes(alpha_nchw[:, 0].clamp(0, 1) * picture.layout.max_code, picture)


def _to_codes(codes: Tensor, picture: PictureFormat, dither: bool = False) -> Tensor:
    layout, dtype = picture.layout, TORCH_DTYPES[picture.layout.dtype]
    if layout.is_float:
        limits = torch.finfo(dtype)
        return codes.clamp(limits.min, limits.max).to(dtype)
    if dither:
        codes = codes + _dither_noise(codes.shape[-2], codes.shape[-1], codes.device)
    return codes.round().clamp_(0, layout.max_code).to(dtype)


@lru_cache(maxsize=8)
def _dither_noise(height: int, width: int, device: torch.device) -> Tensor:
    """(H, W) values between -1/2 and 1/2, the same for every frame, so that stills stay still and runs repeat.

    Interleaved gradient noise: J. Jimenez, "Next Generation Post Processing in Call of Duty: Advanced Warfare", 2014.
    """
    with torch.inference_mode(False):
        y = torch.arange(height, dtype=torch.float64, device=device)[:, None]
        x = torch.arange(width, dtype=torch.float64, device=device)
        noise = (52.9829189 * ((0.06711056 * x + 0.00583715 * y) % 1)) % 1
        # Short of the halves, so that a value that has a code of its own gets just that.
        return ((noise - 0.5) * 0.998).to(torch.float32)


def _apply(matrix: Tensor, offset: Tensor, x_nchw: Tensor) -> Tensor:
    """offset + matrix @ pixel for every pixel, as one matrix product: ten times faster than a 1x1 conv."""
    return torch.matmul(matrix, x_nchw.flatten(2)).add_(offset[:, None]).view_as(x_nchw)


# Kept on their device: making them anew for each batch would make a GPU wait for the host.
@lru_cache(maxsize=64)
def _to_rgb(picture: PictureFormat, device: torch.device) -> tuple[Tensor, Tensor]:
    matrix, offset = _decode_matrix(picture)
    return _tensor(matrix, device), _tensor(offset, device)


@lru_cache(maxsize=64)
def _from_rgb(picture: PictureFormat, device: torch.device) -> tuple[Tensor, Tensor]:
    matrix, offset = _decode_matrix(picture)
    inverse = np.linalg.inv(matrix)
    return _tensor(inverse, device), _tensor(-inverse @ offset, device)


@lru_cache(maxsize=16)
def _luma_weights(matrix: int, device: torch.device) -> Tensor:
    """Weights of R, G and B in gray; BT.709's where the source has no matrix."""
    kr, kb = _LUMA_WEIGHTS.get(matrix, _LUMA_WEIGHTS[MATRIX_BT709])
    return _tensor((kr, 1 - kr - kb, kb), device)


def _tensor(values: ArrayLike, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept tensors must also serve a caller who differentiates
        return torch.tensor(values, dtype=torch.float32, device=device)


def _code_range(picture: PictureFormat, *, chroma: bool) -> tuple[float, float]:
    """(gain, offset) with value = (code - offset) * gain; H.273 equations 20 to 31."""
    layout = picture.layout
    if layout.is_float:
        return 1, 0
    unit = 1 << (layout.depth - 8)
    if chroma:
        # YCgCo is defined on quantised R'G'B', so its chroma keeps their 219 steps.
        steps = 219 if picture.color.matrix == MATRIX_YCGCO else 224
        gain = 1 / layout.max_code if picture.color.full_range else 1 / (steps * unit)
        return gain, 128 * unit
    if picture.color.full_range:
        return 1 / layout.max_code, 0
    return 1 / (219 * unit), 16 * unit


def _decode_matrix(picture: PictureFormat) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3x3, 3) float64 taking codes in plane order to R'G'B'."""
    luma_gain, luma_offset = _code_range(picture, chroma=False)
    if picture.layout.family == "gbr":
        to_rgb = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float64)
        gains = np.full(3, luma_gain)
        offsets = np.full(3, luma_offset)
    else:
        chroma_gain, chroma_offset = _code_range(picture, chroma=True)
        to_rgb = _yuv_to_rgb(picture.color.matrix)
        gains = np.array([luma_gain, chroma_gain, chroma_gain])
        offsets = np.array([luma_offset, chroma_offset, chroma_offset])
    matrix = to_rgb * gains
    return matrix, -matrix @ offsets


def _yuv_to_rgb(matrix: int) -> NDArray[np.float64]:
    if matrix == MATRIX_YCGCO:
        return np.array([[1, -1, 1], [1, 1, 0], [1, -1, -1]], np.float64)
    kr, kb = _LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    u_to_b, v_to_r = 2 * (1 - kb), 2 * (1 - kr)
    return np.array([[1, 0, v_to_r], [1, -kb * u_to_b / kg, -kr * v_to_r / kg], [1, u_to_b, 0]])


# Chroma to the luma grid and back is done by filter pairs of which the second undoes the first, so that a
# unchanged picture comes back as it was. Chroma between luma samples (centred siting): up
# by Keys' cubic at +-1/4, down by the six taps nearest to a Lanczos lowpass under the constraint that
# down(up(c)) = c. Chroma on luma samples (co-sited): the Deslauriers-Dubuc (9,7) pair of SMPTE ST 2042-1.
_CENTRED_UP = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)  # a quarter before; mirrored a quarter after
_CENTRED_DOWN = (0.02125929, -0.13550199, 0.61370143, 0.61370143, -0.13550199, 0.02125929)
_HALVING_REACH = 10  # how many luma positions `_halve` looks around at most, even
_COSITED_BETWEEN = (-1 / 16, 9 / 16, 9 / 16, -1 / 16)


def _sitings(picture: PictureFormat) -> tuple[bool, bool]:
    """Whether chroma is co-sited with luma: (along x, along y)."""
    siting = picture.color.siting
    return siting in ("left", "topleft"), siting == "topleft"


def _chroma_to_luma_grid(plane: Tensor, picture: PictureFormat) -> Tensor:
    cosited_x, cosited_y = _sitings(picture)
    # Cut to size after every doubling, not after the last: so `_halve` undoes each, also at odd sizes.
    for shift in reversed(range(picture.layout.chroma_shift_x)):
        plane = _double(plane, -1, cosited_x)[..., : -(-picture.width >> shift)]
    for shift in reversed(range(picture.layout.chroma_shift_y)):
        plane = _double(plane, -2, cosited_y)[..., : -(-picture.height >> shift), :]
    return plane


def _luma_grid_to_chroma(planes: Tensor, picture: PictureFormat) -> Tensor:
    """(N, C, H, W) of luma's size to chroma's."""
    cosited_x, cosited_y = _sitings(picture)
    for _ in range(picture.layout.chroma_shift_y):
        planes = _halve_fast(planes, -2, cosited_y)
    for _ in range(picture.layout.chroma_shift_x):
        planes = _halve_fast(planes, -1, cosited_x)
    return planes


def _double(x: Tensor, axis: int, cosited: bool) -> Tensor:
    """(..., n, ...) chroma samples to the 2n luma positions that they cover."""
    num_in = x.shape[axis]
    if cosited:
        first, second = x, _between(x, axis)
    else:
        padded = pad_edge(x, axis, 2, 2)
        first = _filter(padded, axis, _CENTRED_UP, 0, num_in)
        second = _filter(padded, axis, _CENTRED_UP[::-1], 1, num_in)
    return interleave([first, second], axis)


def _halve(x: Tensor, axis: int, cosited: bool) -> Tensor:
    """(..., n, ...) luma positions to the ceil(n / 2) chroma samples, antialiased."""
    num_in = x.shape[axis]
    if not cosited:
        chroma = _halve_centred(x, axis)
        # The six taps miss by 5e-4, by more at borders; adding what they missed leaves the square of it.
        missed = x - _double(chroma, axis, cosited).narrow(axis, 0, num_in)
        return chroma.add_(_halve_centred(missed, axis))
    even, odd = every(x, axis, 0, 2), every(x, axis, 1, 2)
    num_odd = odd.shape[axis]
    if num_odd == 0:
        return even
    detail = odd - _between(even, axis).narrow(axis, 0, num_odd)
    detail = pad_edge(detail, axis, 1, even.shape[axis] - num_odd)
    return even.add_(_filter(detail, axis, (0.25, 0.25), 0, even.shape[axis]))


def _halve_fast(x: Tensor, axis: int, cosited: bool) -> Tensor:
    """As `_halve`, of (N, C, H, W), with the picture read once."""
    num_in = x.shape[axis]
    if x.device.type == "cpu" and not x.requires_grad:
        return from_blocks(x, axis, _halving_blocks(num_in, cosited, block_length(axis)))
    stencil = _halving_stencil(num_in, cosited, x.device)
    return _halve(x, axis, cosited) if stencil is None else from_stencil(x, axis, stencil, -(-num_in // 2))


@lru_cache(maxsize=16)
def _halving_blocks(num_in: int, cosited: bool, length: int) -> tuple[Block, ...]:
    """What `_halve` makes of unit impulses, block by block; all blocks but those at the ends are one."""
    num_out = -(-num_in // 2)
    blocks, inner = [], None
    for start in range(0, num_out, length):
        stop = min(start + length, num_out)
        first, last = 2 * (start - _HALVING_REACH), 2 * (stop + _HALVING_REACH)
        is_inner = first > 0 and last < num_in and stop - start == length
        if inner is None or not is_inner:
            block = _halving_rows(num_in, cosited, start, stop)
            inner = block.matrix if is_inner else inner
        else:
            block = Block(start, 2 * start - _HALVING_REACH, inner)
        blocks.append(block)
    return tuple(blocks)


@lru_cache(maxsize=32)
def _halving_stencil(num_in: int, cosited: bool, device: torch.device) -> Stencil | None:
    with torch.inference_mode(False):
        return stencil_of(partial(_halving_rows, num_in, cosited), num_in, -(-num_in // 2), 1, 2, device)


def _halving_rows(num_in: int, cosited: bool, start: int, stop: int) -> Block:
    """Chroma samples [start, stop) of what `_halve` makes of unit impulses."""
    first, last = max(2 * start - _HALVING_REACH, 0), min(2 * stop + _HALVING_REACH, num_in)
    begin, end = max(first - _HALVING_REACH, 0), min(last + _HALVING_REACH, num_in)  # its ends spoil as much
    with torch.inference_mode(False):
        matrix = _halve(torch.eye(end - begin), -2, cosited)
        matrix = matrix[start - begin // 2 : stop - begin // 2, first - begin : last - begin].contiguous()
    return Block(start, first, matrix)


def _halve_centred(x: Tensor, axis: int) -> Tensor:
    num_in = x.shape[axis]
    if num_in % 2 and num_in > 1:
        # The last chroma sample has one luma neighbour; the other one, as `_double` would have made it.
        last, before = x.narrow(axis, num_in - 1, 1), x.narrow(axis, num_in - 2, 1)
        x = torch.cat((x, last * 1.4624 - before * 0.4624), axis)
    num_out = -(-num_in // 2)
    padded = pad_edge(x, axis, 2, 3)
    even, odd = every(padded, axis, 0, 2), every(padded, axis, 1, 2)
    from_even = _filter(even, axis, _CENTRED_DOWN[0::2], 0, num_out)
    return from_even.add_(_filter(odd, axis, _CENTRED_DOWN[1::2], 0, num_out))


def _between(x: Tensor, axis: int) -> Tensor:
    """Values half a sample after each sample."""
    return _filter(pad_edge(x, axis, 1, 2), axis, _COSITED_BETWEEN, 0, x.shape[axis])


def _filter(x: Tensor, axis: int, taps: Sequence[float], start: int, num_out: int) -> Tensor:
    total = x.narrow(axis, start, num_out) * taps[0]
    for offset, tap in enumerate(taps[1:], start + 1):
        total.add_(x.narrow(axis, offset, num_out), alpha=tap)
    return total
