"""Pixel formats by their FFmpeg names, and the shapes of their planes."""

from __future__ import annotations

import numpy as np
import pytest

from vidsr.frames import ColorTags, FrameTime, PictureFormat, PlaneBatch, pixel_layout

# name: family, depth, (log2 horizontal, log2 vertical) chroma subsampling, alpha
PLANAR = {
    "yuv444p": ("yuv", 8, (0, 0), False),
    "yuv440p": ("yuv", 8, (0, 1), False),
    "yuv422p": ("yuv", 8, (1, 0), False),
    "yuv420p": ("yuv", 8, (1, 1), False),
    "yuv411p": ("yuv", 8, (2, 0), False),
    "yuv410p": ("yuv", 8, (2, 2), False),
    "yuv420p9le": ("yuv", 9, (1, 1), False),
    "yuv420p10le": ("yuv", 10, (1, 1), False),
    "yuv422p10le": ("yuv", 10, (1, 0), False),
    "yuv440p12le": ("yuv", 12, (0, 1), False),
    "yuv444p14le": ("yuv", 14, (0, 0), False),
    "yuv444p16le": ("yuv", 16, (0, 0), False),
    "yuva420p": ("yuv", 8, (1, 1), True),
    "yuva422p10le": ("yuv", 10, (1, 0), True),
    "yuva444p12le": ("yuv", 12, (0, 0), True),
    "gray": ("gray", 8, (0, 0), False),
    "gray10le": ("gray", 10, (0, 0), False),
    "gray16le": ("gray", 16, (0, 0), False),
    "gbrp": ("gbr", 8, (0, 0), False),
    "gbrp10le": ("gbr", 10, (0, 0), False),
    "gbrp16le": ("gbr", 16, (0, 0), False),
    "gbrap": ("gbr", 8, (0, 0), True),
    "gbrap12le": ("gbr", 12, (0, 0), True),
}


@pytest.mark.parametrize("name", PLANAR)
def test_knows_planar_formats(name):
    layout = pixel_layout(name)
    family, depth, shifts, has_alpha = PLANAR[name]
    assert layout.name == name
    assert (layout.family, layout.depth, layout.has_alpha) == (family, depth, has_alpha)
    assert (layout.chroma_shift_x, layout.chroma_shift_y) == shifts
    assert len(layout.plane_shapes(16, 16)) == (1 if family == "gray" else 3) + has_alpha
    assert layout.dtype is (np.uint8 if depth == 8 else np.uint16)
    assert layout.max_code == 2**depth - 1


@pytest.mark.parametrize(
    "name",
    [
        "nv12",
        "nv21",
        "p010le",
        "rgb24",
        "bgra",
        "rgb48le",
        "yuyv422",
        "yuvj420p",
        "yuv420p9be",
        "yuv420p10be",
        "gray10be",
        "gray16be",
        "gbrpf32be",
        "gbrapf16be",
        "grayf24le",
        "gbrpf",
        "gbrp10msble",
        "yuv444p10msble",
        "ya8",
        "ya16le",
        "monow",
        "pal8",
        "xyz12le",
        "yuv420p7",
        "yuv420p17le",
        "yuv400p",
        "yuv443p",
        "xyuv420p",
        "",
    ],
)
def test_has_no_layout_for_packed_big_endian_float_or_unknown_formats(name):
    assert pixel_layout(name) is None


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("yuv444p", [(5, 7), (5, 7), (5, 7)]),
        ("yuv440p", [(5, 7), (3, 7), (3, 7)]),
        ("yuv422p", [(5, 7), (5, 4), (5, 4)]),
        ("yuv420p", [(5, 7), (3, 4), (3, 4)]),
        ("yuv411p", [(5, 7), (5, 2), (5, 2)]),
        ("yuv410p", [(5, 7), (2, 2), (2, 2)]),
        ("yuva420p", [(5, 7), (3, 4), (3, 4), (5, 7)]),
        ("gray", [(5, 7)]),
        ("gbrap", [(5, 7)] * 4),
    ],
)
def test_chroma_sides_are_rounded_up(name, shapes):
    assert pixel_layout(name).plane_shapes(width=7, height=5) == shapes


@pytest.mark.parametrize("name", ["yuv420p", "yuv411p", "yuv410p"])
def test_a_single_pixel_has_chroma(name):
    assert pixel_layout(name).plane_shapes(1, 1) == [(1, 1)] * 3


@pytest.mark.parametrize(("name", "num_bytes"), [("yuv420p", 35 + 2 * 12), ("yuva420p10le", 2 * (70 + 2 * 12))])
def test_the_bytes_of_a_picture(name, num_bytes):
    color = ColorTags(matrix=1, full_range=False, siting="left")
    assert PictureFormat(width=7, height=5, layout=pixel_layout(name), color=color).num_bytes == num_bytes


def test_a_batch_is_as_long_as_its_times():
    batch = PlaneBatch(planes=(np.zeros((4, 2, 2), np.uint8),))
    assert (len(batch), batch.capacity) == (0, 4)
    batch.times.append(FrameTime(pts=0, duration=1))
    assert (len(batch), batch.capacity) == (1, 4)
