"""Mels that are in a card's memory already, and memory of their library for the audio."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import hifigan_rt._native as _native
from hifigan_rt.errors import EngineError, MelError
from hifigan_rt.graph import Graph
from hifigan_rt.mel.arrays import stream_of
from hifigan_rt.mel.shapes import axes_to_leave_out, check_shape

_CUDA = 2
"""DLPack's number for the memory of NVIDIA's cards."""
_KINDS = {(2, 32): 0, (2, 16): 1, (4, 16): 2, (2, 64): 3}
"""`Number` of native/cuda/launch.h, by DLPack's codes: floats, and bfloat16."""
_TYPES = {"<f4": (2, 32), "<f2": (2, 16), "<f8": (2, 64)}
_BYTES = (4, 2, 2, 8)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class CardMel:
    """One mel on a card, with the place of its audio; steps are in numbers."""

    shape: tuple[int, int]
    """Bands and frames."""
    address: int
    band_step: int
    frame_step: int
    kind: int
    audio: int = 0
    """Where float32 samples go."""

    def part(self, start: int, stop: int, samples: int) -> CardMel:
        """Some of the frames, whose audio begins at a sample."""
        return replace(
            self,
            shape=(self.shape[0], stop - start),
            address=self.address + start * self.frame_step * _BYTES[self.kind],
            audio=self.audio + samples * _FLOAT_BYTES,
        )

    def as_source(self) -> tuple[int, int, int, int]:
        """What the C++ core takes."""
        return self.address, self.band_step, self.frame_step, self.kind


@dataclass(frozen=True)
class _Described:
    address: int
    kind: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def without(self, axes: Sequence[int]) -> _Described:
        left = [axis for axis in range(len(self.shape)) if axis not in axes]
        return replace(
            self, shape=tuple(self.shape[axis] for axis in left), steps=tuple(self.steps[axis] for axis in left)
        )


def card_mels(
    array: object, network: _native.CudaNetwork, device: int, graph: Graph, *, single: bool
) -> tuple[list[CardMel], Any]:
    """Take a mel `[M, T]` or a batch `[B, M, T]`, and make room for its audio.

    Args:
        array: of PyTorch or CuPy; float16, bfloat16, float32 or float64.
        network: whose work will wait for what the array's library was asked to do so far.
        device: number of its card.
        graph: tells M, and N of T.
        single: whether dimensions of 1 around and within `[M, T]` are left out, and a batch is none.

    Returns:
        The mels, and an array of the same library, float32 `[N]` or `[B, N]`, that becomes their audio.

    Raises:
        MelError: a shape or dtype that no mel can have, places in memory that are none of its numbers, an unclear
            stream, or one that requires a gradient.
        EngineError: it is on another device, or of a library whose memory cannot be asked for.
    """
    if getattr(array, "requires_grad", False):
        raise MelError("the mel requires a gradient, and synthesis gives none: pass mel.detach()")
    mel = _described(array, network, device)
    if single:
        mel = mel.without(axes_to_leave_out(mel.shape, graph.num_mels))
    check_shape(mel.shape, graph.num_mels)
    if single and len(mel.shape) != 2:
        raise MelError(f"the mel has shape {list(mel.shape)}, and [M, T] is needed")
    samples = graph.output_length(mel.shape[-1])
    audio = _empty(array, (*mel.shape[:-2], samples))
    room = _described(audio, network, device)
    items = mel.shape[0] if len(mel.shape) == 3 else 1
    first = mel.steps[0] * _BYTES[mel.kind] if len(mel.shape) == 3 else 0
    return [
        CardMel(
            (mel.shape[-2], mel.shape[-1]),
            mel.address + item * first,
            mel.steps[-2],
            mel.steps[-1],
            mel.kind,
            room.address + item * samples * _FLOAT_BYTES,
        )
        for item in range(items)
    ], audio


