"""Audio for the rows of a Ray Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from hifigan_rt.engines import check_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.errors import ClusterError, ConditioningError, DatasetError, EngineError, OutputError
from hifigan_rt.model.kinds import Model
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.cluster.actors import forwarded_variables, worker_size
from hifigan_rt.tools.cluster.connection import require_ray
from hifigan_rt.tools.cluster.recipe import VocoderRecipe, vocoder_recipe

if TYPE_CHECKING:
    import ray.data

RowEncoding = Literal["float32", "wav", "flac", "opus"]
_ENCODINGS = get_args(RowEncoding)

PACKED = "hifigan_rt_packed"
"""Name of the one field that a packed column's structs have: a pickle of the row's value."""

_OPTIONS = ("precision", "execution_provider", "segment_frames", "plan", "settings")
"""Arguments of `load` that are none of `synthesize_dataset`."""


@dataclass(frozen=True)
class RowRecipe:
    """What is done with each row; sent to workers."""

    vocoder: VocoderRecipe
    column: str
    """Name of the column of mels or recordings."""
    is_audio: bool
    time_major: bool
    resample: bool
    mono: bool
    sample_rate: int | None
    """Sample rate of recordings that are bare samples, in Hz."""
    speaker: str | int | None
    conditioning: np.ndarray | None
    speaker_column: str | None
    encoding: RowEncoding


def synthesize_dataset(
    dataset: ray.data.Dataset,
    *,
    model: str | Path | Model,
    mel_column: str | None = None,
    audio_column: str | None = None,
    config: str | Path | None = None,
    weights_at: str | None = None,
    family: str | None = None,
    engine: str = "auto",
    threads: int = 1,
    device: str | None = None,
    options: Mapping[str, Any] | None = None,
    speaker: str | int | None = None,
    conditioning: np.ndarray | None = None,
    speaker_column: str | None = None,
    time_major: bool = False,
    resample: bool = False,
    mono: bool = False,
    sample_rate: int | None = None,
    encoding: RowEncoding = "float32",
    batch_size: int | None = 16,
    workers: int | None = None,
) -> ray.data.Dataset:
    """Synthesise audio for the rows of a Ray Dataset, on all machines of its cluster.

    Nothing is computed until the result is consumed. A row that cannot be made stays, with the reason in `error`;
    it never ends the job. Ray keeps the order of rows only where its `DataContext` asks for `preserve_order`. Each
    worker holds the model once.

    Args:
        dataset: any, such as of `ray.data.read_parquet`, `read_binary_files` or `from_items`.
        model, config, weights_at, family: as for `hifigan_rt.load`; the model is read here and sent to the workers.
        mel_column: name of the column of log-mels, `[M, T]`, as arrays or lists; "mel" where neither column is named.
        audio_column: in its place, the column of recordings, whose mels are computed: contents of files as bytes; paths
            that all machines see; samples, float `[N]` or `[C, N]`; or a struct of bytes, or of samples with their
            rate, as Hugging Face's `Audio` has them.
        engine, device: as for `hifigan_rt.load`; a worker on CUDA takes one card.
        threads: of each worker's engine, and CPUs that Ray keeps for it.
        options: further arguments of `hifigan_rt.load`: precision, execution_provider, segment_frames, plan, settings.
        speaker, conditioning: as for a `Vocoder`, for all rows.
        speaker_column: in their place, the column of each row's speaker.
        time_major: mels are `[T, M]`.
        resample, mono: whether recordings of another rate, or of several channels, are converted.
        sample_rate: of recordings that are bare samples, in Hz.
        encoding: "float32" gives samples; "wav" and "flac" files of 16 bits, "opus" Ogg Opus, as bytes.
        batch_size: rows that a worker takes at a time, of any lengths: nothing is padded. None is a block of Ray's.
        workers: how many there may be at most; None is as many as the cluster has room for.

    Returns:
        The dataset without the column of mels or recordings, and with `audio` (float32 `[N]`, or bytes), `sample_rate`
        in Hz (the model's, but of Opus, see `hifigan_rt.audio.formats`), `samples` and `frames` (counts), `clipped`
        (samples that were beyond the range of 16 bits), `warning` and `error` (texts, empty where all is well).

    Raises:
        ClusterError: Ray or a package that `ray.data` needs is not installed, or `workers` or `batch_size` is no whole
            number from 1.
        DatasetError: both columns are named, or `dataset` is none of Ray's.
        ConditioningError: `speaker_column` is named, and one voice for all rows as well.
        ModelNotFound, ConfigError, ModelFileError, EngineError: see `hifigan_rt.load`. What only a worker finds out
            ends the job with an error of Ray that has it as its cause.
    """
    ray = require_ray("synthesize_dataset", "ray.data")
    if mel_column is not None and audio_column is not None:
        raise DatasetError(f"mel_column={mel_column!r} and audio_column={audio_column!r}: name one of them")
    if encoding not in _ENCODINGS:
        raise OutputError(f"encoding={encoding!r} is not known: {', '.join(_ENCODINGS)} are")
    if speaker_column is not None and (speaker is not None or conditioning is not None):
        given = "conditioning" if speaker is None else f"speaker={speaker!r}"
        raise ConditioningError(f"{given} and speaker_column={speaker_column!r}: each names a voice: give one of them")
    counts: dict[str, tuple[object, str]] = {
        "workers": (workers, "as many as the cluster has room for"),
        "batch_size": (batch_size, "a block of Ray's at a time"),
    }
    for name, (count, none) in counts.items():
        if count is not None and (not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1):
            raise ClusterError(f"{name}={count!r} must be a whole number, 1 or more, or None for {none}")
    check_engine(engine)
    EngineOptions(threads=threads, device=device)
    for name in options or {}:
        if name not in _OPTIONS:
            raise EngineError(
                f"options has {name!r}, and may have {', '.join(_OPTIONS)}; the rest of what load takes "
                "stands beside options"
            )
    if not isinstance(dataset, ray.data.Dataset):
        raise DatasetError(
            f"the dataset is a {type(dataset).__name__}: pass a ray.data.Dataset, such as ray.data.from_items makes of "
            "a list"
        )
    resolved = model if isinstance(model, Model) else resolve_model(model, config, weights_at, family)
    resolved.known_sample_rate()
    if audio_column is not None:
        resolved.known_mel()
    size = worker_size(threads, device)
    named = {**(options or {}), "threads": size.cpus, "device": device}
    recipe = RowRecipe(
        vocoder_recipe(resolved, engine, named),
        audio_column or mel_column or "mel",
        audio_column is not None,
        time_major,
        resample,
        mono,
        sample_rate,
        speaker,
        conditioning,
        speaker_column,
        encoding,
    )
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers)
    # Of equal resources, so that Ray does it in the workers themselves.
    packed = dataset.map_batches(
        _packing(recipe.column), batch_size=None, batch_format="pyarrow", num_cpus=size.cpus, num_gpus=size.gpus
    )
    return packed.map_batches(
        _row_class(),
        batch_size=batch_size,
        batch_format="pyarrow",
        fn_constructor_args=(ray.put(recipe), forwarded_variables()),
        compute=pool,
        num_cpus=size.cpus,
        num_gpus=size.gpus,
    )


def _packing(column: str) -> Any:
    """Make what gives a column one type in all blocks, sent by value as the workers' class is.

    Ray makes a type for each block, by what is in it: float32 or float64, lists, nothing. It joins no blocks of
    different types to a batch, and would end the job.
    """
    field = PACKED

    def pack(table: Any) -> Any:
        import pickle

        import pyarrow

        if column not in table.column_names:
            return table
        values = table.column(column)
        if isinstance(values.type, pyarrow.FixedShapeTensorType):  # whose own list is flat, two channels as one
            items = (item.to_numpy() if item.is_valid else None for item in values)
        else:
            # Row by row: Python's numbers of a whole block of lists would take many times its memory.
            items = (item.as_py() for item in values)
        contents = pyarrow.array([pickle.dumps(item, 5) for item in items], pyarrow.large_binary())
        packed = pyarrow.StructArray.from_arrays([contents], [field])
        return table.set_column(table.column_names.index(column), column, packed)

    return pack


def _row_class() -> Any:
    """Make the class of the workers, which is sent by value: one without the package can then say so."""

    class HifiganRows:
        def __init__(self, recipe: Any, variables: Mapping[str, str]) -> None:
            import os
            import socket

            import ray

            os.environ.update(variables)
            try:
                from hifigan_rt.tools.cluster.rows import RowWorker
            except ImportError as error:
                raise RuntimeError(
                    f"the worker on {socket.gethostname()} cannot import hifigan_rt ({error}): install the package "
                    "there, in the environment that Ray was started from"
                ) from error
            self._worker = RowWorker(ray.get(recipe))

        def __call__(self, table: Any) -> Any:
            return self._worker.synthesize(table)

    return HifiganRows
