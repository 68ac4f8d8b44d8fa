"""What most users need: `load` a model, call it with mels, get audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.engines import check_engine, choose_engine, create_engine
from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.load_options import gather_options
from hifigan_rt.engines.size_check import check_sizes
from hifigan_rt.engines.speakers import SpeakerChoice, SpeakerLike, VectorLike
from hifigan_rt.errors import ConfigError, EngineError, MelError
from hifigan_rt.graph import Graph
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.arrays import is_on_device, is_rows
from hifigan_rt.mel.check import CheckedMel, check_mel, diagnose, in_words_of, warn_of
from hifigan_rt.model.kinds import Model
from hifigan_rt.model.reference import ModelReference, check_unchanged, file_states, refer_to, with_absolute_paths
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.streaming import Stream
from hifigan_rt.system.closing import Closing


class Vocoder(Closing):
    """A loaded model: mels in, audio out. Made by `load`; safe to call from several threads.

    It can be pickled and copied. A pickle names its file and holds digests of it, no weights: where it arrives, the
    model is loaded again with the same config, engine and options, and computes the same bits. `copy.copy` and
    `copy.deepcopy` load a second engine from the weights in memory.
    """

    def __init__(self, model: Model, engine: Engine) -> None:
        self._model = model
        self._engine = engine
        self._graph = model.graph
        self._choice = SpeakerChoice(model.name, engine.conditioning, model.speakers)
        self._located = with_absolute_paths(model)
        self._file_states = file_states(self._located)
        self._reference: ModelReference | None = None

    @property
    def model(self) -> Model:
        """What was read: `load` takes it again, for another engine or other settings."""
        return self._model

    @property
    def name(self) -> str:
        """The model, as it was named to `load`."""
        return self._model.name

    @property
    def path(self) -> Path:
        """The file that the model was read from."""
        return self._model.path

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed or corrected while loading, one sentence each."""
        return self._model.notes

    @property
    def engine_info(self) -> EngineInfo:
        """Which engine runs, its precision, threads and device."""
        return self._engine.info

    @property
    def engine(self) -> Engine:
        """What computes, for those who check mels and share out the processor themselves."""
        return self._engine

    @property
    def graph(self) -> Graph | None:
        """The generator's layers; None for a converted file without metadata or config."""
        return self._graph

    @property
    def mel_config(self) -> MelConfig | None:
        """The mel settings that the model was trained on; None if not all are known."""
        return self._model.mel

    @property
    def takes_latents(self) -> bool:
        """Whether the input is computed by another network, a voice's, so that it is no mel."""
        return self._graph is not None and self._graph.config.input_kind == "latent"

    @property
    def num_mels(self) -> int | None:
        """Mel bands that the model takes; None for a foreign ONNX file that leaves them open."""
        return self._model.num_mels

    @property
    def speakers(self) -> Mapping[str, int]:
        """Names of the model's speakers, with their numbers; empty if none has a name."""
        return self._model.speakers

    @property
    def speaker_choice(self) -> SpeakerChoice:
        """What the model takes beside the mel: `rule` tells it, and `conditioning` makes it, for those who call
        `engine` themselves."""
        return self._choice

    @property
    def hop_length(self) -> int | None:
        """Samples per mel frame; None for a foreign ONNX file without metadata or config."""
        return None if self._graph is None else self._graph.hop_length

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz.

        Raises:
            ConfigError: nothing tells it.
        """
        return self._model.known_sample_rate()

    def output_length(self, frames: int) -> int:
        """Samples that a mel of so many frames gives.

        Raises:
            MelError: frames is below 1 or absurd.
            ConfigError: the model is a foreign ONNX file that does not tell its hop length.
        """
        if self._graph is None:
            raise ConfigError(f"{self.name}: the hop length is not known: give its config.json with config=")
        return self._graph.output_length(frames)

    def inexact_tail_frames(self, frames: int) -> int:
        """Frames at the end of a mel of `frames` where samples differ from the exact ones.

        0 but for converted models that take no mel as short as that, so that it is padded with silence: an Ascend .om
        below its shortest gear.
        """
        return self._engine.inexact_tail_frames(frames)

    @overload
    def __call__(
        self,
        mel: np.ndarray,
        *,
        speaker: SpeakerLike = None,
        conditioning: VectorLike = None,
        segment_frames: int | None = None,
    ) -> np.ndarray: ...
    @overload
    def __call__(
        self,
        mel: Sequence[np.ndarray],
        *,
        speaker: SpeakerLike = None,
        conditioning: VectorLike = None,
        segment_frames: int | None = None,
    ) -> list[np.ndarray]: ...
    @overload
    def __call__(
        self,
        mel: Any,
        *,
        speaker: SpeakerLike = None,
        conditioning: VectorLike = None,
        segment_frames: int | None = None,
    ) -> Any: ...
    def __call__(
        self,
        mel: Any,
        *,
        speaker: SpeakerLike = None,
        conditioning: VectorLike = None,
        segment_frames: int | None = None,
    ) -> Any:
        """Synthesise audio from log-mels.

        Args:
            mel: float `[M, T]`, a batch `[B, M, T]`, or a list of `[M, T_i]` of any lengths. Nothing is padded: every
                item of a list comes out as it would alone. A list of M rows of numbers is one mel. Engine `torch` also
                takes arrays in its device's memory, of PyTorch or any library that has DLPack; their range is not
                looked at.
            speaker: number or name of one of the model's speakers, for all mels; or a list, one for each.
            conditioning: in place of a speaker a vector, float `[G]`, for all mels; or `[B, G]`, one for each.
            segment_frames: compute in segments of so many frames, as a stream with them would; None computes in the
                way that is fastest for whole mels.

        Returns:
            float32 in [-1, 1]: `[N]`, `[B, N]`, or a list of `[N_i]`, with N = output_length(T); PyTorch tensors in the
            device's memory where the mel was there.

        Raises:
            MelError: a shape, dtype or value that no mel of this model can have.
            ConditioningError: a speaker or vector that the model does not take, or it needs one and none is given.
            EngineError: the vocoder is closed, or its engine failed.

        Warns:
            MelConventionWarning: the range looks like another convention than the model's.
            PaddedTailWarning: a converted model takes no mel as short as that, see `inexact_tail_frames`.
        """

        def chosen(items: int) -> np.ndarray | None:
            return self._choice.conditioning(speaker, conditioning, items)

        with in_words_of(latents=self.takes_latents):
            if is_on_device(mel):
                items = mel.shape[0] if getattr(mel, "ndim", 2) == 3 else 1
                return self._on_device([mel], segment_frames, chosen(items), listed=False)[0]
            if isinstance(mel, (list, tuple)) and not is_rows(mel):
                given = chosen(len(mel))
                if any(is_on_device(item) for item in mel):
                    return self._on_device(mel, segment_frames, given, listed=True)
                items = []
                for index, item in enumerate(mel):
                    checked, finding = self._item(index, item)
                    warn_of(finding)
                    items.append(checked)
                self._check_sizes([(1, item.shape[1]) for item in items])
                if segment_frames is not None:
                    return self._in_segments(items, segment_frames, given)
                return self._engine.run_many(items, given)
            checked = check_mel(mel, self.num_mels, self._model.mel)
            batch = CheckedMel(checked.reshape(-1, *checked.shape[-2:]))
            given = chosen(len(batch))
            self._check_sizes([(len(batch), batch.shape[2])])
            if segment_frames is None:
                audio = self._engine.run(batch, given)
            else:
                audio = np.stack(self._in_segments([CheckedMel(item) for item in batch], segment_frames, given))
            return audio if checked.ndim == 3 else audio[0]

    def stream(
        self, segment_frames: int | None = None, *, speaker: SpeakerLike = None, conditioning: VectorLike = None
    ) -> Stream:
        """Open a stream: frames in, audio out as soon as it is determined.

        Args:
            segment_frames: frames that are computed together, 1 to 4096; 16 by default. Fewer come out sooner and cost
                more.
            speaker: number or name of one of the model's speakers, for the whole stream, also after `Stream.reset`.
            conditioning: in place of a speaker a vector, float `[G]`.

        Raises:
            ConfigError: the model is a converted file without config, whose layers tell which samples are determined,
                or one of a fixed length.
            ConditioningError: a speaker or vector that the model does not take, or it needs one and none is given.
            EngineError: the vocoder is closed, or segment_frames is out of range.
        """
        return Stream(
            self._engine, self._known_graph(), self._model, segment_frames, self._choice.one(speaker, conditioning)
        )

    def mel(self, audio: np.ndarray) -> CheckedMel:
        """Compute the log-mel of a recording with the model's own settings.

        Args:
            audio: float `[N]` in [-1, 1] at `sample_rate`.

        Returns:
            float32 `[M, T]`.

        Raises:
            ConfigError: some of the mel settings are not known; the text lists them.
            AudioTooShort, AudioError: see `hifigan_rt.mel.analysis.compute_mel`.
        """
        return CheckedMel(compute_mel(audio, self._model.known_mel()))

    def close(self) -> None:
        """Free the engine; closing twice is allowed, calling afterwards raises EngineError."""
        self._engine.close()

    def __reduce__(self) -> tuple[Any, ...]:
        self._engine.check_open()
        check_unchanged(self._located, self._file_states)
        if self._reference is None:
            self._reference = refer_to(self._located)
        return _load_again, (self._reference, self._engine.info.name, self._engine.options)

    def __copy__(self) -> Vocoder:
        self._engine.check_open()
        check_unchanged(self._located, self._file_states)
        return Vocoder(self._model, create_engine(self._engine.info.name, self._model, self._engine.options))

    def __deepcopy__(self, memo: dict[int, Any]) -> Vocoder:
        return self.__copy__()

    def __repr__(self) -> str:
        return f"<Vocoder {self.name!r} on {self.engine_info.name}>"

    def _on_device(
        self, mels: Sequence[object], segment_frames: int | None, conditioning: np.ndarray | None, *, listed: bool
    ) -> list[Any]:
        if segment_frames is not None:
            raise EngineError(f"segment_frames={segment_frames} needs a mel in host memory: pass mel.cpu().numpy()")
        return self._engine.run_on_device(mels, listed=listed, conditioning=conditioning)

    def _item(self, index: int, mel: object) -> tuple[CheckedMel, str | None]:
        """Check an item of a list, and say what is odd about it."""
        try:
            checked = check_mel(mel, self.num_mels, single=True)
            if self._graph is not None:
                self._graph.output_length(checked.shape[1])  # refuses what its layers do not take
        except MelError as error:
            raise MelError(f"item {index} of the list: {error}") from error
        finding = None if self._model.mel is None else diagnose(checked, self._model.mel)
        return checked, None if finding is None else f"item {index} of the list: {finding}"

    def _check_sizes(self, sizes: Sequence[tuple[int, int]]) -> None:
        check_sizes(sizes, self._engine, self._graph)

    def _in_segments(
        self, mels: Sequence[CheckedMel], segment_frames: int, conditioning: np.ndarray | None
    ) -> list[np.ndarray]:
        audios = []
        for index, mel in enumerate(mels):
            given = None if conditioning is None else np.asarray(conditioning[index])
            stream = self._engine.stream(segment_frames, self._known_graph(), given)
            audios.append(np.concatenate([stream.push(mel), stream.finish()]))
        return audios

    def _known_graph(self) -> Graph:
        if self._graph is None:
            raise ConfigError(
                f"{self.name}: segments and streams need the model's layers, which tell how far a frame reaches: give "
                "its config.json with config= (--config on the command line)"
            )
        return self._graph


def _load_again(reference: ModelReference, engine: str, options: EngineOptions) -> Vocoder:
    check_engine(engine)
    model = reference.read()
    return Vocoder(model, create_engine(engine, model, options))


def load(
    model: str | Path | Model,
    *,
    config: str | Path | None = None,
    weights_at: str | None = None,
    family: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "float32",
    execution_provider: str | None = None,
    segment_frames: int | None = None,
    plan: str | Path | Mapping[str, str] | None = None,
    device: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Vocoder:
    """Load a model.

    Args:
        model: `ljspeech-v1`, `universal-v1`, a checkpoint (torch or safetensors), an ONNX file, or a folder with one;
            or what `hifigan_rt.model.resolve.resolve_model` returned, which is not read again.
        config: its `config.json`, or a preset (v1, v2, v3); by default the one beside the file is used. A resolved
            model has its own.
        weights_at: where a checkpoint with several generators has the wanted one: its keys with dots between, as in
            `generator_ema` or `state_dict.ema`. By default the only one is taken, wherever it is.
        family: the project whose reading of a checkpoint is wanted, where its tensors' names leave several, such as
            `parallel-wavegan` for weights of an odd rate that were renamed as the original's.
        engine: `auto` takes the fastest that is installed; `hifigan engines` lists them.
        threads: worker threads; by default the physical cores that this process may use.
        precision: `float32`; whatever is less exact must be asked for by name.
        execution_provider: one of ONNX Runtime's providers, by name; its CPU provider by default.
        segment_frames: frames that the native engine computes together; its own choice by default.
        plan: algorithms of the native engine, by layer name, or a file that `hifigan info --plan --json` wrote.
        device: by the runtime's own name, for engines that know several; `hifigan engines` lists them.
        settings: the engine's own, by name; `hifigan engines` lists them.

    Raises:
        ModelNotFound, ConfigError, ModelFileError: see `hifigan_rt.model.resolve.resolve_model`.
        EngineError, EngineUnavailable: the engine is unknown, not installed, or refuses the model or a setting.
        PrecisionUnavailable: the engine does not offer the precision, or the device does not execute it.
    """
    # Before the weights are read, so that a misspelt engine is answered at once.
    check_engine(engine)
    named = {"execution_provider": execution_provider, "segment_frames": segment_frames, "plan": plan}
    options = gather_options(threads, precision, device, settings, named)
    if isinstance(model, Model):
        if config is not None:
            raise ConfigError(f"config={str(config)!r}: {model.name} is read already, with the config that it has")
        if weights_at is not None:
            raise ConfigError(f"weights_at={weights_at!r}: {model.name} is read already, with the weights that it has")
        if family is not None:
            raise ConfigError(f"family={family!r}: {model.name} is read already")
        resolved = model
    else:
        resolved = resolve_model(model, config, weights_at, family)
    chosen = choose_engine(engine, type(resolved), settings=options.settings, device=device)
    return Vocoder(resolved, create_engine(chosen, resolved, options))
