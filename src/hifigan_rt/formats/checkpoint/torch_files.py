"""PyTorch's two file formats: the zip written since 1.6, and the stacked pickles before it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.detect import Format
from hifigan_rt.formats.checkpoint.limits import MAX_PICKLE_BYTES, Budget
from hifigan_rt.formats.checkpoint.pickle_input import PickleInput
from hifigan_rt.formats.checkpoint.pickle_machine import PickleMachine, describe
from hifigan_rt.formats.checkpoint.tensors import DTYPES, LazyTensor, Span, Storage, TensorLoader, inflate_into
from hifigan_rt.formats.checkpoint.torch_objects import TorchObjects
from hifigan_rt.formats.checkpoint.torchscript import Program, is_program_class
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
    config_text: str | None = None
    """A config beside the weights that is not decoded yet: the YAML of a .nemo file."""
    program: Program | None = None
    """The modules with their code, of a TorchScript archive."""
    left_over: int = 0
    """Bytes that follow what is read: of another object that torch.save wrote behind it, perhaps."""


def _storage_bytes(storage: Storage) -> int:
    return storage.size * DTYPES[storage.dtype].itemsize


def read_legacy(source: ByteSource) -> Tree:
    """Read five pickles (magic number, protocol, system, object, storage keys) and find the storages behind them.

    Each storage is its number of elements as int64, then the elements; all little-endian, whatever the third
    pickle says of the writing machine (torch/csrc/serialization.cpp).

    Raises:
        CheckpointError, UnsafeCheckpoint: see `PickleMachine.load`; or the storages do not fit the pickle.
    """
    objects = TorchObjects()
    machine = PickleMachine(PickleInput(source), objects)
    magic = machine.load()
    if objects.numpy.places and machine.position == source.size:
        # A pickle of arrays that torch.save had no part in.
        return _make_tree(source, magic, objects, {}, "pickle")
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
    tree = _make_tree(source, root, objects, spans, "torch-legacy")
    left_over = source.size - max([machine.position, *(span.start + span.length for span in spans.values())])
    if left_over == 0:
        return tree
    note = f"{left_over} bytes after the first object that torch.save wrote are not read, as by torch.load"
    return replace(tree, left_over=left_over, notes=(*tree.notes, note))


def _make_tree(
    source: ByteSource,
    root: object,
    objects: TorchObjects,
    spans: Mapping[str, Span],
    kind: Format,
    *,
    big_endian: bool = False,
) -> Tree:
    """Join what a pickle holds with the places of its numbers."""
    arrays = objects.numpy.places
    if arrays.keys() & spans.keys():
        raise CheckpointError("is damaged: a storage has the name that a NumPy array is given")
    loader = TensorLoader(source, {**spans, **arrays}, Budget(source.size), big_endian=big_endian)
    classes = list(objects.left_out)
    notes = (
        (f"objects of {_list_names(classes)} are not made, at most read as data: nothing that a file asks for is run",)
        if classes
        else ()
    )
    return Tree(root, loader, kind, notes=notes)


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

    A TorchScript archive has the same two, and code.

    Raises:
        CheckpointError, UnsafeCheckpoint: not such an archive, damaged, or see `PickleMachine.load`.
    """
    spans = read_zip_directory(source)
    prefix = _find_prefix(spans)
    objects = TorchObjects()
    root = _pickle_machine(source, spans, f"{prefix}data.pkl", objects).load()
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
        if span.size != _storage_bytes(storage):
            raise CheckpointError(
                f"is damaged: storage {describe(key)} has {span.size} bytes and should have {_storage_bytes(storage)}"
            )
        located[key] = span
    if f"{prefix}constants.pkl" not in spans and not any(name.startswith(f"{prefix}code/") for name in spans):
        return _make_tree(source, root, objects, located, "torch-zip", big_endian=big_endian)

    def read_code(name: str) -> bytes | None:
        entry = f"{prefix}code/{name}"
        return _read_entry(source, spans, entry) if entry in spans else None

    program = Program(root, read_code, lambda: _read_constants(source, spans, prefix, big_endian=big_endian))
    for name in [name for name in objects.left_out if is_program_class(name)]:
        del objects.left_out[name]
    tree = _make_tree(source, program.tree, objects, located, "torchscript", big_endian=big_endian)
    return replace(tree, program=program)


