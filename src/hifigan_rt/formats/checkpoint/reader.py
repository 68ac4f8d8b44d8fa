"""Reads a checkpoint's folded weights, and any file's tree of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hifigan_rt.errors import CheckpointError, ModelFileError, UnsafeCheckpoint
from hifigan_rt.formats.checkpoint.byte_source import ByteSource, open_source
from hifigan_rt.formats.checkpoint.detect import Format, detect_format
from hifigan_rt.formats.checkpoint.limits import MAX_DEPTH, MAX_NODES
from hifigan_rt.formats.checkpoint.nemo_archive import WEIGHTS, open_nemo
from hifigan_rt.formats.checkpoint.numpy_objects import NumpyDtype
from hifigan_rt.formats.checkpoint.opaque import OpaqueClass, OpaqueObject, Unfinished
from hifigan_rt.formats.checkpoint.pickle_input import UnreadBytes
from hifigan_rt.formats.checkpoint.pickle_machine import describe
from hifigan_rt.formats.checkpoint.safetensors_file import read_safetensors
from hifigan_rt.formats.checkpoint.tensors import LazyTensor, TensorLoader
from hifigan_rt.formats.checkpoint.torch_files import Tree, read_legacy, read_zip
from hifigan_rt.formats.checkpoint.torch_objects import Dtype
from hifigan_rt.formats.checkpoint.torchscript import ModuleCode
from hifigan_rt.formats.checkpoint.tree import plain_values
from hifigan_rt.formats.checkpoint.weight_norm import NormedWeight, fold, plan_folding

STATE_REMEDY = (
    "If you trust the file, load it in PyTorch and save its state dict alone: torch.save({'generator': "
    "model.state_dict()}, path)"
)
"""What to do with a checkpoint that asks for code."""


@dataclass(frozen=True)
class WholeVoice:
    """A text-to-speech model of which a file holds more than the generator."""

    name: str
    """What it is, with its article."""
    parts: tuple[str, ...]
    """Names of its parts that are not read."""
    latents: str = ""
    """Name of the value in an ONNX graph that its generator reads; empty for other files."""


@dataclass(frozen=True)
class Selection:
    """What is wanted of a file."""

    tensors: dict[str, LazyTensor]
    """Tensors of the state dict by name."""
    notes: tuple[str, ...]
    """What was assumed or left out, one sentence each."""
    beside: tuple[dict[object, object], ...] = ()
    """Dictionaries around the state dict, the nearest first."""
    statistics: tuple[LazyTensor, LazyTensor] | None = None
    """Mean and scale of the mels, if the file holds them beside the network."""
    place: tuple[str, ...] = ()
    """Keys that lead to the dictionary of the state dict."""
    voice: WholeVoice | None = None
    """The voice that the generator decodes for."""
    flow: dict[str, LazyTensor] = field(default_factory=dict)
    """Tensors of that voice's flow, by their names behind "flow."."""


@dataclass(frozen=True)
class Checkpoint:
    """A generator's parameters with weight norm folded, under the file's names."""

    weights: dict[str, np.ndarray] = field(repr=False)
    """Names such as `conv_pre.weight` and `resblocks.3.convs1.0.bias`."""
    config: dict[str, object] | None
    """The config.json in a safetensors file's metadata; None if there is none."""
    format: str
    """torch-zip, torchscript, torch-legacy, pickle, safetensors or nemo."""
    notes: tuple[str, ...]
    """What was assumed or left out, one sentence each."""
    beside: tuple[dict[str, object], ...] = field(default=(), repr=False)
    """Plain values around the weights: of each dictionary that holds them, the nearest first, as JSON would give them.

    Training programs put configs there, as in `{"generator": ..., "config": {...}}`.
    """
    statistics: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)
    """Mean and scale of the mels, if the file holds them beside the network."""
    config_text: str | None = field(default=None, repr=False)
    """The YAML of a .nemo file, not decoded."""
    code: ModuleCode | None = field(default=None, repr=False)
    """The code of the generator's modules, of a TorchScript archive."""
    voice: WholeVoice | None = None
    """The voice that the generator decodes for, so that it takes latents."""
    flow: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    """Parameters of that voice's flow with weight norm folded, by their names behind "flow.", if they are wanted."""


def read_state(path: Path, select: Callable[[object], Selection]) -> Checkpoint:
    """Read a state dict, in any of the formats; PyTorch is not needed and nothing is run.

    Args:
        path: the file.
        select: picks the tensors in what the file holds, and raises CheckpointError if they are not there.

    Raises:
        CheckpointError: not a checkpoint, without weights, damaged, or over the limits.
        UnsafeCheckpoint: it asks for something outside the allow-list.
    """
    with _named(path), open_source(path) as source, _open_tree(source) as tree:
        selection = select(tree.root)
        weights = _fold_all(selection.tensors, tree.loader)
        beside = tuple(plain_values(mapping) for mapping in selection.beside)
        found = selection.statistics
        statistics = None if found is None else (tree.loader.load(found[0]), tree.loader.load(found[1]))
        code = None if tree.program is None else tree.program.code_of(selection.place)
        return Checkpoint(
            weights,
            tree.config,
            tree.format,
            tree.notes + selection.notes,
            beside,
            statistics,
            tree.config_text,
            code,
            selection.voice,
            _fold_all(selection.flow, tree.loader),
        )


