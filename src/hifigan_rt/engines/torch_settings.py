"""What PyTorch keeps for the whole process or thread, set for the length of a call and put back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

_forked = False


def is_forked() -> bool:
    """Whether this process was forked from one that had loaded the engine."""
    return _forked


@contextmanager
def worker_threads(count: int) -> Iterator[None]:
    """Run with so many threads; PyTorch's OpenMP builds keep the number for each calling thread.

    A forked process computes in one: OpenMP (GNU's) would wait for ever for threads that are the parent's.
    """
    if _forked:
        count = 1
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
    """How convolutions compute, on cards by cuDNN or elsewhere, while any caller is inside: in float32 proper or in
    TensorFloat-32, and by the algorithm that cuDNN expects to be the fastest, not by one that it tries out for a second
    at each new length.

    The switches are the process's, not the thread's: the first caller in sets them, the last one out puts them back. A
    caller who wants the other precision waits until then.
    """

    def __init__(self, *, on_cards: bool) -> None:
        self._on_cards = on_cards
        self._begin()

    def _begin(self) -> None:
        self._turn = threading.Condition()
        self._inside = 0
        self._tf32 = False
        self._switches: _Switches

    @contextmanager
    def __call__(self, *, tf32: bool = False) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(lambda: self._inside == 0 or self._tf32 == tf32)
            if self._inside == 0:
                self._tf32 = tf32
                self._switches = _Switches(on_cards=self._on_cards, tf32=tf32)
            self._inside += 1
        try:
            yield
        finally:
            with self._turn:
                self._inside -= 1
                if self._inside == 0:
                    self._switches.put_back()
                    self._turn.notify_all()

    def begin_anew(self) -> None:
        """Forget callers, in a process that has none of their threads."""
        if self._inside:
            self._switches.put_back()
        self._begin()


class _Switches:
    """The process's switches, set until they are put back.

    PyTorch 2.9 gave convolutions a precision of their own, beside the one for all operators of a backend, which they
    follow where they have none. What cuDNN's have at first, TensorFloat-32 until the other one is set, cannot be given
    back to them (PyTorch 2.13): so theirs is set only if they do not follow.
    """

    def __init__(self, *, on_cards: bool, tf32: bool) -> None:
        self._before: list[tuple[Any, str, Any]] = []
        try:
            cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
            has_own = hasattr(getattr(cudnn, "conv", None), "fp32_precision")
            if not on_cards:
                if has_own:
                    self._set_precision(mkldnn.conv, "ieee", mkldnn)
                return
            self._set(cudnn, "benchmark", value=False)
            if not has_own:
                self._set(cudnn, "allow_tf32", value=tf32)
                return
            wanted = "tf32" if tf32 else "ieee"
            # Not TensorFloat-32 for all operators: matrix products of other threads would follow as well.
            if not tf32 and cudnn.conv.fp32_precision != wanted:
                self._set_precision(cudnn, wanted, torch.backends)
            self._set_precision(cudnn.conv, wanted, cudnn)
        except BaseException:
            self.put_back()
            raise

    def put_back(self) -> None:
        """Set them to what they were."""
        while self._before:
            setattr(*self._before.pop())

    def _set_precision(self, owner: Any, wanted: str, followed: Any) -> None:
        own = owner.fp32_precision
        if own != wanted:
            self._set(owner, "fp32_precision", value=wanted)
            if own == followed.fp32_precision:
                self._before[-1] = (owner, "fp32_precision", "none")

    def _set(self, owner: Any, name: str, *, value: object) -> None:
        before = getattr(owner, name)
        setattr(owner, name, value)
        self._before.append((owner, name, before))


_by_cudnn, _by_others = _Convolutions(on_cards=True), _Convolutions(on_cards=False)


def convolutions(device_type: str, *, tf32: bool = False) -> AbstractContextManager[None]:
    """Compute as `_Convolutions` says. What other devices of the calling program do is left as it is: while cuDNN's
    precisions differ, PyTorch refuses even to tell them."""
    return (_by_cudnn if device_type == "cuda" else _by_others)(tf32=tf32)


def _after_fork() -> None:
    global _forked
    _forked = True
    for inside in (_by_cudnn, _by_others):
        inside.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
