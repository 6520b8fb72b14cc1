"""Sizes: what comes out for what goes in."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest

from vidsr.errors import UsageError
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.sizes import Orientation, network_input_size, orientation, output_sample_aspect_ratio, output_size


@pytest.mark.parametrize(
    ("scale", "width", "height", "expected"),
    [
        ("2", 320, 240, (640, 480)),
        ("4/3", 1440, 1080, (1920, 1440)),
        ("1.5", 321, 241, (482, 362)),  # 481.5 and 361.5, halves upwards
        ("1", 161, 121, (161, 121)),
        ("1.1", 1, 1, (1, 1)),
        ("8", 10, 10, (80, 80)),
    ],
)
def test_a_scale_is_rounded_to_whole_pixels(scale, width, height, expected):
    options = UpscaleOptions(scale=Fraction(scale))
    assert output_size(width, height, options) == expected


@pytest.mark.parametrize(
    ("even_x", "even_y", "expected"),
    [(False, False, (161, 121)), (True, False, (162, 121)), (False, True, (161, 122)), (True, True, (162, 122))],
)
def test_a_scale_gives_even_sides_where_they_must_be(even_x, even_y, expected):
    assert output_size(161, 121, UpscaleOptions(scale=Fraction(1)), even_x, even_y) == expected


def test_even_sides_are_the_nearest():
    # 242.55 and 180.45: the nearest even ones lie on either side.
    assert output_size(147, 121, UpscaleOptions(scale=Fraction("1.65")), True, True) == (242, 200)
    assert output_size(1, 1, UpscaleOptions(scale=Fraction(1)), True, True) == (2, 2)


def test_a_size_is_taken_as_it_is():
    assert output_size(320, 240, UpscaleOptions(size=(641, 479)), False, False) == (641, 479)
    assert output_size(320, 240, UpscaleOptions(size=(640, 481)), True, False) == (640, 481)


def test_a_height_brings_its_width():
    assert output_size(720, 576, UpscaleOptions(height=1080)) == (1350, 1080)
    assert output_size(853, 480, UpscaleOptions(height=1080)) == (1919, 1080)  # 1919.25
    assert output_size(853, 480, UpscaleOptions(height=1080), even_x=True, even_y=True) == (1920, 1080)


@pytest.mark.parametrize(
    ("size", "even_x", "even_y", "message"),
    [
        ((641, 480), True, True, "an output width of 641 was asked for; .* try 642, or --pix-fmt yuv444p"),
        ((640, 481), True, True, "an output height of 481 was asked for; .* try 482"),
        ((640, 481), False, True, "an output height of 481"),
    ],
)
def test_refuses_an_odd_side_that_was_asked_for(size, even_x, even_y, message):
    with pytest.raises(UsageError, match=message):
        output_size(320, 240, UpscaleOptions(size=size), even_x, even_y)


def test_refuses_an_odd_height_that_was_asked_for():
    with pytest.raises(UsageError, match="an output height of 481"):
        output_size(320, 240, UpscaleOptions(height=481), even_x=True, even_y=True)


@pytest.mark.parametrize("size", [(319, 480), (640, 239), (2561, 480), (640, 1921), (300, 2000)])
def test_refuses_a_side_that_shrinks_or_grows_too_much(size):
    with pytest.raises(UsageError, match=rf"an output of {size[0]}x{size[1]} was asked for from 320x240; .* 1 to 8"):
        output_size(320, 240, UpscaleOptions(size=size))


@pytest.mark.parametrize("height", [239, 1921])
def test_refuses_a_height_out_of_range(height):
    with pytest.raises(UsageError, match="each side can grow 1 to 8 times"):
        output_size(320, 240, UpscaleOptions(height=height))


@pytest.mark.parametrize("options", [{"size": (320, 240)}, {"size": (2560, 1920)}, {"height": 240}, {"height": 1920}])
def test_takes_the_smallest_and_largest_size(options):
    assert output_size(320, 240, UpscaleOptions(**options)) in [(320, 240), (2560, 1920)]


@pytest.mark.parametrize(
    ("out_size", "network_scale", "expected_before"),
    [
        ((200, 160), 4, (50, 40)),  # shrunk beforehand: the network gives exactly what is wanted
        ((201, 161), 4, (51, 41)),  # rounded up: the network never gives less than is wanted
        ((400, 320), 4, (100, 80)),
        ((800, 640), 4, (100, 80)),  # never enlarged beforehand
        ((400, 160), 4, (100, 40)),  # each side for itself
        ((200, 160), 1, (100, 80)),
    ],
)
def test_what_a_network_gets_to_see(out_size, network_scale, expected_before):
    assert network_input_size(100, 80, *out_size, network_scale, fit_before=True) == expected_before
    assert network_input_size(100, 80, *out_size, network_scale, fit_before=False) == (100, 80)


@pytest.mark.parametrize(
    ("size", "out_size"),
    [
        ((720, 576), (1440, 1152)),
        ((321, 241), (642, 482)),
        ((321, 241), (482, 362)),  # rounding, halves upwards
        ((161, 121), (162, 122)),  # rounding to even
        ((853, 480), (1920, 1080)),
        ((480, 853), (1080, 1920)),
    ],
)
def test_rounding_leaves_the_sample_aspect_ratio_alone(size, out_size):
    assert output_sample_aspect_ratio(Fraction(16, 15), *size, *out_size) == Fraction(16, 15)


@pytest.mark.parametrize(
    ("sar", "size", "out_size", "expected"),
    [
        (Fraction(16, 15), (720, 576), (768, 576), Fraction(1)),
        (Fraction(1), (320, 240), (1280, 480), Fraction(1, 2)),
        (Fraction(1), (320, 240), (640, 960), Fraction(2)),
        (Fraction(4, 3), (1440, 1080), (1920, 1080), Fraction(1)),
        (Fraction(1), (320, 240), (640, 484), Fraction(121, 120)),
    ],
)
def test_the_shape_of_things_is_kept_where_the_sides_grow_unequally(sar, size, out_size, expected):
    found = output_sample_aspect_ratio(sar, *size, *out_size)
    assert found == expected
    assert found * Fraction(*out_size) == sar * Fraction(*size)


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ((1, 0, 0, 1), Orientation()),
        ((0, 1, -1, 0), Orientation(transposed=True, flipped_x=True)),  # a quarter clockwise
        ((-1, 0, 0, -1), Orientation(flipped_x=True, flipped_y=True)),
        ((0, -1, 1, 0), Orientation(transposed=True, flipped_y=True)),
        ((-1, 0, 0, 1), Orientation(flipped_x=True)),
        ((1, 0, 0, -1), Orientation(flipped_y=True)),
        ((0, 1, 1, 0), Orientation(transposed=True)),
    ],
)
def test_orientation_of_a_display_matrix(numbers, wanted):
    a, b, c, d = (65536 * number for number in numbers)
    assert orientation(struct.pack("9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)) == wanted


def test_orientation_of_none_is_upright_and_of_no_right_angle_refused():
    assert orientation(None) == Orientation()
    with pytest.raises(UsageError, match="no right angle"):
        orientation(struct.pack("9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30))
