"""One model compiled by OpenVINO for any shape, and for the few shapes that come again and again."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hifigan_rt.formats.openvino_package import openvino_core

if TYPE_CHECKING:
    import openvino

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Shapes of all inputs, by name."""

FIXED_AFTER = 3
"""Runs of a shape before it is compiled for itself: that takes as long as some ten runs gain."""

MAX_FIXED = 2
"""Each holds its own copy of the packed weights: some 170 MB for V1."""

_MAX_COUNTED = 64
_OUSTS_AT = 2
"""A shape takes the place of a fixed one when it came so many times as often, so that several that are equally
frequent do not take turns."""

_POLL_MILLISECONDS = 100
"""How long a run may go on after Ctrl-C before the interpreter notices it; the end of a run is noticed at once."""


class CompiledShapes:
    """Runs any shape; safe to call from several threads.

    Any shape can run, but one that was not seen just before costs 0.1 s, for kernels made anew. A fixed shape costs
    0.2 to 0.5 s once, and runs up to 14 % faster from then on. Both give the same bits of a checkpoint's 2d
    graph. One-dimensional convolutions are rounded differently (129 dB), and so are quantised ones (25 dB, where each
    was 21 dB from the network before quantisation).
    """

    def __init__(self, model: openvino.Model, device: str, properties: Mapping[str, Any]) -> None:
        """Compile.

        Raises:
            RuntimeError: OpenVINO cannot.
        """
        self._core = openvino_core()
        self._model, self._device, self._properties = model, device, dict(properties)
        self._any: _Requests | None = self._compile(model)
        self._fixed: dict[Shapes, _Requests] = {}
        self._may_fix = bool(model.is_dynamic())
        self._runs: OrderedDict[Shapes, int] = OrderedDict()
        self._lock = threading.Lock()
        self.concurrency = int(self._any.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        """Requests that OpenVINO wants to run at once: 1 with the latency hint."""
        # Each compiled model has its own threads: two that run at once would oversubscribe the cores.
        self._slots = threading.BoundedSemaphore(self.concurrency)

    @property
    def compiled(self) -> openvino.CompiledModel:
        """The form for any shape, to be asked what it is."""
        with self._lock:
            return self._for_any().compiled

    def run(self, arrays: Mapping[str, np.ndarray], stopped: threading.Event) -> np.ndarray:
        """Infer once.

        Args:
            arrays: the model's inputs, by name.
            stopped: set by another thread to give up.

        Returns:
            A copy of the first output.

        Raises:
            RuntimeError, ValueError: OpenVINO failed, or `stopped` was set.
        """
        with self._slots:
            requests = self._choose(tuple((name, array.shape) for name, array in arrays.items()))
            request = requests.take()
            try:
                output = _infer(request, arrays, stopped)
            except BaseException:
                self._discard(requests)
                raise
            requests.give(request)
            return output

    def _discard(self, requests: _Requests) -> None:
        """Forget a form that did not finish: its layers hold shapes of two inputs, which the next one would meet."""
        with self._lock:
            if requests is self._any:
                self._any = None
            for shape in [shape for shape, fixed in self._fixed.items() if fixed is requests]:
                del self._fixed[shape]

    def _compile(self, model: openvino.Model) -> _Requests:
        return _Requests(self._core.compile_model(model, self._device, self._properties))

    def _for_any(self) -> _Requests:
        if self._any is None:
            self._any = self._compile(self._model)
        return self._any

    def _choose(self, shape: Shapes) -> _Requests:
        with self._lock:
            runs = self._runs.pop(shape, 0) + 1
            self._runs[shape] = runs
            while len(self._runs) > _MAX_COUNTED:
                oldest, _ = self._runs.popitem(last=False)
                self._fixed.pop(oldest, None)
            if shape not in self._fixed and self._may_fix and runs >= FIXED_AFTER:
                self._fix(shape, runs)
            return self._fixed[shape] if shape in self._fixed else self._for_any()

    def _fix(self, shape: Shapes, runs: int) -> None:
        if len(self._fixed) == MAX_FIXED:
            rarest = min(self._fixed, key=lambda known: self._runs[known])
            if runs < _OUSTS_AT * self._runs[rarest]:
                return
            del self._fixed[rarest]
        fixed = self._model.clone()
        try:
            fixed.reshape(_by_port({name: list(sizes) for name, sizes in shape}))
            self._fixed[shape] = self._compile(fixed)
        except RuntimeError:  # a foreign graph that only runs as it is
            self._may_fix = False


class _Requests:
    """The infer requests of one compiled model that are not in use."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self.compiled = compiled
        self._free: list[openvino.InferRequest] = []

    def take(self) -> openvino.InferRequest:
        """A request that keeps nothing of the run before: a stateful graph would go on where that ended."""
        try:
            request = self._free.pop()
        except IndexError:
            return self.compiled.create_infer_request()
        request.reset_state()
        return request

    def give(self, request: openvino.InferRequest) -> None:
        self._free.append(request)


def _by_port(values: Mapping[str, Any]) -> dict[int | str, Any]:
    """Values of inputs as OpenVINO takes them: the only input is found by its place, since it may have no name."""
    return {0 if len(values) == 1 else name: value for name, value in values.items()}


def _infer(request: openvino.InferRequest, arrays: Mapping[str, np.ndarray], stopped: threading.Event) -> np.ndarray:
    try:
        request.start_async(_by_port(arrays))
        # `infer` and `wait` would not return to the interpreter, and so to Ctrl-C, before the end.
        while not request.wait_for(_POLL_MILLISECONDS):
            if stopped.is_set():
                request.cancel()
    except BaseException:
        request.cancel()
        with contextlib.suppress(RuntimeError):  # "was cancelled"
            request.wait()
        raise
    # A copy: the next inference writes to the request's own buffer.
    return np.array(request.get_output_tensor(0).data)
