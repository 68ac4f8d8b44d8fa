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


@contextmanager
def own_modes(device_type: str) -> Iterator[None]:
    """Compute as an engine says it does, whatever the calling thread has switched on: without gradients; without
    autocast, which would round to another precision; and without inference mode, whose tensors can never be written to
    outside of it, nor frozen into a compiled program."""
    with torch.inference_mode(mode=False), torch.no_grad():
        if not torch.amp.is_autocast_available(device_type) or not torch.is_autocast_enabled(device_type):
            yield
            return
        with torch.autocast(device_type, enabled=False):
            yield


class _Convolutions:
    """How convolutions compute while any caller is inside: in float32 proper or in TensorFloat-32, and by the algorithm
    that cuDNN expects to be the fastest, not by one that it tries out for a second at each new length.

    The switches are the process's, not the thread's: the first caller in sets them, the last one out puts them back. A
    caller who wants the other precision waits until then.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._inside = 0
        self._tf32 = False
        self._before: list[tuple[Any, str, Any]] = []

    @contextmanager
    def __call__(self, *, tf32: bool = False) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(lambda: self._inside == 0 or self._tf32 == tf32)
            self._inside += 1
            if self._inside == 1:
                self._tf32 = tf32
                wanted = _switches(tf32=tf32)
                self._before = [(owner, name, getattr(owner, name)) for owner, name, _ in wanted]
                for owner, name, value in wanted:
                    setattr(owner, name, value)
        try:
            yield
        finally:
            with self._turn:
                self._inside -= 1
                if self._inside == 0:
                    for owner, name, value in self._before:
                        setattr(owner, name, value)
                    self._turn.notify_all()


def _switches(*, tf32: bool) -> list[tuple[Any, str, Any]]:
    cudnn, mkldnn = (getattr(backend, "conv", None) for backend in (torch.backends.cudnn, torch.backends.mkldnn))
    switches: list[tuple[Any, str, Any]] = [(torch.backends.cudnn, "benchmark", False)]
    # PyTorch 2.9 gave each kind of operator a precision of its own, which a more general one cannot override.
    if hasattr(cudnn, "fp32_precision"):
        switches.append((cudnn, "fp32_precision", "tf32" if tf32 else "ieee"))
    else:
        switches.append((torch.backends.cudnn, "allow_tf32", tf32))
    if hasattr(mkldnn, "fp32_precision"):
        switches.append((mkldnn, "fp32_precision", "ieee"))
    return switches


convolutions = _Convolutions()
"""The one of this process: `with convolutions(tf32=False): ...`"""
