"""Sends a model to another process: everything that is known of it, without its weights, which are read again there.

A reference is a few kilobytes and holds digests: what is read must be what was referred to, or the results would not be
the same bits. So weights that are in no file cannot be referred to, and a file that changed is refused at either end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hifigan_rt.errors import ModelFileError, ModelNotFound
from hifigan_rt.graph import Generator
from hifigan_rt.model.kinds import Model, OnnxWeights, Weights
from hifigan_rt.model.pretrained import KNOWN_MODELS, locate_pretrained
from hifigan_rt.model.resolve import read_generator
from hifigan_rt.system.files import file_sha256, plain_path

_NO_WEIGHTS = "a pickle of a vocoder holds no weights"

FileStates = Mapping[Path, tuple[int, int]]
"""Size in bytes and time of change in nanoseconds, by file."""


@dataclass(frozen=True)
class ModelReference:
    """A model that can be pickled, and read again where it arrives."""

    model: Model
    """What is known of it; of a checkpoint the weights are left out. Its path is absolute."""
    digests: Mapping[str, str]
    """SHA-256 of the weights of a checkpoint, under "weights"; or of each file of a converted model, under its name."""

    def read(self) -> Model:
        """Read the model.

        Raises:
            ModelNotFound: its file is not there.
            ModelFileError: it is not the one that was referred to, or cannot be read.
        """
        model = self.model
        if model.name in KNOWN_MODELS:
            model = replace(model, path=locate_pretrained(model.name))
        if isinstance(model, Weights):
            _check_there(model)
            generator = read_generator(model)
            model = replace(model, generator=generator)
        if _digests(model) != self.digests:
            raise ModelFileError(
                f"model {model.name!r}: {str(model.path)!r} does not hold what the vocoder was made of: the file has "
                f"changed since, or its weights were changed in memory; {_NO_WEIGHTS}: load the model here, or pickle "
                "vocoder.model, which has them, and load that"
            )
        return model


def with_absolute_paths(model: Model) -> Model:
    """The same model, to be found from any working directory."""
    try:
        absolute = replace(model, path=plain_path(model.path))
        if isinstance(absolute, OnnxWeights):
            file = replace(absolute.file, path=absolute.path)
            return replace(absolute, file=replace(file, further_files=tuple(map(plain_path, file.further_files))))
        if isinstance(absolute, Weights):
            return absolute
        return replace(absolute, further_files=tuple(plain_path(path) for path in absolute.further_files))
    except FileNotFoundError:  # the working directory is gone
        return model


def file_states(model: Model) -> FileStates:
    """What tells whether the files of a converted model have changed since; none for a checkpoint, whose weights are
    in memory, and for files that are not there."""
    if isinstance(model, Weights) and not isinstance(model, OnnxWeights):
        return {}
    return {path: _state(path) for path in model.files if path.exists()}


def check_unchanged(model: Model, states: FileStates) -> None:
    """Check that the files of a converted model are those that were loaded.

    Args:
        model: the model.
        states: what `file_states` gave when it was loaded.

    Raises:
        ModelNotFound: one is not there any more.
        ModelFileError: one has changed.
    """
    for path, state in states.items():
        if not path.exists():
            raise ModelNotFound(f"model {model.name!r}: {str(path)!r} is not there any more: {_NO_WEIGHTS}")
        if _state(path) != state:
            raise ModelFileError(f"model {model.name!r}: {str(path)!r} has changed since it was loaded: load it again")


def refer_to(model: Model) -> ModelReference:
    """Make the reference of a model with absolute paths.

    Raises:
        ModelNotFound: there is no such file.
    """
    _check_there(model)
    digests = _digests(model)
    if isinstance(model, Weights):
        model = replace(model, generator=Generator(model.graph, {}))
    return ModelReference(model, digests)


def _check_there(model: Model) -> None:
    if not model.path.is_file():
        raise ModelNotFound(
            f"model {model.name!r}: its file {str(model.path)!r} is not there; {_NO_WEIGHTS}, they are read from the "
            "file: keep it ('hifigan export safetensors' writes one), or pickle vocoder.model, which has them, and "
            "load that"
        )


def _digests(model: Model) -> dict[str, str]:
    if isinstance(model, Weights):
        return {"weights": _weights_sha256(model.generator.weights)}
    try:
        return {path.name: file_sha256(path) for path in model.files}
    except OSError as error:
        raise ModelNotFound(
            f"model {model.name!r}: {error.filename!r} cannot be read ({error.strerror}); {_NO_WEIGHTS}"
        ) from error


def _weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
