"""Arrays in the imitated card's memory, as CuPy has them: they say where they lie by DLPack, or as Numba defines it."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from weakref import finalize

import numpy as np

import imitated_card

_CODES = {"float16": (2, 16), "float32": (2, 32), "float64": (2, 64), "bfloat16": (4, 16), "int32": (0, 32)}


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


class CardArray:
    """A NumPy array's bytes on a card, seen as it was: transposed, cut, or contiguous."""

    __module__ = "cupy"
    current = 0
    """The card whose arrays are given to others, as PyTorch has it; CuPy would look at the streams of another one."""

    def __init__(self, array: np.ndarray, dtype: str = "", device: int = 0) -> None:
        self.shape, self.strides = array.shape, array.strides
        self.dtype = dtype or array.dtype.name
        self.number = device
        base = array if array.base is None else array.base
        address = ctypes.c_ulonglong()
        with _context():
            assert _library().cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(base.nbytes)) == 0
        self._at = address.value
        self.data = self._at + array.ctypes.data - base.ctypes.data
        self.streams: list[object] = []
        ctypes.memmove(self._at, base.ctypes.data, base.nbytes)
        self.byte_offset = 0
        finalize(self, _library().cuMemFree_v2, ctypes.c_ulonglong(self._at))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    @contextmanager
    def device(self):
        before, CardArray.current = CardArray.current, self.number
        yield
        CardArray.current = before

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number

    def __dlpack__(self, stream: object = None) -> object:
        if self.number != CardArray.current:
            raise BufferError("Can't export tensors on a different CUDA device index")
        self.streams.append(stream)
        code, bits = _CODES[self.dtype]
        sizes = (ctypes.c_int64 * self.ndim)(*self.shape)
        steps = (ctypes.c_int64 * self.ndim)(*(stride * 8 // bits for stride in self.strides))
        layout = (self.ndim, code, bits, 1, sizes, steps, self.byte_offset)
        self._told = _Tensor(self.data, 2, self.number, *layout, None, None)
        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return capsule(ctypes.addressof(self._told), b"dltensor", None)

    def numpy(self) -> np.ndarray:
        size = int(np.prod(self.shape)) * 4
        return np.frombuffer(ctypes.string_at(self.data, size), np.float32).reshape(self.shape)


class InterfaceArray:
    """The same without DLPack."""

    def __init__(self, array: CardArray, stream: int | None) -> None:
        self.array, self.ndim, self.shape = array, array.ndim, array.shape
        typestr = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "int32": "<i4"}[array.dtype]
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": typestr,
            "data": (array.data, True),
            "strides": array.strides,
            "version": 3,
            "stream": stream,
        }


InterfaceArray.__module__ = "cupy"


class CuPy:
    """What is asked of the library itself."""

    float32 = np.float32

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: object) -> CardArray:
        return CardArray(np.zeros(shape, dtype), device=CardArray.current)


class TorchArray(CardArray):
    """The same of PyTorch, whose devices are names."""

    __module__ = "torch"

    @property
    def device(self):
        return self


class Torch:
    """What is asked of it."""

    float32 = np.float32
    cuda = SimpleNamespace(device=CardArray.device.fget)

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: object, device: TorchArray) -> TorchArray:
        return TorchArray(np.zeros(shape, dtype), device=device.number)


@contextmanager
def _context():
    _library().cuCtxPushCurrent_v2(None)
    try:
        yield
    finally:
        _library().cuCtxPopCurrent_v2(None)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(imitated_card.library()))
