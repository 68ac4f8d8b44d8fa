"""Objects in checkpoints, which are left out, and of which nothing is run."""

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
import random
import re
import sys
import types
import uuid

import numpy as np
import pytest

from checkpoint_files import SAVES
from golden.tiny import TINY, tiny_weights
from hifigan_rt.config import PRESETS
from hifigan_rt.errors import UnsafeCheckpoint
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors
from hifigan_rt.formats.config_json import config_to_dict

pytestmark = pytest.mark.torch


def any_function():
    pass


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
    "function": any_function,
    "partial of a function": functools.partial(any_function, 1),
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


def test_settings_of_omegaconf_are_what_they_stand_for(torch, tmp_path, monkeypatch):
    # Lightning saves such as hyper_parameters; each node also knows its parent and metadata (OmegaConf 2.0 to 2.3).
    module = types.ModuleType("omegaconf.nodes")
    for name in ("omegaconf", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("DictConfig", "ListConfig", "AnyNode"):
        setattr(module, name, type(name, (), {"__module__": module.__name__}))

    def wrap(value, parent=None):
        kind = {dict: "DictConfig", list: "ListConfig"}.get(type(value), "AnyNode")
        node = getattr(module, kind)()
        node.__dict__ |= {"_metadata": {"key": "x"}, "_parent": parent}
        if isinstance(value, dict):
            node._content = {key: wrap(item, node) for key, item in value.items()}
        elif isinstance(value, list):
            node._content = [wrap(item, node) for item in value]
        else:
            node._val = value
        return node

    v1 = config_to_dict(PRESETS["v1"])
    weights = {key: torch.from_numpy(array) for key, array in tiny_weights().items()}
    torch.save({"state_dict": weights, "hyper_parameters": wrap({"model": v1})}, tmp_path / "x.ckpt")
    assert read_checkpoint(tmp_path / "x.ckpt").beside[1]["hyper_parameters"] == {"model": v1}


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
