"""The allow-list: every name that a checkpoint may use, and what is done instead of what it names.

None of PyTorch's functions are called, since PyTorch is not here: a tensor becomes a `LazyTensor`, an OrderedDict a
dict, a device its text. The forms are those of torch/_utils.py and torch/serialization.py, versions 0.4 to 2.13.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.limits import MAX_DIMENSIONS, MAX_TENSORS
from hifigan_rt.formats.checkpoint.numpy_objects import ArrayClass, NumpyObjects
from hifigan_rt.formats.checkpoint.opaque import OpaqueClass, OpaqueObject, find_opaque
from hifigan_rt.formats.checkpoint.pickle_input import UnreadBytes
from hifigan_rt.formats.checkpoint.pickle_machine import describe, unsafe
from hifigan_rt.formats.checkpoint.tensors import DTYPES, LazyTensor, Storage, named_tensor

_MAX_COUNT = 1 << 62

_QUANTISED = "a quantised tensor: save tensor.dequantize() in its place"
_OTHER_TENSORS = {
    **{f"torch.{kind}Storage": _QUANTISED for kind in ("QInt8", "QUInt8", "QInt32")},
    "torch._utils._rebuild_qtensor": _QUANTISED,
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor: save tensor.to_dense() in its place",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class of its own, such as a DTensor of FSDP: save "
    "tensor.full_tensor() in its place, of one of torchao tensor.dequantize()",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor on the device meta, which has no values: load the "
    "weights before the model is saved",
}
"""Names that make tensors of kinds that are not read, with what they are and the way out."""


@dataclass(frozen=True, slots=True)
class Dtype:
    """A dtype such as torch.float32."""

    NOUN: ClassVar[str] = "a torch.dtype"

    name: str


@dataclass(frozen=True, slots=True)
class StorageType:
    """A class of storages such as torch.FloatStorage."""

    NOUN: ClassVar[str] = "a storage type"

    dtype: str


@dataclass(frozen=True, slots=True)
class Rebuilder:
    """A name on the allow-list that may be called."""

    NOUN: ClassVar[str] = "a function"

    name: str
    smallest: int
    largest: int
    """Number of arguments."""
    run: Callable[..., object]


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:
        raise CheckpointError(f"is damaged: {what} of a tensor is {describe(value)}")
    return value


def _counts(values: object, what: str) -> tuple[int, ...]:
    if type(values) not in (tuple, list):
        raise CheckpointError(f"is damaged: {what} of a tensor is {describe(values)}")
    items: tuple[object, ...] = tuple(values)  # type: ignore[arg-type] # a tuple or a list, by the check above
    if len(items) > MAX_DIMENSIONS:
        raise CheckpointError(f"is damaged: a tensor has {len(items)} dimensions: at most {MAX_DIMENSIONS}")
    return tuple(_count(item, what) for item in items)


def make_tensor(storage: object, offset: object, shape: object, strides: object, dtype: str | None) -> LazyTensor:
    """Describe a view into a storage, checked to lie in it.

    Raises:
        CheckpointError: an argument has the wrong type, or the view reaches out of its storage.
    """
    if type(storage) is not Storage:
        raise CheckpointError(f"is damaged: a tensor looks into {describe(storage)} instead of a storage")
    first, lengths, steps = _count(offset, "the offset"), _counts(shape, "the shape"), _counts(strides, "the stride")
    if len(lengths) != len(steps):
        raise CheckpointError(f"is damaged: a tensor has shape {list(lengths)} and stride {list(steps)}")
    tensor = LazyTensor(storage, dtype or storage.dtype, first, lengths, steps)
    size = tensor.size
    if size:
        itemsize = DTYPES[tensor.dtype].itemsize
        last = first + sum((length - 1) * step for length, step in zip(lengths, steps, strict=True))
        available = storage.usable * DTYPES[storage.dtype].itemsize
        if (last + 1) * itemsize > available or size > _MAX_COUNT:
            raise CheckpointError(
                f"is damaged: a tensor of shape {list(lengths)}, stride {list(steps)} and offset {first} reaches out "
                f"of its storage {describe(storage.key)}, which has {available // itemsize} elements"
            )
    return tensor


def _rebuild_tensor(storage: object, offset: object, shape: object, strides: object) -> LazyTensor:
    return make_tensor(storage, offset, shape, strides, None)


def _rebuild_tensor_v2(
    storage: object, offset: object, shape: object, strides: object, _grad: object, _hooks: object,
    metadata: object = None,
) -> LazyTensor:  # fmt: skip
    _check_metadata(metadata)
    return make_tensor(storage, offset, shape, strides, None)


def _rebuild_tensor_v3(
    storage: object, offset: object, shape: object, strides: object, _grad: object, _hooks: object, dtype: object,
    metadata: object = None,
) -> LazyTensor:  # fmt: skip
    _check_metadata(metadata)
    if type(dtype) is not Dtype or dtype.name not in DTYPES:
        name = f"torch.{dtype.name}" if type(dtype) is Dtype else describe(dtype)
        raise CheckpointError(f"holds a tensor of {name}, which NumPy has no type for: convert it to torch.float32")
    return make_tensor(storage, offset, shape, strides, dtype.name)


def _check_metadata(metadata: object) -> None:
    # The conj and neg bits of a lazily conjugated tensor: its bytes are not its values.
    if metadata:
        raise CheckpointError("holds a tensor with a conj or neg bit: save tensor.resolve_conj().resolve_neg()")


def _rebuild_parameter(tensor: object, _grad: object, _hooks: object, _state: object = None) -> LazyTensor:
    if type(tensor) is not LazyTensor:
        raise CheckpointError(f"is damaged: a parameter is made of {describe(tensor)}")
    return tensor


def _rebuild_device_tensor(data: object, _dtype: object, _device: object, _grad: object) -> LazyTensor:
    # NPUs, XLA and the like have their tensors copied for the file, bfloat16 as the float32 that holds it exactly.
    if type(data) is not LazyTensor:
        raise CheckpointError(f"is damaged: a device's tensor is made of {describe(data)}")
    return data


def _rebuild_from_type(function: object, _kind: object, arguments: object, _state: object) -> object:
    """Make a tensor to which attributes were added, without them."""
    if function not in _TENSOR_REBUILDERS or type(arguments) is not tuple:
        raise unsafe(f"a call of {describe(function)}")
    if not function.smallest <= len(arguments) <= function.largest:
        raise CheckpointError(f"is damaged: {function.name} is called with {len(arguments)} arguments")
    return function.run(*arguments)


def _rebuild_dict(first: object = None) -> dict[Any, Any]:
    # A Counter comes with its counts, a defaultdict with what would make its missing entries.
    return dict(first) if type(first) is dict else {}


def _rebuild_bytes(text: object = b"", encoding: object = "latin1") -> bytes | UnreadBytes:
    """Make the bytes that protocol 2 has no opcode for, and writes as a text of as many characters."""
    if type(encoding) is not str or encoding.lower().replace("-", "") != "latin1":
        raise CheckpointError(f"is damaged: bytes are made of {describe(text)} by {describe(encoding)}")
    if isinstance(text, UnreadBytes):
        return UnreadBytes(text.start, text.length, "latin1" if text.kind == "text" else text.kind)
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        with contextlib.suppress(UnicodeEncodeError):
            return text.encode("latin-1")
    raise CheckpointError(f"is damaged: bytes are made of {describe(text)}")


def _rebuild_complex(real: object, imag: object = 0.0) -> complex:
    if not isinstance(real, (int, float)) or not isinstance(imag, (int, float)):
        raise CheckpointError(f"is damaged: a complex number is made of {describe(real)} and {describe(imag)}")
    return complex(real, imag)


def _rebuild_size(lengths: object = ()) -> tuple[int, ...]:
    return _counts(lengths, "torch.Size")


def _rebuild_list(items: object) -> list[object]:
    """Make the typed list of a TorchScript module, which is of no use here."""
    if type(items) not in (list, tuple):
        raise CheckpointError(f"is damaged: a list is made of {describe(items)}")
    return list(items)  # type: ignore[call-overload,no-any-return] # a tuple or a list, by the check above


def _rebuild_tagged(value: object, _kind: object) -> object:
    return value


def _rebuild_device(kind: object, index: object = None) -> str:
    if type(kind) is not str or (index is not None and type(index) is not int):
        raise CheckpointError(f"is damaged: a torch.device is made of {describe(kind)} and {describe(index)}")
    return kind if index is None else f"{kind}:{index}"


_STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}

_OTHER_DTYPES = (
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "complex32",
    "qint8", "quint8", "qint32",
)  # fmt: skip
"""Resolved, so that the error names the tensor's type and not a refused name."""

