"""All formats from files written by hand: names, weight norm, dtypes, configs; no PyTorch."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

import tolerances
from checkpoint_files import (
    Call,
    Global,
    Ordered,
    Raw,
    Tensor,
    legacy_file,
    read_any_state,
    safetensors_file,
    zip_file,
)
from hifigan_rt.errors import CheckpointError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import Checkpoint, read_tensors
from hifigan_rt.model.pretrained import locate_pretrained
from memory_limits import peak_within

WRITERS = {"torch-zip": zip_file, "torch-legacy": legacy_file}


@pytest.fixture(params=list(WRITERS))
def kind(request):
    return request.param


@pytest.fixture
def read(tmp_path, kind):
    def read(root, reader=read_any_state):
        path = tmp_path / "checkpoint"
        path.write_bytes(WRITERS[kind](root))
        return reader(path)

    return read


def tensor(values, key, dtype=np.float32):
    return Tensor(np.asarray(values, dtype), key)


def normed_layer(name, key, *, new=False):
    g = tensor([[[2.0]], [[3.0]]], f"{key}g")
    v = tensor([[[3.0, 4.0]], [[0.0, 0.0]]], f"{key}v")
    if new:
        return {f"{name}.parametrizations.weight.original0": g, f"{name}.parametrizations.weight.original1": v}
    return {f"{name}.weight_g": g, f"{name}.weight_v": v}


FOLDED = [[[1.2, 1.6]], [[0.0, 0.0]]]


def test_every_spelling_of_weight_norm_in_one_file(read, kind):
    state = {
        **normed_layer("conv_pre", "a"),
        **normed_layer("ups.0", "b", new=True),
        "conv_post.weight": tensor([[[1.0, 2.0]]], "c"),
        "conv_post.bias": tensor([0.5], "d"),
    }
    checkpoint = read({"generator": Ordered(state)})
    assert list(checkpoint.weights) == ["conv_pre.weight", "ups.0.weight", "conv_post.weight", "conv_post.bias"]
    expected = np.array(FOLDED, np.float32)
    np.testing.assert_array_equal(checkpoint.weights["conv_pre.weight"], expected)
    np.testing.assert_array_equal(checkpoint.weights["ups.0.weight"], expected)
    np.testing.assert_array_equal(checkpoint.weights["conv_post.weight"], [[[1, 2]]])
    assert checkpoint == Checkpoint(checkpoint.weights, None, kind, ())


def test_flat_magnitudes(read):
    state = {"w.weight_g": tensor([2.0, 3.0], "g"), "w.weight_v": tensor([[[3.0, 4.0]], [[0.0, 0.0]]], "v")}
    np.testing.assert_array_equal(read(state).weights["w.weight"], np.array(FOLDED, np.float32))


@pytest.mark.parametrize(
    ("stored", "result"), [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)]
)
def test_folded_dtypes(read, stored, result):
    state = {
        "w.weight_g": tensor([[[1.5]]], "g", stored),
        "w.weight_v": tensor([[[0.1, 0.7, -0.3]]], "v", stored),
        "w.bias": tensor([0.1], "b", stored),
    }
    weights = read(state).weights
    v = state["w.weight_v"].storage.astype(np.float64)
    assert weights["w.weight"].dtype == result
    np.testing.assert_array_max_ulp(
        weights["w.weight"], (1.5 * v / np.linalg.norm(v)).astype(result), tolerances.FOLDED_MAX_ULP
    )
    assert weights["w.bias"].dtype == stored


def test_bfloat16_widens_exactly(read):
    bits = np.array([0x3F80, 0xC049, 0x7F80, 0x0001, 0x8000], np.uint16)
    root = {"w": Tensor(bits, "0", storage_name="BFloat16Storage")}
    expected = (bits.astype(np.uint32) << 16).view(np.float32)
    assert read(root).weights["w"].tobytes() == expected.tobytes()


def test_rows_longer_than_a_block(read):
    rng = np.random.default_rng(0)
    v = rng.standard_normal((3, 70_000)).astype(np.float32)
    g = np.array([[1.0], [2.0], [-3.0]], np.float32)
    weights = read({"w.weight_g": Tensor(g, "g"), "w.weight_v": Tensor(v, "v")}).weights
    expected = g * v / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_array_max_ulp(weights["w.weight"], expected.astype(np.float32), tolerances.FOLDED_MAX_ULP)


def test_tensors_beside_the_generator_are_never_read(tmp_path):
    data = bytearray(legacy_file({"generator": {"w": tensor([1.0, 2.0], "a")}, "optimizer": tensor([3.0], "b")}))
    path = tmp_path / "g"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_any_state(path).weights["w"], [1, 2])
    np.testing.assert_array_equal(read_tensors(path)["optimizer"], [3])


def test_what_follows_a_checkpoint_is_told(tmp_path):
    path = tmp_path / "g"
    one = legacy_file({"generator": {"w": tensor([1.0, 2.0], "a")}})
    path.write_bytes(one + one)
    checkpoint = read_any_state(path)
    np.testing.assert_array_equal(checkpoint.weights["w"], [1, 2])
    assert checkpoint.notes[0] == (
        f"{len(one)} bytes after the first object that torch.save wrote are not read, as by torch.load"
    )


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"w.weight_g": 0}, "has w.weight_g without w.weight_v: weight norm needs both"),
        ({"w.weight_v": 0}, "has w.weight_v without w.weight_g: weight norm needs both"),
        (
            {"w.parametrizations.weight.original1": 0},
            "has w.parametrizations.weight.original1 without w.parametrizations.weight.original0: "
            "weight norm needs both",
        ),
        (
            {"ups.0.weight_g": 0, "ups.0.weight_v_orig": 0, "ups.0.weight_v_mask": 0},
            "has ups.0.weight_v pruned, as ups.0.weight_v_orig and ups.0.weight_v_mask: make it final in PyTorch with "
            "torch.nn.utils.prune.remove(model.get_submodule('ups.0'), 'weight_v'), as for each such layer, and save "
            "again",
        ),
        (
            {"conv_post.weight_orig": 0, "conv_post.weight_u": 0, "conv_post.weight_v": 0},
            "has conv_post.weight of spectral norm, as conv_post.weight_orig and conv_post.weight_u: make it final in "
            "PyTorch with torch.nn.utils.remove_spectral_norm(model.get_submodule('conv_post'), 'weight'), as for each "
            "such layer, and save again",
        ),
        (
            dict.fromkeys(("w.parametrizations.weight." + end for end in ("original", "0._u", "0._v")), 0),
            "has w.weight of spectral norm, as w.parametrizations.weight.original and w.parametrizations.weight.0._u: "
            "make it final in PyTorch with torch.nn.utils.parametrize.remove_parametrizations(model.get_submodule('w')"
            ", 'weight'), as for each such layer, and save again",
        ),
        (
            {"w.parametrizations.weight.original": 0},
            "has w.weight parametrized, as w.parametrizations.weight.original: make it final in PyTorch with torch.nn."
            "utils.parametrize.remove_parametrizations(model.get_submodule('w'), 'weight'), as for each such layer, "
            "and save again",
        ),
        (
            {"ups.0.base_layer.weight": 0, "ups.0.lora_A.default.weight": 0, "ups.0.lora_B.default.weight": 0},
            "has ups.0.base_layer.weight, a part of adapters (PEFT, LoRA), which change the weights of a base: merge "
            "them into it in PyTorch, with PEFT by model = model.merge_and_unload(), and save again",
        ),
        (
            {"w.weight_g": 0, "w.weight_v": 0, "w.weight": 0},
            "has w.weight in two spellings, one of them w.weight: a layer needs one",
        ),
        (
            {
                "w.weight_g": 0,
                "w.weight_v": 0,
                "w.parametrizations.weight.original0": 0,
                "w.parametrizations.weight.original1": 0,
            },
            "has w.weight in two spellings, one of them w.parametrizations.weight.original0: a layer needs one",
        ),
    ],
)
def test_broken_pairs(read, tmp_path, state, message):
    with pytest.raises(CheckpointError) as caught:
        read({name: tensor([[1.0]], str(i)) for i, name in enumerate(state)})
    assert str(caught.value) == f"{str(tmp_path / 'checkpoint')!r} {message}"


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 1), (2, 1), (2, 1, 1, 1)])
def test_magnitudes_of_a_wrong_shape(read, shape):
    state = {"w.weight_g": tensor(np.ones(shape), "g"), "w.weight_v": tensor(np.ones((2, 1, 3)), "v")}
    with pytest.raises(CheckpointError, match=r"holds w.weight_g of shape .* and w.weight_v of \[2, 1, 3\]: the first"):
        read(state)


def test_halves_of_a_weight_without_dimensions_are_refused(read):
    state = {"w.weight_g": tensor(1.0, "g"), "w.weight_v": tensor(2.0, "v")}
    with pytest.raises(CheckpointError, match=r"holds w.weight_g of shape \[\] and w.weight_v of \[\]: the first"):
        read(state)


def test_integer_weights(read):
    state = {"w.weight_g": tensor([[1]], "g", np.int64), "w.weight_v": tensor([[1]], "v", np.int64)}
    with pytest.raises(CheckpointError, match=r"holds w.weight_g of dtype int64: a weight must be float16, float32 or"):
        read(state)


def test_layers_without_channels(read):
    state = {"w.weight_g": tensor(np.ones((0, 1)), "g"), "w.weight_v": tensor(np.ones((0, 3)), "v")}
    assert read(state).weights["w.weight"].shape == (0, 3)


def test_raw_tree(read):
    storage = np.arange(12, dtype=np.float32)
    root = {
        "list": [1, (2.5, None, True), "text", {}],
        "view": Tensor(storage, "0", (2, 3), (1, 4), offset=1),
        "expanded": Tensor(storage, "0", (2, 3), (0, 1)),
        "scalar": Tensor(storage, "0", (), (), offset=5),
        "size": Call(Global("torch", "Size"), ((3, 4),)),
        "device": Call(Global("torch", "device"), ("cuda", 1)),
        "dtype": Global("torch", "bfloat16"),
        "bool": tensor([True, False], "1", bool),
        "short": tensor([-1, 2], "2", np.int16),
        "complex": tensor([1 + 2j], "3", np.complex64),
    }
    tree = read(root, read_tensors)
    assert tree["list"] == [1, (2.5, None, True), "text", {}]
    np.testing.assert_array_equal(tree["view"], [[1, 5, 9], [2, 6, 10]])
    np.testing.assert_array_equal(tree["expanded"], [[0, 1, 2], [0, 1, 2]])
    assert tree["scalar"].shape == ()
    assert tree["scalar"] == 5
    assert (tree["size"], tree["device"], tree["dtype"]) == ((3, 4), "cuda:1", "torch.bfloat16")
    for name, dtype in (("bool", bool), ("short", np.int16), ("complex", np.complex64)):
        np.testing.assert_array_equal(tree[name], root[name].storage)
        assert tree[name].dtype == dtype


def test_texts_as_python_2_wrote_them(read):
    assert read({"a": Raw(b"U\x03mel"), "b": Raw(b"T\x02\0\0\0\xc3\xa4")}, read_tensors) == {"a": "mel", "b": "\u00e4"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("byteorder", ["little", "big", None])
@pytest.mark.parametrize("prefix", ["archive", "g_00000000", "a.b c"])
def test_zip_variants(tmp_path, compression, byteorder, prefix):
    state = {
        "a": Tensor(np.arange(6, dtype=np.float32), "0", (3, 2), (1, 3)),
        "b": Tensor(np.arange(5, dtype=np.int64), "1"),
        "c": Tensor(np.array([1 + 2j], np.complex64), "2"),
        "d": Tensor(np.array([True, False]), "3"),
    }
    path = tmp_path / "g"
    extra = {f"{prefix}/.format_version": b"1", f"{prefix}/.data/serialization_id": b"123"}
    path.write_bytes(zip_file(state, prefix=prefix, byteorder=byteorder, compression=compression, extra=extra))
    tree = read_tensors(path)
    np.testing.assert_array_equal(tree["a"], np.arange(6).reshape(2, 3).T)
    np.testing.assert_array_equal(tree["b"], np.arange(5))
    np.testing.assert_array_equal(tree["c"], [1 + 2j])
    np.testing.assert_array_equal(tree["d"], [True, False])
    assert all(array.dtype.isnative for array in tree.values())


@pytest.mark.parametrize("size", [65535, 65536, 65537, 65552, 131104, 262160])
def test_compressed_tensors_of_any_size(tmp_path, size):
    """zlib keeps up to 258 bytes of a run to itself where a piece is full."""
    path = tmp_path / "g"
    path.write_bytes(zip_file({"a": Tensor(np.zeros(size, np.float32), "0")}, compression=zipfile.ZIP_DEFLATED))
    np.testing.assert_array_equal(read_tensors(path)["a"], np.zeros(size))


def test_zip_behind_a_comment(tmp_path):
    path = tmp_path / "g"
    path.write_bytes(zip_file({"w": tensor([1.0], "0")}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a comment"
    assert read_any_state(path).weights["w"] == 1


def test_a_version_over_the_first_two_bytes(tmp_path):
    # As GPT-SoVITS marks its voices since v2Pro (process_ckpt.py: my_save2).
    path = tmp_path / "voice.pth"
    path.write_bytes(b"05" + zip_file({"w": tensor([1.0], "0")})[2:])
    assert read_any_state(path).weights["w"] == 1


@pytest.mark.parametrize("entry", [0, 1])
def test_other_bytes_where_an_entry_should_begin(tmp_path, entry):
    data = zip_file({"w": tensor([1.0], "0")})
    at = [place for place in range(len(data)) if data[place : place + 4] == b"PK\x03\x04"][entry]
    path = tmp_path / "voice.pth"
    path.write_bytes(data[:at] + (b"05", b"ab")[entry == 0] + data[at + 2 :])
    with pytest.raises(CheckpointError, match="no checkpoint" if entry == 0 else "not where the directory says"):
        read_any_state(path)


@pytest.mark.parametrize(
    ("metadata", "config", "notes"),
    [
        ({}, None, 0),
        ({"config": '{"resblock": "1"}'}, {"resblock": "1"}, 0),
        ({"hifigan_rt.config": '{"a": 1}', "config": '{"b": 2}'}, {"a": 1}, 0),
        ({"config": "not JSON"}, None, 1),
        ({"config": "[1]"}, None, 1),
        ({"format": "pt"}, None, 0),
    ],
)
def test_safetensors(tmp_path, metadata, config, notes):
    data = np.array([1.0, 2.0], np.float32).tobytes() + np.array([0x3F80], np.uint16).tobytes()
    header = {
        "__metadata__": metadata,
        "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]},
        "c": {"dtype": "F16", "shape": [0, 4], "data_offsets": [10, 10]},
    }
    path = tmp_path / "model"
    path.write_bytes(safetensors_file(header, data))
    checkpoint = read_any_state(path)
    assert (checkpoint.config, checkpoint.format, len(checkpoint.notes)) == (config, "safetensors", notes)
    np.testing.assert_array_equal(checkpoint.weights["a"], [[1], [2]])
    np.testing.assert_array_equal(checkpoint.weights["b"], np.float32(1))
    assert checkpoint.weights["c"].shape == (0, 4)
    assert json.loads(json.dumps(config)) == config


def test_safetensors_dtypes_against_the_package(tmp_path):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(3)
    arrays = {
        name: rng.integers(0, 100, (3, 2)).astype(name)
        for name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8")
    }
    arrays |= {
        name: rng.integers(0, 200, (4,)).astype(name) for name in ("uint64", "uint32", "uint16", "uint8", "bool")
    }
    path = tmp_path / "model"
    save_file(arrays, path)
    tree = read_tensors(path)
    assert tree.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tree[name].dtype == array.dtype
        np.testing.assert_array_equal(tree[name], array)


def test_memory_of_a_bfloat16_file_stays_within_the_promise(tmp_path):
    rows = 1 << 12
    root = {
        f"{i}.weight_{half}": Tensor(np.ones((rows, width), np.uint16), f"{i}{half}", storage_name="BFloat16Storage")
        for i in range(8)
        for half, width in (("g", 1), ("v", 512))
    }
    path = tmp_path / "g"
    path.write_bytes(zip_file(root))
    with peak_within(4 * path.stat().st_size):
        read_any_state(path)


@pytest.mark.pretrained
def test_the_real_checkpoint_is_read_whole():
    checkpoint = read_checkpoint(locate_pretrained("ljspeech-v1"))
    assert checkpoint.format == "torch-legacy"
    assert sum(array.size for array in checkpoint.weights.values()) == 13_926_017
    assert all(array.dtype == np.float32 for array in checkpoint.weights.values())
