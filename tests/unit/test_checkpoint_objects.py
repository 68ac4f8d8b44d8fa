"""NumPy's arrays and numbers in checkpoints, bit for bit; and objects that are left out, of which nothing is run."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import io
import pathlib
import pickle
import random
import re
import tracemalloc
import types
import uuid

import numpy as np
import pytest

from checkpoint_files import Tensor, legacy_file, zip_file
from golden.tiny import TINY, tiny_weights, write_tiny
from hifigan_rt.config import PRESETS
from hifigan_rt.errors import CheckpointError, MelError, UnsafeCheckpoint
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.mel.files import read_mel_file
from hifigan_rt.model.resolve import resolve_model

pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((3, 4, 5))


@pytest.fixture(scope="module")
def torch():
    import torch

    return torch


SAVES = [(legacy, protocol) for legacy in (False, True) for protocol in (2, 3, 4, 5)]


@pytest.fixture(params=SAVES, ids=lambda save: f"{'legacy' if save[0] else 'zip'}-{save[1]}")
def save(request, torch, tmp_path):
    legacy, protocol = request.param

    def save(value):
        path = tmp_path / "x.pt"
        torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
        return path

    return save


PLAIN = [
    "f2",
    "f4",
    "f8",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "b1",
    "c8",
    "c16",
    ">f4",
    ">f8",
    ">i2",
    ">c8",
]


def odd_arrays():
    arrays = {dtype: (100 * BASE).astype(dtype) for dtype in PLAIN}
    arrays |= {
        "fortran": np.asfortranarray(BASE),
        "fortran, large": np.asfortranarray(RNG.standard_normal((300, 70))),
        "transposed": BASE.transpose(1, 0, 2),
        "moved": BASE.transpose(2, 0, 1),
        "strided": BASE[:, ::2],
        "offset": BASE[1:, 2],
        "reversed": BASE[::-1],
        "broadcast": np.broadcast_to(BASE[0, 0], (6, 5)),
        "scalar array": np.array(2.5),
        "empty": np.empty((0, 3), np.float32),
        "special": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        "big-endian, transposed": BASE.astype(">f4").transpose(2, 1, 0),
        # Longer than what is kept in the pickle while it is run.
        "large": RNG.standard_normal((80, 900)).astype(np.float32),
        "large, big-endian": RNG.standard_normal((80, 300)).astype(">f8"),
        "large, in every byte": np.arange(1 << 17, dtype=np.uint32).view(np.uint8),
        "read only": np.frombuffer(bytes(range(64)), np.float32),
    }
    shared = RNG.standard_normal(7)
    return arrays | {"same": [shared, shared, (shared,)]}


def assert_same_arrays(ours, theirs):
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same_arrays(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same_arrays(one, other)
    else:
        native = np.ascontiguousarray(theirs, theirs.dtype.newbyteorder("=")).reshape(theirs.shape)
        assert (ours.dtype, ours.shape) == (native.dtype, native.shape)
        assert ours.tobytes() == native.tobytes()
        assert ours.flags.c_contiguous
        assert ours.flags.writeable


def test_arrays_bit_for_bit(save):
    arrays = odd_arrays()
    assert_same_arrays(read_tensors(save(arrays)), arrays)


def test_numbers(save):
    numbers = {
        dtype: np.dtype(dtype).type(7) for dtype in ("f2", "f4", "f8", "i1", "u1", "i4", "i8", "u8", "b1", "c8", "c16")
    }
    numbers |= {
        "best_loss": np.float64(0.1),
        "big": np.array([3.5], ">f4")[0],
        "complex": 1 - 2j,
        "raw": b"\x00\xff" * 9,
    }
    tree = read_tensors(save(numbers))
    assert {key: type(value) for key, value in tree.items()} == {key: type(value) for key, value in numbers.items()}
    assert tree == numbers


def test_the_names_of_numpy_1(tmp_path):
    """NumPy 2 renamed numpy.core; in protocol 2 names are lines of text."""
    arrays = {"a": BASE, "b": np.float32(3), "c": np.asfortranarray(BASE).astype(">i4")}
    data = pickle.dumps(arrays, 2)
    assert b"numpy._core.multiarray" in data
    path = tmp_path / "x"
    path.write_bytes(data.replace(b"numpy._core", b"numpy.core"))
    tree = read_tensors(path)
    assert_same_arrays([tree["a"], tree["c"]], [arrays["a"], arrays["c"]])
    assert tree["b"] == 3


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_of_arrays_that_torch_had_no_part_in(tmp_path, protocol):
    write_tiny(tmp_path, "unused.safetensors")
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"generator": tiny_weights(), "step": 3}, protocol))
    model = resolve_model(path)
    assert model.format == "pickle"
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(model.generator.weights[name], array)


def test_weights_as_arrays(save):
    path = save(
        {"state_dict": {f"generator.{name}": array for name, array in tiny_weights().items()}, "loss": np.float32(1)}
    )
    weights = read_checkpoint(path).weights
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(weights[name], array)


def test_memory_of_arrays_in_the_pickle(torch, tmp_path):
    """A latin-1 text of UTF-8 is what protocol 2 makes of bytes: it is decoded piece by piece."""
    path = tmp_path / "x.pt"
    torch.save({"w": RNG.standard_normal((1000, 3000)).astype(np.float32)}, path)
    tracemalloc.start()
    array = read_tensors(path)["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.nbytes == 12_000_000 < path.stat().st_size
    assert peak < array.nbytes + (4 << 20)


MEL = np.random.default_rng(1).uniform(-11, 1, (80, 300)).astype(np.float32)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda mel: {"mel": mel},
        lambda mel: mel,
        lambda mel: [mel],
        lambda mel: {"mel": mel.astype(">f4"), "name": pathlib.PosixPath("a.wav"), "loss": np.float64(1)},
        lambda mel: {"mel": np.asfortranarray(mel)[None], "text": np.array(["a", "b"]), "meta": np.array([None])},
    ],
)
def test_a_mel_as_an_array(save, wrap):
    np.testing.assert_array_equal(read_mel_file(save(wrap(MEL)), 80), MEL)


def test_advice_for_mels_is_about_mels(torch, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(MelError) as caught:
        read_mel_file(path, 80)
    assert "state_dict" not in str(caught.value)
    assert "np.save('mel.npy', mel)" in str(caught.value)
    for value, kind in ((MEL.astype(object), "O8"), (MEL.astype("U5"), "U5"), (np.zeros(3, "f4,i4"), "V8")):
        torch.save({"mel": value}, path)
        with pytest.raises(MelError, match=f"holds an object of numpy.ndarray of dtype {kind} and no array of numbers"):
            read_mel_file(path, 80)


# Objects.


class Stage(enum.Enum):
    TRAIN = "train"


class Flags(enum.IntFlag):
    FAST = 1


class AttrDict(dict):
    """The original's own (env.py)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = 1


