"""The model that is measured: what the workers are to load, and what a result says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.engines.speakers import SpeakerChoice
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.om_file import OmInfo, read_om
from hifigan_rt.model.kinds import Model, ModelKind, OmFile, Weights
from hifigan_rt.model.pretrained import KNOWN_MODELS
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.reference_audio import ReferenceAudio
from hifigan_rt.tools.benchmark.voice import VoiceOfRun


@dataclass(frozen=True)
class BenchmarkModel:
    """A model that is measured, with what the figures need of it."""

    argument: str
    """What the user named, for the workers."""
    config: str | None
    weights_at: str | None
    family: str | None
    """Place of the model's generator in its file, if the user named it."""
    speaker: str | None
    vector: tuple[float, ...] | None
    """Who speaks, as the user names it: see `VoiceOfRun`."""
    name: str
    """The name that a result shows; it does not tell where the file lies."""
    weights: str
    kind: ModelKind
    num_mels: int
    mel: MelConfig | None
    takes_latents: bool
    sample_rate: int
    hop_length: int
    macs_per_frame: int | None
    reference: ReferenceAudio | None
    """None where the weights are not known, or nobody wants the SNR."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Batch and mel_len of each gear, of a model that runs no others; empty if it runs any length."""
    batch: int | None = None
    """Clips per call of a model of open lengths that runs no other batch."""
    notes: tuple[str, ...] = ()


def read_benchmark_model(
    name: str,
    config: str | None,
    *,
    reference: str | None = None,
    with_snr: bool = True,
    weights_at: str | None = None,
    family: str | None = None,
    speaker: str | None = None,
    vector: np.ndarray | None = None,
) -> BenchmarkModel:
    """Read a model.

    Args:
        name, config: see `hifigan_rt.model.resolve.resolve_model`.
        reference: the checkpoint that a converted file was made from, for the SNR.
        with_snr: prepare the float64 reference.
        weights_at: where that checkpoint, or the model itself if there is none, has the generator.
        family: whose reading of it is wanted.
        speaker: number or name of who speaks.
        vector: in the place of a speaker, `[G]`.

    Raises:
        ModelNotFound, ModelFileError: see `hifigan_rt.model.resolve.resolve_model`.
        ConfigError: likewise; or the sample rate or mel bands are not known, or the reference is another network.
        ConditioningError: the model does not take such a voice.
    """
    own, own_family = (weights_at, family) if reference is None else (None, None)
    model = resolve_model(name, config, own, own_family)
    source = model if reference is None else resolve_model(reference, weights_at=weights_at, family=family)
    graph = model.graph or source.graph
    mel = model.mel or source.mel
    sample_rate = model.sample_rate or source.sample_rate
    num_mels = model.num_mels or source.num_mels
    if sample_rate is None or num_mels is None or graph is None:
        raise ConfigError(
            f"{Path(name).name}: the sample rate and mel bands must be known, and the file does not tell: give the "
            "model's config.json with --config"
        )
    _check_same(model, source)
    numbers = None if vector is None else tuple(float(value) for value in vector.ravel())
    audio = None
    if isinstance(source, Weights):
        given = VoiceOfRun(SpeakerChoice.of_weights(source), speaker, numbers).conditioning(1)
        audio = ReferenceAudio(source.generator, given) if with_snr else None
    notes = list(model.notes)
    if not isinstance(source, Weights) and with_snr:
        notes.append(
            f"no SNR: the model is one of {model.plural}, which do not hold weights for the reference; "
            "--reference names the checkpoint that it was made from"
        )
    om = read_om(model.path) if isinstance(model, OmFile) else None
    return BenchmarkModel(
        argument=name,
        config=config,
        weights_at=own,
        family=own_family,
        speaker=speaker,
        vector=numbers,
        name=name if name in KNOWN_MODELS else Path(name).name,
        weights=f"{name} (real)" if name in KNOWN_MODELS else f"{model.path.name} ({model.format})",
        kind=type(model),
        num_mels=num_mels,
        mel=mel,
        takes_latents=graph.config.input_kind == "latent",
        sample_rate=sample_rate,
        hop_length=graph.hop_length,
        macs_per_frame=graph.macs_per_frame,
        reference=audio,
        sizes=() if om is None else _sizes(om, num_mels),
        batch=None if om is None else _batch(om),
        notes=tuple(notes),
    )


def _check_same(model: Model, source: Model) -> None:
    if source is model:
        return
    if not isinstance(source, Weights):
        raise ConfigError(f"--reference {source.path.name} holds no weights: name the checkpoint, not a converted file")
    graph = model.graph
    ours = (model.num_mels, None if graph is None else graph.hop_length)
    theirs = (source.num_mels, source.generator.graph.hop_length)
    for what, value, other in zip(("mel bands", "a hop length"), ours, theirs, strict=True):
        if value is not None and value != other:
            raise ConfigError(
                f"--reference {source.path.name} has {what} of {other}, the model of {value}: name the checkpoint that "
                "it was made from"
            )


def _sizes(info: OmInfo, num_mels: int) -> tuple[tuple[int, int], ...]:
    """Batch and frames of every gear of an .om: dimensions [B, M, T] or [B, M, 1, T]."""
    shapes = info.input_dims_of_gears or tuple(tensor.shape for tensor in info.inputs[:1])
    return tuple(
        (shape[0], shape[-1]) for shape in shapes if len(shape) >= 3 and shape[1] == num_mels and min(shape) > 0
    )


def _batch(info: OmInfo) -> int | None:
    """The one batch of an .om of open lengths; None if it is open too, or lengths are not."""
    open_lengths = info.dynamic_shape and not info.dynamic_dims
    batch = info.inputs[0].shape[0] if open_lengths and info.inputs and info.inputs[0].shape else -1
    return batch if batch > 0 else None
