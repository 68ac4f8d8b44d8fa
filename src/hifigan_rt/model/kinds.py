"""The kinds of models that engines take: weights bound to a graph, or a file that an engine reads itself."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from hifigan_rt.config import MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.checkpoint.reader import WholeVoice
from hifigan_rt.graph import Generator, Graph, build_graph
from hifigan_rt.system.files import file_sha256

_WAY_OUT = (
    "state it in the config.json beside the file, or give a whole config with config= (--config on the command line)"
)


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

    @property
    @abstractmethod
    def mel_settings(self) -> MelConfig | PartialMelConfig | None:
        """The mel settings as far as a config or the file's metadata tells them; None if neither does."""

    @property
    def takes_latents(self) -> bool:
        """Whether its input is computed by another network, so that no recording has one."""
        return self.graph is not None and self.graph.config.input_kind == "latent"

    @property
    def mel(self) -> MelConfig | None:
        """The mel settings, if all that an analysis needs are known."""
        return self.mel_settings if isinstance(self.mel_settings, MelConfig) else None

    @property
    def sample_rate(self) -> int | None:
        """Sample rate in Hz; None if nothing tells it."""
        return None if self.mel_settings is None else self.mel_settings.sample_rate

    @property
    def missing_mel_fields(self) -> tuple[str, ...]:
        """Fields of the original's `config.json` that an analysis of recordings lacks."""
        known = self.mel_settings
        if isinstance(known, MelConfig):
            return ()
        return PartialMelConfig.NEEDED if known is None else known.missing

    def known_mel(self) -> MelConfig:
        """Give the mel settings for an analysis of recordings.

        Raises:
            ConfigError: some are not known; the text lists them.
        """
        if self.mel is not None:
            return self.mel
        if self.takes_latents:
            raise ConfigError(
                f"{self.name} takes latents, which another network computes, and no mels: no recording can "
                "be analysed for it; give latents, as arrays or .npy files, or text to 'hifigan speak'"
            )
        if self.missing_mel_fields == ("mean", "scale"):
            raise ConfigError(
                f"{self.name}: its mels are normalised, and the mean and scale of its training data stand in no file "
                "beside it (stats.h5, stats.npy, feats_stats.npy or the .npz that the config names): put it there, or "
                "state mean and scale in a config.json; recordings are not analysed without. Mels are taken as they are"
            )
        hop = "" if self.graph is None else f" (hop_size follows from the architecture: {self.graph.hop_length})"
        raise ConfigError(
            f"{self.name}: the mel settings must be known to analyse recordings, and weights do not tell; missing: "
            f"{', '.join(self.missing_mel_fields)}{hop}: {_WAY_OUT}. Mels are taken without"
        )

    def known_sample_rate(self) -> int:
        """Give the sample rate, in Hz.

        Raises:
            ConfigError: it is not known.
        """
        if self.sample_rate is None:
            raise ConfigError(
                f"{self.name}: the sample rate must be known, and weights do not tell; missing: sampling_rate: "
                f"{_WAY_OUT}. Arrays of samples are computed without"
            )
        return self.sample_rate

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it consists of, `path` first."""
        return (self.path,)

    @cached_property
    def sha256(self) -> str:
        """Digest of its files when it is first asked for, 64 hexadecimal digits.

        Of one file it is that of its contents; of several, that of their digests in a row.

        Raises:
            OSError: a file cannot be read.
        """
        digests = [file_sha256(path) for path in self.files]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class Weights(ModelFile):
    """A checkpoint, read and bound to its graph."""

    key = "weights"
    noun = "a checkpoint"
    plural = "checkpoints"

    generator: Generator
    mel_settings: MelConfig | PartialMelConfig | None = None
    notes: tuple[str, ...] = ()
    """What was assumed or corrected on the way, one sentence each, for the user to see."""
    weights_at: str | None = None
    """Place of the generator in the file, if the user named one of several."""
    assumptions: tuple[str, ...] = ()
    """What of it was assumed, one sentence each; an export, which outlives such notes, asks for a config instead."""
    doubts: tuple[str, ...] = ()
    """Those notes that Python warns of: the assumptions, and what can be read in two ways."""
    speakers: Mapping[str, int] = field(default_factory=dict)
    """Names of speakers, with their rows in the table."""
    family: str = ""
    """The project whose config it has, or whose names its tensors have; empty if that is not told."""
    voice: WholeVoice | None = None
    """The whole voice that the file holds, of which this is the decoder."""
    family_key: str | None = None
    """Key of the project whose reading the user named."""

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
    further_files: tuple[Path, ...] = ()
    """What belongs to it beside `path`: the .bin of an IR, the external data of an ONNX file."""

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.path, *self.further_files)

    @property
    def graph(self) -> Graph | None:
        return None if self.config is None else build_graph(self.config.generator)

    @property
    def mel_settings(self) -> MelConfig | PartialMelConfig | None:
        return None if self.config is None else self.config.mel

    @property
    def speakers(self) -> Mapping[str, int]:
        """Names of speakers, with their rows in the table."""
        return {} if self.config is None else self.config.speakers


@dataclass(frozen=True)
class OnnxFile(ConvertedFile):
    """An ONNX file, as it is."""

    key = "onnx"
    noun = "an ONNX file"
    plural = "ONNX files"

    unread: str = ""
    """Why its weights are not read; empty if they are, or nobody looked."""


@dataclass(frozen=True)
class OnnxWeights(Weights):
    """An ONNX file that is a generator, bound to its graph: for engines that run checkpoints, or such files."""

    key = "onnx"
    noun = "an ONNX file"
    plural = "ONNX files"

    file: OnnxFile = field(kw_only=True)
    """The same, for engines that run the file itself."""

    @property
    def files(self) -> tuple[Path, ...]:
        return self.file.files


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
ModelKind = type[Weights] | type[OnnxFile] | type[OnnxWeights] | type[OpenVinoFile] | type[OmFile]