def _described(array: object, network: _native.CudaNetwork, device: int) -> _Described:
    if hasattr(array, "__dlpack__"):
        return _by_dlpack(array, network, device)
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        raise MelError(f"the mel is a {type(array).__name__}, and others of its list are on a card: pass arrays there")
    return _by_interface(interface, network, device)


def _by_dlpack(array: Any, network: _native.CudaNetwork, device: int) -> _Described:
    kind, number = array.__dlpack_device__()
    _check_card(kind, number, device)
    try:
        with _as_current(array):
            capsule = array.__dlpack__(stream=network.stream)
        address, _, dtype, shape, steps = _native.describe_dlpack(capsule)
    except Exception as error:  # foreign arrays raise anything
        raise MelError(f"the mel, a {type(array).__name__}, cannot be read by DLPack: {error}") from error
    kind = _kind(dtype, array)
    _check_places(address, (), kind)  # steps are in numbers already
    return _Described(address, kind, shape, steps)


def _by_interface(interface: dict[str, Any], network: _native.CudaNetwork, device: int) -> _Described:
    """What `__cuda_array_interface__` says, version 3 of Numba's reference."""
    shape, typestr, address = tuple(interface["shape"]), interface["typestr"], interface["data"][0]
    # It says no card, and an address of another would cost the process its own.
    _check_card(_CUDA, network.number_of_card(address), device)
    kind = _kind(_TYPES.get(typestr, (0, 0)), typestr)
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    strides, stream = interface.get("strides"), stream_of(interface)
    _check_places(address, strides or (), kind)
    given = tuple(reversed(steps)) if strides is None else tuple(stride // _BYTES[kind] for stride in strides)
    if stream is not None:
        network.wait_for(stream)
    return _Described(address, kind, shape, given)


def _check_places(address: int, strides: Sequence[int], kind: int) -> None:
    """A card that reads a number elsewhere than at a multiple of its size is lost to the whole process."""
    size = _BYTES[kind]
    for name, value in (("address", address), *(("stride", stride) for stride in strides)):
        if value % size:
            raise MelError(
                f"the mel has the {name} {value}, {value % size} bytes beyond a multiple of {size}, and the card reads "
                f"numbers of {size} bytes at multiples of that alone: copy it, with mel.clone() or mel.copy()"
            )


def _check_card(kind: int, number: int, device: int) -> None:
    if (kind, number) != (_CUDA, device):
        where = f"'cuda:{number}'" if kind == _CUDA and number >= 0 else "no card of NVIDIA's"
        raise EngineError(f"the mel is on {where}, and the model on 'cuda:{device}': move one of them")


def _kind(dtype: tuple[int, int], array: object) -> int:
    if dtype not in _KINDS:
        named = getattr(array, "dtype", array)
        raise MelError(f"the mel has dtype {named}, and its values must be floats: pass mel.float()")
    return _KINDS[dtype]


def _library(array: object) -> tuple[str, Any]:
    """The name of an array's library, and the library if it has been imported."""
    name = type(array).__module__.partition(".")[0]
    return name, sys.modules.get(name)


def _as_current(array: Any) -> AbstractContextManager[object]:
    """Make an array's card the current one of its library for a block: it asks the streams of no other."""
    library, module = _library(array)
    if module is None or library not in ("torch", "cupy"):
        return nullcontext()
    current: AbstractContextManager[object] = module.cuda.device(array.device) if library == "torch" else array.device
    return current


def _empty(array: Any, shape: tuple[int, ...]) -> Any:
    """An array of the same library, in the memory of the same card."""
    library, module = _library(array)
    with _as_current(array):
        if module is not None and library == "torch":
            return module.empty(shape, dtype=module.float32, device=array.device)
        if module is not None and library == "cupy":
            return module.empty(shape, module.float32)
    raise EngineError(
        f"engine 'cuda' gives audio in memory of PyTorch or CuPy, and the mel is a {type(array).__name__} of "
        f"{library}: pass torch.from_dlpack(mel), or cupy.asarray(mel)"
    )
