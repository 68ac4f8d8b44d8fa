"""What PyTorch keeps for the whole process or thread, set for the length of a call and put back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def worker_threads(count: int) -> Iterator[None]:
    """Run with so many threads; PyTorch's OpenMP builds keep the number for each calling thread."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _ExactFloat32:
    """Keeps convolutions from computing float32 in TensorFloat-32 or bfloat16, while any caller is inside.

    The switches are the process's, not the thread's: the first caller in sets them, the last one out puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = [(owner, name, getattr(owner, name)) for owner, name, _ in _switches()]
                for owner, name, exact in _switches():
                    setattr(owner, name, exact)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for owner, name, value in self._before:
                    setattr(owner, name, value)


def _switches() -> list[tuple[Any, str, Any]]:
    # PyTorch 2.9 gave each kind of operator a precision of its own, which a more general one cannot override.
    owners = [getattr(backend, "conv", None) for backend in (torch.backends.cudnn, torch.backends.mkldnn)]
    if any(hasattr(owner, "fp32_precision") for owner in owners):
        return [(owner, "fp32_precision", "ieee") for owner in owners if hasattr(owner, "fp32_precision")]
    return [(torch.backends.cudnn, "allow_tf32", False)]


exact_float32 = _ExactFloat32()
"""The one of this process: `with exact_float32: ...`"""