_BUILTINS = ("builtins", "__builtin__")

_TENSOR_REBUILDERS = (
    Rebuilder("torch._utils._rebuild_tensor", 4, 4, _rebuild_tensor),
    Rebuilder("torch._utils._rebuild_tensor_v2", 6, 7, _rebuild_tensor_v2),
    Rebuilder("torch._utils._rebuild_tensor_v3", 7, 8, _rebuild_tensor_v3),
    Rebuilder("torch._utils._rebuild_parameter", 3, 3, _rebuild_parameter),
    Rebuilder("torch._utils._rebuild_parameter_with_state", 4, 4, _rebuild_parameter),
    Rebuilder("torch._utils._rebuild_xla_tensor", 4, 4, _rebuild_device_tensor),
    Rebuilder("torch._utils._rebuild_device_tensor_from_numpy", 4, 4, _rebuild_device_tensor),
    Rebuilder("torch._utils._rebuild_device_tensor_from_cpu_tensor", 4, 4, _rebuild_device_tensor),
)

ALLOWED: Mapping[tuple[str, str], object] = {
    ("collections", "OrderedDict"): Rebuilder("collections.OrderedDict", 0, 0, _rebuild_dict),
    ("collections", "defaultdict"): Rebuilder("collections.defaultdict", 0, 1, _rebuild_dict),
    ("collections", "Counter"): Rebuilder("collections.Counter", 0, 1, _rebuild_dict),
    ("_codecs", "encode"): Rebuilder("_codecs.encode", 2, 2, _rebuild_bytes),
    **{(module, "bytes"): Rebuilder("bytes", 0, 1, _rebuild_bytes) for module in _BUILTINS},
    **{(module, "bytearray"): Rebuilder("bytearray", 0, 2, _rebuild_bytes) for module in _BUILTINS},
    **{(module, "complex"): Rebuilder("complex", 1, 2, _rebuild_complex) for module in _BUILTINS},
    **{("torch._utils", rebuilder.name.rpartition(".")[2]): rebuilder for rebuilder in _TENSOR_REBUILDERS},
    ("torch._tensor", "_rebuild_from_type_v2"): Rebuilder(
        "torch._tensor._rebuild_from_type_v2", 4, 4, _rebuild_from_type
    ),
    **{
        ("torch.jit._pickle", f"build_{kind}"): Rebuilder(f"torch.jit._pickle.build_{kind}", 1, 1, _rebuild_list)
        for kind in ("intlist", "doublelist", "boollist", "tensorlist")
    },
    ("torch.jit._pickle", "restore_type_tag"): Rebuilder("torch.jit._pickle.restore_type_tag", 2, 2, _rebuild_tagged),
    ("torch", "Tensor"): OpaqueClass("torch.Tensor"),
    ("torch", "Size"): Rebuilder("torch.Size", 0, 1, _rebuild_size),
    ("torch", "device"): Rebuilder("torch.device", 1, 2, _rebuild_device),
    ("torch.storage", "UntypedStorage"): StorageType("uint8"),
    **{("torch", name): StorageType(dtype) for name, dtype in _STORAGE_TYPES.items()},
    **{("torch", name): Dtype(name) for name in (*DTYPES, *_OTHER_DTYPES)},
}
"""Everything that resolves, by module and name exactly as the pickle spells them."""