class Plain:
    def __init__(self):
        self.values = [1, {"b": 2}]


class Bands(list):
    pass


EVERYDAY = {
    "namespace": argparse.Namespace(lr=2e-4, path="x"),
    "simple namespace": types.SimpleNamespace(a=1),
    "path": pathlib.PosixPath("/data/x.wav"),
    "windows path": pathlib.PureWindowsPath("c:/x"),
    "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "delta": datetime.timedelta(seconds=3),
    "decimal": decimal.Decimal("1.5"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=5),
    "enum": Stage.TRAIN,
    "flag": Flags.FAST,
    "partial": functools.partial(AttrDict, a=1),
    "class": Stage,
    "function": odd_arrays,
    "partial of a function": functools.partial(odd_arrays, 1),
    "function of NumPy": np.linalg.norm,
    "pattern": re.compile("a.*"),
    "random": random.Random(1),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "range": range(3),
    "slice": slice(1, 2),
    "deque": collections.deque([1, 2]),
    "default": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("aab"),
    "attrdict": AttrDict(config_to_dict(TINY)),
    "slots": Slots(),
    "plain": Plain(),
    "bands": Bands([1, 2]),
    "none type": type(None),
    "ellipsis": ...,
    "type": int,
    "object array": np.array([{"a": 1}, None], object),
    "texts": np.array(["a", "bc"]),
    "structured": np.zeros(3, [("a", "f4"), ("b", "i2", 2)]),
    "when array": np.array(["2026-01-01"], "M8[s]"),
    "text scalar": np.str_("abc"),
    "numpy generator": np.random.default_rng(1),
    "random state": np.random.RandomState(1),
    "get_state": np.random.get_state(),
    "keys": {(1, "a"): 2, Stage.TRAIN: 3, np.int64(4): 5, b"6": 7, pathlib.PosixPath("a"): 8},
    "dtype": np.dtype("f4"),
}


