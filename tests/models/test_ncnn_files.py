"""The ncnn reader on pairs written here: both networks, both precisions, and every kind of damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from vidsr.errors import WeightsError, WeightsMissingError
from vidsr.models.ncnn_files import read_ncnn


@pytest.fixture
def pair(tmp_path, make_compact, write_ncnn_pair):
    return write_ncnn_pair(tmp_path, make_compact(2, num_convs=1).state_dict())


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("compact", {"scale": 2, "num_features": 5}),  # odd: fp16 data needs padding
        ("rrdb", {"scale": 4}),
        ("rrdb", {"scale": 8, "num_blocks": 1}),
        ("rrdb", {"scale": 4, "upsampler": "pixelshuffle"}),
    ],
)
def test_reads_back_what_was_written(tmp_path, make_compact, make_rrdb, write_ncnn_pair, kind, options, fp16):
    state = {"compact": make_compact, "rrdb": make_rrdb}[kind](**options).state_dict()
    if fp16:  # only the convolutions' weights are stored in half
        state = {k: v.half().float() if v.ndim == 4 else v for k, v in state.items()}
    found = read_ncnn(*write_ncnn_pair(tmp_path, state, fp16=fp16))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_missing_half_is_named(pair):
    pair[1].unlink()
    with pytest.raises(WeightsMissingError, match=r"net\.bin is missing; an ncnn network is a pair"):
        read_ncnn(*pair)


@pytest.mark.parametrize("num_bytes", [0, 3, 4, 100, -4, -1])
def test_a_cut_off_bin_is_refused(pair, num_bytes):
    data = pair[1].read_bytes()
    pair[1].write_bytes(data[:num_bytes])
    with pytest.raises(WeightsError, match=r"too short: layer .* needs \d+ bytes at \d+"):
        read_ncnn(*pair)


def test_a_bin_of_another_network_is_refused(pair):
    pair[1].write_bytes(pair[1].read_bytes() + bytes(8))
    with pytest.raises(WeightsError, match=r"8 bytes more than its \.param describes"):
        read_ncnn(*pair)


@pytest.mark.parametrize(("tag", "form"), [(0x000D4B38, "int8"), (0xDEADBEEF, "an unknown form .tag 0xDEADBEEF")])
def test_other_storage_forms_are_refused(pair, tag, form):
    pair[1].write_bytes(struct.pack("<I", tag) + pair[1].read_bytes()[4:])
    with pytest.raises(WeightsError, match=form):
        read_ncnn(*pair)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7767517", "7767518", "it starts with '7767518'"),
        ("6 6\n", "7 7\n", "promises 7 layers and has 6"),
        ("6 6\n", "\n", "promises no number of layers"),
        ("6=216", "6=99999999999", r"parameter 6 is 99999999999"),
        ("6=216", "6=2000000000", "no 3x3 convolution"),
        ("6=216", "6=1080000000", "too short"),
        ("6=216", "6=-216", "parameter 6 is -216"),
        ("6=216", "6=nan", "this is no layer"),
        ("6=216", "6=0.5", "whole number"),
        ("6=216", "6=217", "no 3x3 convolution"),
        ("1=3 ", "1=5 ", "no 3x3 convolution"),
        ("5=1 ", "5=0 ", "no 3x3 convolution"),
        ("Convolution body.0 1 1", "Convolution body.0 1 99", "this is no layer"),
        ("Convolution body.0 1 1", "Convolution body.0 x 1", "this is no layer"),
        ("Convolution body.0", "InnerProduct body.0", "layer body.0 is a InnerProduct"),
        ("4=1 5=1 6=216", "4=1 5=1 6=216 9=2 -23310=1,0.1", "no LeakyReLU of slope 0.2"),
        ("4=1 5=1 6=216", "4=1 5=1 6=216 9=1", "no LeakyReLU of slope 0.2"),
    ],
)
def test_a_damaged_param_is_refused(pair, old, new, message):
    text = pair[0].read_text()
    assert old in text
    pair[0].write_text(text.replace(old, new, 1))
    with pytest.raises(WeightsError, match=message):
        read_ncnn(*pair)


@pytest.mark.parametrize("content", [b"", b"\xff\x00\x80garbage", b"7767517", b"7767517\n0 0\n"])
def test_garbage_is_refused(pair, content):
    pair[0].write_bytes(content)
    with pytest.raises(WeightsError):
        read_ncnn(*pair)


def test_a_huge_param_is_not_read(pair):
    with pair[0].open("r+b") as file:
        file.truncate(1 << 30)  # sparse: takes no room
    with pytest.raises(WeightsError, match="1073741824 bytes"):
        read_ncnn(*pair)


def test_random_damage_never_ends_otherwise(pair):
    text, generator = bytearray(pair[0].read_bytes()), np.random.default_rng(0)
    for _ in range(300):
        damaged = text.copy()
        for _ in range(3):
            damaged[generator.integers(len(damaged))] = generator.integers(32, 127)
        pair[0].write_bytes(damaged)
        try:
            read_ncnn(*pair)
        except WeightsError:
            continue


def test_convolutions_in_no_known_order_are_refused(tmp_path, make_rrdb, write_ncnn_pair):
    state = make_rrdb(4).state_dict()
    few = {key: state[key] for key in list(state)[:8]}
    with pytest.raises(WeightsError, match="in an order that no RRDBNet has"):
        read_ncnn(*write_ncnn_pair(tmp_path, few))
