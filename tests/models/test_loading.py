"""Weights files of every kind, whole and damaged, to networks and back."""

from __future__ import annotations

import pickle
import re

import pytest
import safetensors.torch
import torch

from vidsr.errors import TargetError, WeightsError, WeightsMissingError
from vidsr.models.compact.network import SRVGGNetCompact
from vidsr.models.loading import blend_networks, load_network, network_from_state_dict, save_safetensors
from vidsr.models.rrdb.network import RRDBNet


def assert_same(loaded, network, picture):
    assert type(loaded) is type(network)
    assert torch.equal(loaded(picture), network(picture))


@pytest.mark.parametrize("scale", [2, 4])
def test_safetensors_and_back(tmp_path, make_rrdb, make_compact, make_picture, scale):
    for network in (make_rrdb(scale), make_compact(scale)):
        path = tmp_path / "net.safetensors"
        save_safetensors(network, path)
        assert_same(load_network(path), network, make_picture(6, 7))
        with safetensors.safe_open(path, "pt") as file:
            assert file.metadata()["architecture"] == type(network).__name__
            assert file.metadata()["scale"] == str(scale)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_saving_where_nothing_can_be_written(tmp_path, make_compact):
    with pytest.raises(TargetError, match=r"net\.safetensors cannot be written"):
        save_safetensors(make_compact(), tmp_path / "missing" / "net.safetensors")


@pytest.mark.parametrize("half", [".param", ".bin"])
def test_either_file_of_an_ncnn_pair(tmp_path, make_rrdb, make_picture, write_ncnn_pair, half):
    network = make_rrdb(4)
    write_ncnn_pair(tmp_path, network.state_dict())
    assert_same(load_network(tmp_path / f"net{half}"), network, make_picture(6, 7))


def test_comes_frozen_in_fp32(tmp_path, make_compact):
    torch.save(make_compact().half().state_dict(), tmp_path / "net.pth")
    loaded = load_network(tmp_path / "net.pth")
    assert not loaded.training
    assert all(p.dtype is torch.float32 and not p.requires_grad for p in loaded.parameters())


class Payload:
    def __reduce__(self):
        return (open, (Payload.path, "w"))


def test_a_pickle_with_a_program_is_refused_and_not_run(tmp_path, make_compact):
    Payload.path = str(tmp_path / "executed")
    state = dict(make_compact().state_dict()) | {"extra": Payload()}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"refused: it is damaged, or holds pickled objects.*open"):
        load_network(tmp_path / "net.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(WeightsError, match="refused"):
        load_network(tmp_path / "bare.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.param", "net.bin", "net"])
@pytest.mark.parametrize("content", [b"", b"hello, this is no network at all", bytes(1000), b"PK\x03\x04" * 9])
def test_files_that_are_no_weights(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(str(path.with_suffix("")))):
        load_network(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_cut_off_file(tmp_path, make_compact, suffix):
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(make_compact().state_dict(), path)
    else:
        save_safetensors(make_compact(), path)
    data = path.read_bytes()
    for num_bytes in (1, 8, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:num_bytes])
        with pytest.raises(WeightsError, match="net"):
            load_network(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsMissingError, match=r"no weights file at .*net\.pth"):
        load_network(tmp_path / "net.pth")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers(make_rrdb, bad):
    state = make_rrdb(4).state_dict()
    state["body.1.rdb2.conv3.weight"][0, 0, 1, 1] = bad
    with pytest.raises(WeightsError, match=r"body\.1\.rdb2\.conv3\.weight holds 1 values that are NaN or inf"):
        network_from_state_dict(state)


def test_a_wrong_shape_is_named(make_rrdb):
    state = make_rrdb(4).state_dict()
    state["body.0.rdb2.conv3.weight"] = torch.ones(4, 16, 1, 1)
    with pytest.raises(
        WeightsError, match=r"rdb2\.conv3\.weight is torch.float32 of shape \(4, 16, 1, 1\).*\(4, 16, 3, 3\)"
    ):
        network_from_state_dict(state)


def test_a_missing_tensor_is_named(make_rrdb):
    state = make_rrdb(4).state_dict()
    del state["conv_hr.bias"]
    with pytest.raises(WeightsError, match=r"conv_hr\.bias is missing; an RRDBNet .* shape \(8,\)"):
        network_from_state_dict(state)


def test_networks_for_other_pictures(make_rrdb):
    with pytest.raises(WeightsError, match="takes 1 channels and gives 1"):
        network_from_state_dict(make_rrdb(4, in_channels=1, out_channels=1).state_dict())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "empty"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({"a": torch.ones(1).expand(10**15)}, "a is no plain tensor"),
        ({"a": torch.ones(2, device="meta")}, "a is no plain tensor"),
        ({"a": torch.ones(2).to_sparse()}, "a is no plain tensor"),
    ],
)
def test_states_that_are_none(state, message):
    with pytest.raises(WeightsError, match=message):
        network_from_state_dict(state)


def test_a_checkpoint_that_holds_itself():
    state = {}
    state["params"] = state
    with pytest.raises(WeightsError, match="'params' is a dict"):
        network_from_state_dict(state)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_blending_is_linear_in_the_weights(make_compact, make_picture, weight):
    a, b, x = make_compact(seed=1), make_compact(seed=2), make_picture(5, 6)
    before = a(x)
    blended = blend_networks(a, b, weight)
    for key, tensor in blended.state_dict().items():
        expected = weight * a.state_dict()[key] + (1 - weight) * b.state_dict()[key]
        assert torch.equal(tensor, expected)
    if weight in (0.0, 1.0):
        assert torch.equal(blended(x), (a if weight else b)(x))
    assert torch.equal(a(x), before)


def test_networks_of_different_shape_do_not_blend(make_compact, make_rrdb):
    for other in (make_compact(num_convs=4), make_compact(scale=2), make_rrdb(4)):
        with pytest.raises(WeightsError, match="cannot be blended"):
            blend_networks(make_compact(), other, 0.5)


def test_the_types_are_what_they_are_called(make_rrdb, make_compact):
    assert isinstance(network_from_state_dict(make_rrdb(4).state_dict()), RRDBNet)
    assert isinstance(network_from_state_dict(make_compact().state_dict()), SRVGGNetCompact)