@pytest.mark.parametrize("name", EVERYDAY)
def test_everyday_objects_beside_the_weights(torch, tmp_path, name):
    path = tmp_path / "x.pth"
    weights = {key: torch.from_numpy(array) for key, array in tiny_weights().items()}
    for legacy, protocol in SAVES:
        torch.save(
            {"before": EVERYDAY[name], "generator": weights, "after": [EVERYDAY[name]]},
            path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol,
        )  # fmt: skip
        read = read_checkpoint(path)
        np.testing.assert_array_equal(read.weights["conv_pre.weight"], tiny_weights()["conv_pre.weight"])
        assert read_tensors(path).keys() == {"before", "generator", "after"}


def test_what_is_left_out_is_said(torch, tmp_path):
    path = tmp_path / "x.pth"
    weights = {key: torch.from_numpy(array) for key, array in tiny_weights().items()}
    beside = {
        "a": argparse.Namespace(),
        "b": pathlib.PosixPath("x"),
        "c": argparse.Namespace(),
        "d": 4,
        "e": np.float32(1),
    }
    torch.save({"generator": weights, **beside}, path)
    assert read_checkpoint(path).notes == (
        "objects of 'argparse.Namespace', 'pathlib.PosixPath' are not made, at most read as data: nothing that a file "
        "asks for is run",
    )


def test_settings_in_objects_are_plain_values(torch, tmp_path):
    path = tmp_path / "x.pth"
    weights = {key: torch.from_numpy(array) for key, array in tiny_weights().items()}
    v1 = config_to_dict(PRESETS["v1"])
    settings = {"attrdict": AttrDict(v1), "namespace": argparse.Namespace(**v1), "plain": Plain(), "hop": np.int64(256)}
    torch.save({"generator": weights, **settings}, path)
    beside = read_checkpoint(path).beside[1]
    assert beside["attrdict"] == beside["namespace"] == v1
    assert beside["plain"] == {"values": [1, {"b": 2}]}
    assert (beside["hop"], type(beside["hop"])) == (256, int)


def test_weights_in_a_dictionary_of_ones_own_class(torch, tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"generator": AttrDict({key: torch.from_numpy(array) for key, array in tiny_weights().items()})}, path)
    np.testing.assert_array_equal(read_checkpoint(path).weights["conv_pre.weight"], tiny_weights()["conv_pre.weight"])


def test_a_whole_model_is_refused_by_its_class(torch, tmp_path):
    path = tmp_path / "x.pth"
    torch.save(torch.nn.Conv1d(2, 3, 1), path)
    with pytest.raises(
        UnsafeCheckpoint, match=r"asks for an object of torch\.nn\.modules\.conv\.Conv1d, .* nothing was run"
    ):
        read_checkpoint(path)


class Evil:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def test_code_beside_the_weights_is_refused_all_the_same(torch, tmp_path):
    path, mark = tmp_path / "x.pth", tmp_path / "mark"
    weights = {key: torch.from_numpy(array) for key, array in tiny_weights().items()}
    for evil in (
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        Evil(pathlib.Path.touch, pathlib.PosixPath(mark)),
        Evil(io.open, str(mark), "w"),
        {"deep": [argparse.Namespace(a=Evil(exec, "1"))]},
    ):
        torch.save({"generator": weights, "x": evil}, path)
        for reader in (read_checkpoint, read_tensors):
            with pytest.raises(UnsafeCheckpoint, match="nothing was run"):
                reader(path)
    assert not mark.exists()


@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_tensors_are_as_lazy_as_before(tmp_path, write):
    """An array that nobody wants costs nothing, whatever it claims."""
    path = tmp_path / "x"
    path.write_bytes(write({"generator": {name: Tensor(array, name) for name, array in tiny_weights().items()}}))
    assert read_checkpoint(path).notes == ()


def test_arrays_that_claim_more_than_they_have(tmp_path):
    path = tmp_path / "x"
    data = pickle.dumps({"a": np.zeros((2, 3), np.float32)}, 2)
    for shape, message in (
        (b"K\x03K\x03\x86", "needs 36 bytes and has 24"),
        (b"K\x02K\x02\x86", "needs 16 bytes and has 24"),
        (b"K\x02N\x86", "a length of a NumPy array is None"),
    ):
        path.write_bytes(data.replace(b"K\x02K\x03\x86", shape))
        with pytest.raises(CheckpointError, match=message):
            read_tensors(path)
