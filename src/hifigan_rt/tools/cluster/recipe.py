"""Makes on a worker what this process would work with: a model travels with its weights, so a worker needs no file."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines.plan_file import read_plan
from hifigan_rt.model.kinds import Model, OnnxWeights, Weights
from hifigan_rt.model.reference import check_unchanged, file_states, with_absolute_paths
from hifigan_rt.tools.bulk.long_clips import ReadSettings
from hifigan_rt.tools.bulk.synthesis import Synthesis, WriteSettings
from hifigan_rt.tools.bulk.work import Work
from hifigan_rt.vocoder import Vocoder, load


class WorkRecipe(ABC):
    """What is sent to a worker, pickled, once for all its clips."""

    @abstractmethod
    def make_work(self) -> Work[Any, Any]:
        """Make it there."""


@dataclass(frozen=True)
class PackedModel:
    """A model with all that its engine needs, to be pickled. Made by `pack`."""

    model: Model
    """What is known of it, and the weights of a checkpoint."""
    contents: Mapping[str, bytes] = field(default_factory=dict)
    """The files of a converted model, by their places beside its first one."""

    def unpack(self) -> Model:
        """Give the model; files are written into a temporary folder, which is removed at the end of the process."""
        if not self.contents:
            return self.model
        folder = Path(tempfile.mkdtemp(prefix="hifigan-model-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        for name, content in self.contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        first, *further = (folder / name for name in self.contents)
        if isinstance(self.model, OnnxWeights):
            file = replace(self.model.file, path=first, further_files=tuple(further))
            return replace(self.model, path=first, file=file)
        assert not isinstance(self.model, Weights)  # noqa: S101 - by `pack`
        return replace(self.model, path=first, further_files=tuple(further))


def pack(model: Model) -> PackedModel:
    """Prepare a model for the way to another machine.

    Raises:
        ModelNotFound, ModelFileError: a file of a converted model is gone, or changes while it is read.
        OSError: its file cannot be read.
    """
    model = with_absolute_paths(model)
    _ = model.sha256  # known from now on, wherever it goes
    if isinstance(model, Weights) and not isinstance(model, OnnxWeights):
        return PackedModel(model)
    states = file_states(model)
    contents = {str(path.relative_to(model.path.parent)): path.read_bytes() for path in model.files}
    check_unchanged(model, states)
    return PackedModel(model, contents)


@dataclass(frozen=True)
class VocoderRecipe:
    """A loaded model, with the engine that was asked for."""

    model: PackedModel
    engine: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `load`, such as threads and precision."""

    def load(self) -> Vocoder:
        """Load the model.

        Raises:
            EngineError, EngineUnavailable, PrecisionUnavailable: see `hifigan_rt.load`.
        """
        return load(self.model.unpack(), engine=self.engine, **self.options)


def vocoder_recipe(model: Model, engine: str, options: Mapping[str, Any]) -> VocoderRecipe:
    """Prepare a model and the arguments of `load`; the file of a plan is read here."""
    named = dict(options)
    if named.get("plan") is not None:
        named["plan"] = read_plan(named["plan"])
    return VocoderRecipe(pack(model), engine, named)


@dataclass(frozen=True)
class SynthesisRecipe(WorkRecipe):
    """The work of `hifigan synth`."""

    vocoder: VocoderRecipe
    reading: ReadSettings
    writing: WriteSettings
    speaker: str | None = None
    conditioning: np.ndarray | None = None

    def make_work(self) -> Synthesis:
        """Load the model.

        Raises:
            ConditioningError: a speaker or vector that the model does not take.
            ConfigError: its sample rate is not known.
            EngineError: see `VocoderRecipe.load`.
        """
        vocoder = self.vocoder.load()
        chosen = vocoder.speaker_choice.one(self.speaker, self.conditioning)
        return Synthesis(vocoder, self.reading, self.writing, chosen)
