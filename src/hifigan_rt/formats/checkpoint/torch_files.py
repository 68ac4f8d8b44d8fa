"""PyTorch's two file formats: the zip written since 1.6, and the stacked pickles before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.detect import Format
from hifigan_rt.formats.checkpoint.limits import MAX_PICKLE_BYTES, Budget
from hifigan_rt.formats.checkpoint.pickle_machine import PickleMachine, describe
from hifigan_rt.formats.checkpoint.tensors import DTYPES, Span, Storage, TensorLoader, inflate_into
from hifigan_rt.formats.checkpoint.torch_objects import TorchObjects
from hifigan_rt.formats.checkpoint.zip_archive import read_zip_directory

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
"""Constants of torch/serialization.py."""


@dataclass(frozen=True)
class Tree:
    """What a file holds, tensors unread."""

    root: object
    loader: TensorLoader
    format: Format
    config: dict[str, object] | None = None
    notes: tuple[str, ...] = ()


def _storage_bytes(storage: Storage) -> int:
    return storage.size * DTYPES[storage.dtype].itemsize


def read_legacy(source: ByteSource) -> Tree:
    """Read five pickles (magic number, protocol, system, object, storage keys) and find the storages behind them.

    Each storage is its number of elements as int64, then the elements; all little-endian, whatever the third
    pickle says of the writing machine (torch/csrc/serialization.cpp).

    Raises:
        CheckpointError, UnsafeCheckpoint: see `PickleMachine.load`; or the storages do not fit the pickle.
    """
    data = source.read(0, min(source.size, MAX_PICKLE_BYTES), "the pickle")
    objects = TorchObjects()
    machine = PickleMachine(data, objects, cut=len(data) < source.size)
    magic = machine.load()
    if type(magic) is not int or magic != _MAGIC_NUMBER:
        raise CheckpointError(
            f"is a pickle, but none that torch.save wrote: it starts with {describe(magic)} instead of the magic "
            "number; of a pickled array or dictionary, save the tensors with torch.save"
        )
    version = machine.load()
    if version != _PROTOCOL_VERSION:
        raise CheckpointError(f"is a PyTorch file of protocol {describe(version)}: {_PROTOCOL_VERSION} is read")
    machine.load()
    root = machine.load()
    keys = machine.load()
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise CheckpointError("is damaged: its list of storages is something else")
    spans = _locate_storages(source, objects, keys, machine.position)
    return Tree(root, TensorLoader(source, spans, Budget(source.size), big_endian=False), "torch-legacy")


def _locate_storages(source: ByteSource, objects: TorchObjects, keys: list[str], start: int) -> dict[str, Span]:
    spans: dict[str, Span] = {}
    for key in keys:
        storage = objects.storages.get(key)
        if storage is None or key in spans:
            raise CheckpointError(f"is damaged: its list of storages names {describe(key)} twice, or it is never used")
        count = int.from_bytes(source.read(start, 8, f"the size of storage {key}"), "little", signed=True)
        if count != storage.size:
            raise CheckpointError(
                f"is damaged: storage {describe(key)} has {count} elements and should have {storage.size}"
            )
        span = Span(start + 8, _storage_bytes(storage))
        source.check(span.start, span.length, f"storage {key}")
        spans[key] = span
        start = span.start + span.length
    for key in objects.storages:
        if key not in spans:
            raise CheckpointError(f"is damaged: storage {describe(key)} is used and not in the file")
    return spans


def read_zip(source: ByteSource) -> Tree:
    """Read `<name>/data.pkl` and find the storages `<name>/data/<key>` beside it.

    Raises:
        CheckpointError, UnsafeCheckpoint: not such an archive, damaged, or see `PickleMachine.load`.
    """
    spans = read_zip_directory(source)
    prefix = _find_prefix(spans)
    objects = TorchObjects()
    machine = PickleMachine(_read_entry(source, spans, f"{prefix}data.pkl"), objects)
    root = machine.load()
    big_endian = False
    if f"{prefix}byteorder" in spans:
        order = _read_entry(source, spans, f"{prefix}byteorder")
        if order not in (b"little", b"big"):
            raise CheckpointError(f"is damaged: its byte order is {describe(order)}")
        big_endian = order == b"big"
    located: dict[str, Span] = {}
    for key, storage in objects.storages.items():
        span = spans.get(f"{prefix}data/{key}")
        if span is None:
            raise CheckpointError(f"is damaged: storage {describe(key)} is used and not in the archive")
        size = span.length if span.inflated is None else span.inflated
        if size != _storage_bytes(storage):
            raise CheckpointError(
                f"is damaged: storage {describe(key)} has {size} bytes and should have {_storage_bytes(storage)}"
            )
        located[key] = span
    return Tree(root, TensorLoader(source, located, Budget(source.size), big_endian=big_endian), "torch-zip")


def _find_prefix(spans: dict[str, Span]) -> str:
    pickles = [name for name in spans if name.count("/") == 1 and name.endswith("/data.pkl")]
    # TorchScript archives have a data.pkl too, of their own kind.
    if any("/code/" in f"/{name}" or name.rpartition("/")[2] == "constants.pkl" for name in spans):
        raise CheckpointError(
            "is a TorchScript archive, a program: a state dict is needed. Load it in PyTorch with torch.jit.load and "
            "save torch.save({'generator': model.state_dict()}, path)"
        )
    if len(pickles) == 1:
        return pickles[0].removesuffix("data.pkl")
    if pickles:
        raise CheckpointError(f"is a zip with {len(pickles)} checkpoints in it: {_list_names(pickles)}")
    if spans and all(name.endswith(".npy") for name in spans):
        raise CheckpointError("is a NumPy archive (.npz), not a checkpoint")
    raise CheckpointError(f"is a zip, but none that torch.save wrote; it holds {_list_names(list(spans))}: unpack it")


def _list_names(names: list[str]) -> str:
    shown = ", ".join(describe(name) for name in names[:5])
    return f"{shown or 'nothing'} and {len(names) - 5} more" if len(names) > 5 else shown or "nothing"


def _read_entry(source: ByteSource, spans: dict[str, Span], name: str) -> bytes:
    span = spans[name]
    size = span.length if span.inflated is None else span.inflated
    if size > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"has a {describe(name)} of {size} bytes: at most {MAX_PICKLE_BYTES}, tensors not counted"
        )
    if span.inflated is None:
        return source.read(span.start, span.length, f"the zip entry {describe(name)}")
    data = np.empty(size, np.uint8)
    inflate_into(source, span, data, f"the zip entry {describe(name)}")
    return data.tobytes()