def read_tensors(path: Path, remedy: str = STATE_REMEDY) -> object:
    """Read everything that a PyTorch or safetensors file holds, as torch.load gives it.

    Args:
        path: the file.
        remedy: what to do, for the error of a file that asks for code.

    Returns:
        Dictionaries, lists, tuples, numbers and texts, with an array in place of each tensor: C-contiguous, bfloat16
        widened to float32. A torch.Size is a tuple, a torch.device and a torch.dtype are texts. What is no data stays
        an `OpaqueObject`.

    Raises:
        CheckpointError, UnsafeCheckpoint: as for `read_state`; or more follows the first object of the file.
    """
    with _named(path, remedy), open_source(path) as source, _open_tree(source) as tree:
        if tree.left_over:
            raise CheckpointError(
                f"goes on after the object that torch.save wrote first: {tree.left_over} bytes follow, and one object "
                "per file is read: save each as a file of its own"
            )
        return _TreeBuilder(tree.loader).build(tree.root)


@contextmanager
def _named(path: Path, remedy: str = STATE_REMEDY) -> Iterator[None]:
    try:
        yield
    except UnsafeCheckpoint as error:
        raise UnsafeCheckpoint(f"{str(path)!r} {error}. {remedy}") from error.__cause__
    except ModelFileError as error:
        raise CheckpointError(f"{str(path)!r} {error}") from error.__cause__
    except MemoryError as error:
        raise CheckpointError(f"{str(path)!r} needs more memory than this process may have") from error


@contextmanager
def _open_tree(source: ByteSource) -> Iterator[Tree]:
    kind = detect_format(source)
    if kind not in ("nemo", "nemo-gz"):
        yield _read_tree(source, kind)
        return
    with open_nemo(source, compressed=kind == "nemo-gz") as archive:
        inner = detect_format(archive.weights)
        if inner in ("nemo", "nemo-gz"):
            raise CheckpointError(f"holds an archive as its {WEIGHTS}: a checkpoint is needed")
        yield replace(_read_tree(archive.weights, inner), format="nemo", config_text=archive.config)


def _read_tree(source: ByteSource, kind: Format) -> Tree:
    if kind == "torch-zip":
        return read_zip(source)
    return read_safetensors(source) if kind == "safetensors" else read_legacy(source)


def describe_keys(mapping: dict[object, object]) -> str:
    """The first ten keys, for texts."""
    keys = [describe(key) for key in list(mapping)[:10]]
    return ", ".join(keys) + (f" and {len(mapping) - 10} more" if len(mapping) > 10 else "") if keys else "nothing"


def _fold_all(tensors: dict[str, LazyTensor], loader: TensorLoader) -> dict[str, np.ndarray]:
    # Layer by layer, so that no more than one layer is held in both forms.
    weights: dict[str, np.ndarray] = {}
    for name, origin in plan_folding(tensors).items():
        if isinstance(origin, NormedWeight):
            g, v = loader.load(tensors[origin.g]), loader.load(tensors[origin.v])
            if v.itemsize < np.float32().itemsize:
                # Folding makes a float32 array of it and drops the other.
                loader.claim(4 * v.size)
                loader.release(v)
            weights[name] = fold(g, v, origin)
            loader.release(g)
        else:
            weights[name] = loader.load(tensors[origin])
    return weights


_LEAVES = (bool, int, float, complex, str, bytes, np.generic, OpaqueObject, OpaqueClass)


class _TreeBuilder:
    """Replaces lazy tensors by arrays, each once however often it is reached."""

    def __init__(self, loader: TensorLoader) -> None:
        self._loader = loader
        self._done: dict[int, tuple[object, int]] = {}
        """The finished object and the number of objects in it, by identity."""
        self._open: set[int] = set()

    def build(self, root: object) -> object:
        return self._build(root, 0)[0]

    def _build(self, value: object, depth: int) -> tuple[object, int]:
        if value is None or isinstance(value, _LEAVES):
            return value, 1
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            raise CheckpointError(f"holds {describe(value)} that contains itself")
        if depth > MAX_DEPTH:
            raise CheckpointError(f"holds more than {MAX_DEPTH} containers within each other")
        self._open.add(key)
        result = self._build_new(value, depth + 1)
        self._open.remove(key)
        if result[1] > MAX_NODES:
            raise CheckpointError(f"holds more than {MAX_NODES} objects, counted as often as they are reached")
        self._done[key] = result
        return result

    def _build_new(self, value: object, depth: int) -> tuple[object, int]:
        if isinstance(value, LazyTensor):
            return self._loader.load(value), 1
        if isinstance(value, UnreadBytes):
            return self._loader.load_unread(value), 1
        if isinstance(value, Unfinished):
            raise CheckpointError(f"is damaged: it holds {describe(value)}")
        if isinstance(value, dict):
            entries = {name: self._build(item, depth) for name, item in value.items()}
            return {name: item for name, (item, _) in entries.items()}, 1 + sum(n for _, n in entries.values())
        if isinstance(value, (list, tuple)):
            items = [self._build(item, depth) for item in value]
            finished: list[object] = [item for item, _ in items]
            count = 1 + sum(n for _, n in items)
            return (finished if isinstance(value, list) else tuple(finished)), count
        if isinstance(value, Dtype):
            return f"torch.{value.name}", 1
        if isinstance(value, NumpyDtype):
            return f"numpy.{value.name or value.text}", 1
        raise CheckpointError(f"holds {describe(value)} of PyTorch's where a tensor, a number or a text is expected")
