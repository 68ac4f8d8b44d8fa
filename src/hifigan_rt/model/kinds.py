"""The kinds of models that engines take: weights bound to a graph, or a file that an engine reads itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from hifigan_rt.config import MelConfig, ModelConfig
from hifigan_rt.graph import Generator, Graph, build_graph
from hifigan_rt.system.files import file_sha256


@dataclass(frozen=True)
class ModelFile(ABC):
    """What is known of a model of any kind."""

    key: ClassVar[str]
    """The kind, for machines."""
    noun: ClassVar[str]
    """One of the kind, for texts: "an ONNX file"."""
    plural: ClassVar[str]
    """Several of the kind, for texts."""

    name: str
    """The model as the user named it, for texts."""
    path: Path
    """The file that was read; of an OpenVINO IR the .xml, its .bin beside it."""
    format: str
    """What that file is, for example "torch (stacked pickle)"."""

    @property
    @abstractmethod
    def graph(self) -> Graph | None:
        """The generator's layers; None for a converted file without metadata or config."""

    @cached_property
    def sha256(self) -> str:
        """Digest of the file at `path` when it is first asked for, 64 hexadecimal digits.

        Raises:
            OSError: the file cannot be read.
        """
        return file_sha256(self.path)


@dataclass(frozen=True)
class Weights(ModelFile):
    """A checkpoint, read and bound to its graph."""

    key = "weights"
    noun = "a checkpoint"
    plural = "checkpoints"

    generator: Generator
    mel: MelConfig | None = None
    """The mel settings; None if no config tells."""
    notes: tuple[str, ...] = ()
    """What was assumed or corrected on the way, one sentence each, for the user to see."""
    weights_at: str | None = None
    """Place of the generator in the file, if the user named one of several."""

    @property
    def graph(self) -> Graph:
        return self.generator.graph

    @property
    def num_mels(self) -> int:
        """Mel bands of the input."""
        return self.graph.num_mels


@dataclass(frozen=True)
class ConvertedFile(ModelFile):
    """A file that an engine reads itself."""

    config: ModelConfig | None = None
    """The architecture and the mel settings, from the file's metadata or a config; None if neither tells."""
    num_mels: int | None = None
    """Mel bands of the input; None if a foreign file leaves them open."""
    is_foreign: bool = False
    """Whether the config is only said to be the file's: it does not come from what this package wrote into it."""
    notes: tuple[str, ...] = ()
    """What was assumed or corrected on the way, one sentence each, for the user to see."""

    @property
    def graph(self) -> Graph | None:
        return None if self.config is None else build_graph(self.config.generator)

    @property
    def mel(self) -> MelConfig | None:
        """The mel settings; None if neither a config nor the file's metadata tells."""
        return None if self.config is None else self.config.mel


class OnnxFile(ConvertedFile):
    """An ONNX file."""

    key = "onnx"
    noun = "an ONNX file"
    plural = "ONNX files"


class OpenVinoFile(ConvertedFile):
    """An OpenVINO IR, two files."""

    key = "openvino"
    noun = "an OpenVINO IR"
    plural = "OpenVINO IR"


class OmFile(ConvertedFile):
    """An Ascend .om file."""

    key = "om"
    noun = "an Ascend .om file"
    plural = "Ascend .om files"


Model = Weights | OnnxFile | OpenVinoFile | OmFile
ModelKind = type[Weights] | type[OnnxFile] | type[OpenVinoFile] | type[OmFile]