class TorchObjects:
    """Resolves a checkpoint's names, calls and persistent ids; keeps the storages that it mentions."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        """Root storages by key."""
        self.numpy = NumpyObjects()
        self.left_out: dict[str, None] = {}
        """Classes of the objects that were left out, in the order of the file."""
        self._tensors = 0
        self._numpy_names = _names_of_numpy(self.numpy)

    def find_global(self, module: str, name: str) -> object:
        """Resolve a name.

        Raises:
            UnsafeCheckpoint: it is not on the allow-list.
            CheckpointError: it makes tensors of a kind that is not read.
        """
        key, full = (module, name), f"{module}.{name}"
        if full in _OTHER_TENSORS:
            raise CheckpointError(f"holds {_OTHER_TENSORS[full]}")
        found = ALLOWED.get(key) or self._numpy_names.get(key) or find_opaque(module, name)
        if found is None:
            raise unsafe(full if full.isprintable() and len(full) <= 200 else describe(full))
        return found

    def call(self, function: object, arguments: object) -> object:
        """Run a rebuilder.

        Raises:
            CheckpointError: not a rebuilder, the wrong arguments, or too many tensors.
        """
        if type(function) is OpaqueClass:
            if function.is_function:
                raise unsafe(function.name)
            pair = _pair_of_paddle(function, arguments)
            return self.make(function) if pair is None else pair
        if type(function) is not Rebuilder:
            raise unsafe(f"a call of {describe(function)}")
        if type(arguments) is not tuple or not function.smallest <= len(arguments) <= function.largest:
            raise CheckpointError(f"is damaged: {function.name} is called with {_describe_arguments(arguments)}")
        value = function.run(*arguments)
        if type(value) is LazyTensor:
            self._tensors += 1
            if self._tensors > MAX_TENSORS:
                raise CheckpointError(f"holds more than {MAX_TENSORS} tensors: a HiFi-GAN checkpoint has about 234")
        return value

    def make(self, kind: OpaqueClass) -> OpaqueObject:
        """Stand in for an object that is not made, and remember its class."""
        self.left_out[kind.name] = None
        return OpaqueObject(kind.name)

    def persistent_load(self, key: object) -> Storage:
        """Resolve ('storage', type, key, location, number of elements), and a sixth entry in the older format.

        Raises:
            CheckpointError: it is something else, or contradicts an earlier one of the same key.
        """
        if type(key) is not tuple or len(key) not in (5, 6) or key[0] != "storage":
            kind = describe(key[0]) if type(key) is tuple and key else describe(key)
            raise CheckpointError(f"refers to {kind} instead of a storage: save the state dict, not the whole model")
        _, kind, name, location, size = key[:5]
        if type(kind) is not StorageType or type(name) is not str or type(location) is not str:
            raise CheckpointError("is damaged: its pickle describes a storage by values of the wrong type")
        root = Storage(name, kind.dtype, _count(size, "the storage size"))
        known = self.storages.setdefault(name, root)
        if known != root:
            raise CheckpointError(
                f"is damaged: storage {describe(name)} is {known.size} x {known.dtype} in one place and "
                f"{root.size} x {root.dtype} in another"
            )
        view = key[5] if len(key) == 6 else None
        return root if view is None else _view_of(root, view)


def _pair_of_paddle(function: OpaqueClass, arguments: object) -> tuple[object, ...] | None:
    """Run `tuple(((name, array),))`, which PaddlePaddle writes for each tensor; None for any other call."""
    if function.name != "builtins.tuple" or type(arguments) is not tuple or len(arguments) != 1:
        return None
    pair: tuple[object, ...] = arguments[0]
    return None if named_tensor(pair) is None else pair


def _view_of(root: Storage, view: object) -> Storage:
    if type(view) is not tuple or len(view) != 3:
        raise CheckpointError(f"is damaged: a view of storage {describe(root.key)} is {describe(view)}")
    first, size = _count(view[1], "the storage offset"), _count(view[2], "the storage size")
    if first + size > root.size:
        raise CheckpointError(
            f"is damaged: a view of storage {describe(root.key)} takes the elements {first} to {first + size} "
            f"and it has {root.size}"
        )
    return Storage(root.key, root.dtype, root.size, first, size)


def _describe_arguments(arguments: object) -> str:
    return f"{len(arguments)} arguments" if type(arguments) is tuple else describe(arguments)


def _names_of_numpy(numpy: NumpyObjects) -> dict[tuple[str, str], object]:
    """The names that any version of NumPy writes; `numpy.core` was renamed in NumPy 2."""
    names: dict[tuple[str, str], object] = {
        ("numpy", "dtype"): Rebuilder("numpy.dtype", 1, 3, numpy.dtype),
        **{("numpy", name): ArrayClass() for name in ("ndarray", "memmap")},
        ("numpy.core.memmap", "memmap"): ArrayClass(),
    }
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = Rebuilder(
            f"{core}.multiarray._reconstruct", 3, 3, numpy.reconstruct
        )
        names[f"{core}.multiarray", "scalar"] = Rebuilder(f"{core}.multiarray.scalar", 1, 2, numpy.scalar)
        names[f"{core}.numeric", "_frombuffer"] = Rebuilder(f"{core}.numeric._frombuffer", 4, 5, numpy.frombuffer)
    return names
