"""Tensors on the host and on the simulated device."""

from __future__ import annotations

import ctypes
import enum
import time
from typing import ClassVar

import numpy as np


class dtype(enum.IntEnum):  # noqa: N801 - the vendor's name
    float32, float16, int8, int32, uint8 = 0, 1, 2, 3, 4
    int16, uint16, uint32, int64, uint64, double, bool = 6, 7, 8, 9, 10, 11, 12


NUMPY_NAMES = {member: "float64" if member is dtype.double else member.name for member in dtype}
BY_NUMPY_NAME = {name: member for member, name in NUMPY_NAMES.items()}


class MemorySummary:
    """Times of the copies between host and device, in ms; one record for the process."""

    _h2d: ClassVar[list[float]] = []
    _d2h: ClassVar[list[float]] = []

    @property
    def H2D_time_list(self) -> list[float]:  # noqa: N802 - the vendor's name
        return list(self._h2d)

    @property
    def D2H_time_list(self) -> list[float]:  # noqa: N802
        return list(self._d2h)

    def reset(self) -> None:
        self._h2d.clear()
        self._d2h.clear()

    @classmethod
    def _copied(cls, data: np.ndarray, *, to_device: bool) -> np.ndarray:
        started = time.perf_counter()
        result = data.copy()
        (cls._h2d if to_device else cls._d2h).append((time.perf_counter() - started) * 1000)
        return result


class BaseTensor:
    """A raw host address and its size; nothing is owned or checked."""

    def __init__(self, buf: int, size: int) -> None:
        self.buf, self.size = buf, size

    def _size(self) -> int:
        return self.size

    def _read(self) -> np.ndarray:
        return np.frombuffer(ctypes.string_at(self.buf, self.size), np.uint8)


class Tensor:
    """A copy of an array; NumPy reads it only when it is on the host."""

    def __init__(self, array: np.ndarray, *, _device: int = -1) -> None:
        view = memoryview(array)  # needs the buffer protocol, as the vendor's does
        # Its memory is taken as if it were C-contiguous: the strides are not looked at.
        data = ctypes.string_at(array.ctypes.data, view.nbytes) if view.nbytes else b""
        self._data = np.frombuffer(data, array.dtype).reshape(array.shape)
        self._device = _device

    def to_device(self, device_id: int) -> None:
        self._data = MemorySummary._copied(self._data, to_device=True)
        self._device = device_id

    def to_host(self) -> None:
        if self._device >= 0:
            self._data = MemorySummary._copied(self._data, to_device=False)
        self._device = -1

    @property
    def device(self) -> int:
        return self._device

    @property
    def dtype(self) -> dtype:
        return BY_NUMPY_NAME[str(self._data.dtype)]

    @property
    def shape(self) -> list[int]:
        return list(self._data.shape)

    def _size(self) -> int:
        return self._data.nbytes

    def _read(self) -> np.ndarray:
        return np.frombuffer(self._data.tobytes(), np.uint8)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        if self._device >= 0:
            raise RuntimeError("tensor is in npu. can't convert to numpy array")
        return np.array(self._data, dtype=dtype, copy=True)

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        return f"<Tensor>\nshape:\t({shape})\ndtype:\t{self.dtype.name}\ndevice:\t{self._device}"
