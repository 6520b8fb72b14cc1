"""Options: what is refused and with which words, how text becomes a value, and what the digest names."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from vidsr.errors import UsageError
from vidsr.options.upscale import SPECS, UpscaleOptions
from vidsr.options.values import parse_fraction, parse_point, parse_size

FIELDS = [field.name for field in dataclasses.fields(UpscaleOptions)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": Fraction(0)}, "scale is 0; it must be between 1 and 8"),
        ({"scale": Fraction(1, 2)}, "scale is 1/2"),
        ({"scale": Fraction(9)}, "scale is 9"),
        ({"scale": Fraction(801, 100)}, "scale is 801/100"),
        ({"scale": Fraction(2), "size": (64, 64)}, "scale and size were given"),
        ({"size": (64, 64), "height": 64}, "size and height were given"),
        ({"scale": Fraction(2), "size": (64, 64), "height": 64}, "scale and size and height were given"),
        ({"size": (1, 64)}, "an output side of 1 pixels"),
        ({"size": (64, 32769)}, "an output side of 32769 pixels"),
        ({"height": 0}, "an output side of 0 pixels"),
        ({"blend": 2.0}, "blend is 2.0; it must be between 0 and 1"),
        ({"blend": -0.01}, "blend is -0.01"),
        ({"blend": float("nan")}, "blend is nan"),
        ({"denoise": 1.01}, "denoise is 1.01"),
        ({"fit": "inside"}, "fit is 'inside'; it must be after or before"),
        ({"precision": "bf16"}, "precision is 'bf16'; it must be auto, fp32 or fp16"),
        ({"matrix": "bt601"}, "matrix is 'bt601'; it must be keep, auto, bt709"),
        ({"rotation": "left"}, "rotation is 'left'; it must be keep or apply"),
        ({"alpha": "none"}, "alpha is 'none'; it must be lanczos or network"),
        ({"tile": 5}, "tile is 5; it must be 0"),
        ({"tile": 31}, "tile is 31"),
        ({"tile": -1}, "tile is -1"),
        ({"batch": 0}, "batch is 0; it must be 1 to 256"),
        ({"batch": 257}, "batch is 257"),
        ({"threads": 0}, "threads is 0; it must be 1 to 1024"),
        ({"start": -1}, "start is -1"),
        ({"stop": Fraction(-1, 2)}, "stop is -1/2"),
        ({"start": 30, "stop": 30}, r"stop \(30\) must come after start \(30\)"),
        ({"start": Fraction(5), "stop": Fraction(9, 2)}, r"stop \(9/2\) must come after start \(5\)"),
    ],
)
def test_refuses(values, message):
    with pytest.raises(UsageError, match=message):
        UpscaleOptions(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"scale": Fraction(1)},
        {"scale": Fraction(8)},
        {"size": (2, 32768)},
        {"height": 2},
        {"blend": 0.0},
        {"denoise": 0.0},
        {"tile": 0},
        {"tile": 32},
        {"batch": 1},
        {"batch": 256},
        {"threads": 1},
        {"start": 0, "stop": 1},
        # A frame number and a time can only be compared once the source is known.
        {"start": 300, "stop": Fraction(2)},
    ],
)
def test_takes_the_last_value_that_is_allowed(values):
    options = UpscaleOptions(**values)
    assert {name: getattr(options, name) for name in values} == values


def test_doubles_unless_a_size_is_given():
    assert UpscaleOptions().scale == 2
    assert UpscaleOptions(size=(64, 48)).scale is None
    assert UpscaleOptions(height=64).scale is None


def test_is_frozen_and_keyword_only():
    options = UpscaleOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.scale = Fraction(3)
    with pytest.raises(TypeError):
        UpscaleOptions(Fraction(3))
    assert {options: 1}[UpscaleOptions()] == 1


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_says_what_it_means(name):
    assert len(SPECS[name].meaning) > 10


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2), ("1.5", Fraction(3, 2)), ("4/3", Fraction(4, 3)), (" 1.1 ", Fraction(11, 10))]
)
def test_parses_a_scale_exactly(text, value):
    assert parse_fraction("scale", text) == value


@pytest.mark.parametrize("text", ["", "two", "4/0", "nan", "2x"])
def test_refuses_what_is_no_scale(text):
    with pytest.raises(UsageError, match=r"write a number such as 2, 1\.5 or 4/3"):
        parse_fraction("scale", text)


@pytest.mark.parametrize("text", ["1920x1080", " 1920 x 1080 ", "1920×1080"])
def test_parses_a_size(text):
    assert parse_size(text) == (1920, 1080)


@pytest.mark.parametrize("text", ["1920", "1920x", "x1080", "1920*1080", "-2x2", "1920x1080x3", "19.5x20"])
def test_refuses_what_is_no_size(text):
    with pytest.raises(UsageError, match="write width x height, such as 1920x1080"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.5", Fraction(25, 2)),
        ("0", Fraction(0)),
        ("1:02.5", Fraction(125, 2)),
        ("0:01:02.5", Fraction(125, 2)),
        ("1:00:00.001", Fraction(3600001, 1000)),
        ("100:00:00", Fraction(360000)),
    ],
)
def test_parses_a_time_as_exact_seconds(text, value):
    point = parse_point(text)
    assert point == value
    assert type(point) is Fraction


@pytest.mark.parametrize(("text", "value"), [("300f", 300), (" 0f ", 0)])
def test_parses_a_frame_number(text, value):
    point = parse_point(text)
    assert point == value
    assert type(point) is int


@pytest.mark.parametrize("text", ["", "f", "-1", "1.5f", "1:2:3:4", "1:.5", "soon", "12,5"])
def test_refuses_what_is_no_point(text):
    with pytest.raises(UsageError, match="is no point in a video; write"):
        parse_point(text)


def test_reads_a_recipe():
    values = {
        "scale": "4/3",
        "model": "lanczos",
        "denoise": "0.5",
        "blend": 1,
        "tile": "64",
        "batch": 4.0,
        "threads": "3",
        "crf": 18,
        "start": "10f",
        "stop": "0:01:02.5",
        "preset": None,
    }
    assert UpscaleOptions.from_mapping(values) == UpscaleOptions(
        scale=Fraction(4, 3),
        model="lanczos",
        denoise=0.5,
        blend=1.0,
        tile=64,
        batch=4,
        threads=3,
        crf=18.0,
        start=10,
        stop=Fraction(125, 2),
    )


@pytest.mark.parametrize("size", ["640x480", [640, 480], (640, 480), ["640", "480"]])
def test_reads_a_size_as_text_or_as_a_pair(size):
    assert UpscaleOptions.from_mapping({"size": size}).size == (640, 480)


@pytest.mark.parametrize("scale", [2, 2.0, "2", "2.0", Fraction(2)])
def test_reads_a_scale_as_text_or_as_a_number(scale):
    options = UpscaleOptions.from_mapping({"scale": scale})
    assert options == UpscaleOptions(scale=Fraction(2))
    assert type(options.scale) is Fraction


def test_nothing_given_is_the_default():
    assert UpscaleOptions.from_mapping({}) == UpscaleOptions()
    assert UpscaleOptions.from_mapping(dict.fromkeys(FIELDS)) == UpscaleOptions()


def test_an_unknown_key_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        UpscaleOptions.from_mapping({"scale": 2, "sclae": 3}, origin="my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: unknown option 'sclae'; known are ")
    assert message.partition("known are ")[2].split(", ") == FIELDS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", "two"),
        ("size", "big"),
        ("size", [1, 2, 3]),
        ("size", [640.5, 480]),
        ("size", [[640], 480]),
        ("height", "tall"),
        ("height", 480.5),
        ("tile", True),
        ("batch", "1.5"),
        ("denoise", "much"),
        ("blend", True),
        ("crf", "good"),
        ("start", "soon"),
    ],
)
def test_a_value_of_the_wrong_form_names_where_it_stands(key, value):
    with pytest.raises(UsageError, match=r"^my\.toml: ") as caught:
        UpscaleOptions.from_mapping({key: value}, origin="my.toml")
    assert key in str(caught.value) or key == "start"  # a point is quoted itself


CHANGES = {
    "scale": Fraction(3),
    "size": (64, 64),
    "height": 64,
    "model": "lanczos",
    "fit": "before",
    "denoise": 0.5,
    "blend": 0.5,
    "device": "cpu",
    "precision": "fp32",
    "engine": "torch",
    "tile": 64,
    "codec": "ffv1",
    "crf": 18.0,
    "preset": "slow",
    "encoder_options": {"tune": "film"},
    "matrix": "auto",
    "rotation": "apply",
    "alpha": "network",
    "pix_fmt": "yuv444p",
    "deinterlace": "off",
    "detelecine": True,
    "start": 1,
    "stop": 9,
}


def test_the_table_of_changes_is_complete():
    assert set(FIELDS) == {*CHANGES, "batch", "container", "on_decode_error", "rate", "strict", "threads"}


def test_the_digest_changes_with_every_field_that_changes_pixels():
    digests = {name: UpscaleOptions(**{name: value}).digest() for name, value in CHANGES.items()}
    digests["(none)"] = UpscaleOptions().digest()
    assert len(set(digests.values())) == len(digests)
    assert UpscaleOptions(start=12).digest() != UpscaleOptions(start=Fraction(25, 2)).digest()


def test_the_digest_does_not_change_with_what_leaves_pixels_alone():
    assert UpscaleOptions(batch=7, threads=3).digest() == UpscaleOptions().digest()


def test_equal_options_have_equal_digests():
    exact = UpscaleOptions(scale=Fraction(2), denoise=1.0, blend=0.0, crf=18.0)
    loose = UpscaleOptions(denoise=1, blend=0, crf=18)
    assert loose == exact
    assert loose.digest() == exact.digest()
    assert len(exact.digest()) == 16
    int(exact.digest(), 16)


def test_plain_numbers_are_taken_as_they_are_written():
    assert UpscaleOptions(scale=1.1) == UpscaleOptions(scale=Fraction(11, 10))
    assert UpscaleOptions(scale=2).digest() == UpscaleOptions(scale=Fraction(2)).digest()
    timed = UpscaleOptions(start=0.1, stop=12)
    assert timed.start == Fraction(1, 10) and type(timed.stop) is int
    with pytest.raises(UsageError, match="scale"):
        UpscaleOptions(scale=float("nan"))


def test_encoder_options_have_one_form_and_one_digest():
    as_mapping = UpscaleOptions(encoder_options={"tune": "film", "g": 5})
    as_pairs = UpscaleOptions(encoder_options=(("g", "5"), ("tune", "film")))
    as_texts = UpscaleOptions.from_mapping({"encoder_options": ["tune=film", "g=5"]})
    as_table = UpscaleOptions.from_mapping({"encoder_options": {"tune": "film", "g": 5}})
    assert as_mapping == as_pairs == as_texts == as_table
    assert len({o.digest() for o in (as_mapping, as_pairs, as_texts, as_table)}) == 1
    assert as_mapping.digest() != UpscaleOptions().digest()
    assert hash(as_mapping) == hash(as_pairs)


@pytest.mark.parametrize("value", ["film", ["=film"], 5, ["a=b", "c"]])
def test_encoder_options_of_the_wrong_form_are_errors(value):
    with pytest.raises(UsageError, match="encoder option"):
        UpscaleOptions.from_mapping({"encoder_options": value})


def test_what_does_not_change_pixels_stays_out_of_the_digest():
    assert UpscaleOptions(container="mkv", strict=True).digest() == UpscaleOptions().digest()


def test_container_and_strict_are_checked():
    with pytest.raises(UsageError, match="container is 'avi'; it must be auto, mp4, mov, mkv, webm"):
        UpscaleOptions(container="avi")
    with pytest.raises(UsageError, match="strict is 'yes'"):
        UpscaleOptions.from_mapping({"strict": "yes"})