def _read_constants(
    source: ByteSource, spans: dict[str, Span], prefix: str, *, big_endian: bool
) -> tuple[float | None, ...]:
    """Read the constants that a program's text refers to; None for one that is no single number."""
    if f"{prefix}constants.pkl" not in spans:
        return ()
    objects = TorchObjects()
    found = _pickle_machine(source, spans, f"{prefix}constants.pkl", objects).load()
    located = {key: spans[name] for key in objects.storages if (name := f"{prefix}constants/{key}") in spans}
    for key, storage in objects.storages.items():
        span = located.get(key)
        if span is None or span.size != _storage_bytes(storage):
            raise CheckpointError(f"is damaged: constant {describe(key)} is not in the archive, or of another size")
    loader = TensorLoader(source, located, Budget(source.size), big_endian=big_endian)
    constants: list[float | None] = []
    for value in found if isinstance(found, tuple) else ():
        is_number = isinstance(value, LazyTensor) and value.size == 1 and value.dtype not in ("complex64", "complex128")
        constants.append(float(loader.load(value).reshape(())) if is_number else None)
    return tuple(constants)


def _pickle_machine(source: ByteSource, spans: dict[str, Span], name: str, objects: TorchObjects) -> PickleMachine:
    span = spans[name]
    if span.inflated is None:
        return PickleMachine(PickleInput(source, start=span.start, size=span.length), objects)
    data = _read_entry(source, spans, name)
    inflated = ByteSource(io.BytesIO(data), len(data))
    return PickleMachine(PickleInput(inflated, leave_unread=False), objects)


def _find_prefix(spans: dict[str, Span]) -> str:
    pickles = [name for name in spans if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) == 1:
        return pickles[0].removesuffix("data.pkl")
    if pickles:
        raise CheckpointError(f"is a zip with {len(pickles)} checkpoints in it: {_list_names(pickles)}")
    if spans and all(name.endswith(".npy") for name in spans):
        raise CheckpointError(
            "is a NumPy archive (.npz), not a checkpoint: save its arrays as one with safetensors.numpy.save_file("
            "dict(numpy.load(path)), 'generator.safetensors')"
        )
    if any(name.endswith("/archive_format") for name in spans):
        raise CheckpointError(
            "is a program of torch.export (.pt2), not a checkpoint: save its weights with torch.save({'generator': "
            "dict(torch.export.load(path).state_dict)}, 'generator.pth')"
        )
    if any(name.endswith("/.data/extern_modules") for name in spans):
        raise CheckpointError(
            "is a package of torch.package, a program: load it in PyTorch with torch.package.PackageImporter and save "
            "its generator's state dict"
        )
    raise CheckpointError(f"is a zip, but none that torch.save wrote; it holds {_list_names(list(spans))}: unpack it")


def _list_names(names: list[str]) -> str:
    shown = ", ".join(describe(name) for name in names[:5])
    return f"{shown or 'nothing'} and {len(names) - 5} more" if len(names) > 5 else shown or "nothing"


def _read_entry(source: ByteSource, spans: dict[str, Span], name: str) -> bytes:
    span = spans[name]
    if span.size > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"has a {describe(name)} of {span.size} bytes: at most {MAX_PICKLE_BYTES}, tensors not counted"
        )
    if span.inflated is None:
        return source.read(span.start, span.length, f"the zip entry {describe(name)}")
    data = np.empty(span.size, np.uint8)
    inflate_into(source, span, data, f"the zip entry {describe(name)}")
    return data.tobytes()
