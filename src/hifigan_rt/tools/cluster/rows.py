"""What a worker does with the rows of a dataset."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio import Recording, prepare, read_audio
from hifigan_rt.audio.decoding import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from hifigan_rt.audio.formats import encode_whole
from hifigan_rt.errors import (
    AudioError,
    DatasetError,
    HifiganError,
    MelConventionWarning,
    MelError,
    PaddedTailWarning,
    error_text,
)
from hifigan_rt.mel.check import CheckedMel, check_mel, in_words_of
from hifigan_rt.mel.shapes import one_mel
from hifigan_rt.tools.cluster.dataset import PACKED, RowRecipe

MADE_COLUMNS = ("audio", "sample_rate", "samples", "frames", "clipped", "warning", "error")

_SAMPLES = ("array", "amplitude", "samples")
_RATES = ("sampling_rate", "sample_rate")
"""Names in structs, of Hugging Face and of Ray."""


@dataclass
class _Row:
    """What becomes of one row."""

    audio: np.ndarray
    sample_rate: int
    content: bytes = b""
    samples: int = 0
    frames: int = 0
    clipped: int = 0
    warning: str = ""
    error: str = ""


class RowWorker:
    """A loaded model for the rows of all batches that come."""

    def __init__(self, recipe: RowRecipe) -> None:
        """
        Raises:
            EngineError, EngineUnavailable, PrecisionUnavailable: see `hifigan_rt.load`.
            ConditioningError: a speaker or vector that the model does not take.
        """
        self._recipe = recipe
        self._vocoder = recipe.vocoder.load()
        if recipe.speaker_column is None:
            self._vocoder.speaker_choice.one(recipe.speaker, recipe.conditioning)

    def synthesize(self, table: Any) -> Any:
        """Make the audio of a batch, a `pyarrow.Table` whose column of mels or recordings is packed.

        Raises:
            DatasetError: the table lacks a column, or has one of a name that is given to what is made.
        """
        recipe = self._recipe
        for name in filter(None, (recipe.column, recipe.speaker_column)):
            if name not in table.column_names:
                raise DatasetError(f"the dataset has no column {name!r}: it has {', '.join(table.column_names)}")
        kept = table.drop_columns([recipe.column])
        if taken := [name for name in MADE_COLUMNS if name in kept.column_names]:
            raise DatasetError(f"the dataset has a column {taken[0]!r}, which the result needs: rename it")
        values = _values(table.column(recipe.column))
        speakers = [recipe.speaker] * len(values)
        if recipe.speaker_column is not None:
            speakers = table.column(recipe.speaker_column).to_pylist()
        rows = self._rows(values, speakers)
        for name, column in self._columns(rows).items():
            kept = kept.append_column(name, column)
        return kept

    def _rows(self, values: Sequence[Any], speakers: Sequence[Any]) -> list[_Row]:
        rows = [_Row(np.zeros(0, np.float32), self._vocoder.sample_rate) for _ in values]
        mels: dict[int, CheckedMel] = {}
        for index, (row, value) in enumerate(zip(rows, values, strict=True)):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", MelConventionWarning)
                try:
                    mels[index] = self._mel(value)
                except Exception as error:  # noqa: BLE001 - one bad row never ends the job
                    row.error = error_text(error)
            row.warning = "; ".join(str(warning.message) for warning in told)
        for index, audio in self._audio(mels, speakers, rows).items():
            rows[index].frames = mels[index].shape[1]
            self._tell_tail(rows[index])
            try:
                self._encode(rows[index], audio)
            except Exception as error:  # noqa: BLE001
                rows[index].error = error_text(error)
        return rows

    def _audio(
        self, mels: Mapping[int, CheckedMel], speakers: Sequence[Any], rows: list[_Row]
    ) -> dict[int, np.ndarray]:
        """Synthesise what can be; together where that goes, else one by one, to find what cannot."""
        conditioning = self._recipe.conditioning
        given = [speakers[index] for index in mels]
        together = None if given == [None] * len(given) else given
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PaddedTailWarning)  # told of each row
            try:
                made = self._vocoder(list(mels.values()), speaker=together, conditioning=conditioning) if mels else []
                return dict(zip(mels, made, strict=True))
            except Exception:  # noqa: BLE001
                audio = {}
                for index, mel in mels.items():
                    try:
                        audio[index] = self._vocoder(mel, speaker=speakers[index], conditioning=conditioning)
                    except Exception as error:  # noqa: BLE001
                        rows[index].error = error_text(error)
                return audio

    def _tell_tail(self, row: _Row) -> None:
        tail = self._vocoder.inexact_tail_frames(row.frames)
        if tail:
            told = (
                f"a mel of {row.frames} frames is shorter than the model takes: it is padded with silence, and its "
                f"last {tail} frames differ from the exact result"
            )
            row.warning = "; ".join(filter(None, (row.warning, told)))

    def _mel(self, value: Any) -> CheckedMel:
        if value is None:
            raise DatasetError(f"the row has no {self._recipe.column!r}")
        if self._recipe.is_audio:
            recording = self._recording(value)
            recipe = self._recipe
            rate = self._vocoder.sample_rate
            return self._vocoder.mel(prepare(recording, rate, recipe.resample, recipe.mono, leave="{}=True"))
        with in_words_of(latents=self._vocoder.takes_latents):
            mel = _array(value, MelError)
            if self._recipe.time_major:
                mel = one_mel(mel, self._vocoder.num_mels, time_major=True)
                mel = np.ascontiguousarray(mel.T) if mel.ndim == 2 else mel
            return check_mel(mel, self._vocoder.num_mels, self._vocoder.mel_config, single=True)

    def _recording(self, value: Any) -> Recording:
        if isinstance(value, Mapping):
            if value.get("bytes"):
                return self._recording(value["bytes"])
            samples = next((value[name] for name in _SAMPLES if value.get(name) is not None), None)
            rate = next((value[name] for name in _RATES if value.get(name) is not None), None)
            if samples is not None:
                return self._samples(samples, rate)
            if value.get("path"):
                return self._recording(value["path"])
            raise AudioError(f"a struct of {', '.join(map(repr, value))} holds no recording: bytes, array or path does")
        if isinstance(value, (bytes, bytearray, memoryview)):
            return read_audio(io.BytesIO(bytes(value)))
        if isinstance(value, str):
            return read_audio(Path(value))
        return self._samples(value, self._recipe.sample_rate)

    def _samples(self, value: Any, rate: int | None) -> Recording:
        rate = rate or self._recipe.sample_rate
        if rate is None:
            raise AudioError("bare samples do not tell their sample rate: give sample_rate=, or a struct that has it")
        samples = _array(value, AudioError)
        if samples.dtype.kind != "f":  # a quiet recording of integers would pass for a loud one of floats
            raise AudioError(
                f"samples of dtype {samples.dtype} are not float in [-1, 1]: divide 16-bit integers by 32768"
            )
        samples = samples.astype(np.float32, copy=False)
        if samples.ndim not in (1, 2) or samples.size == 0:
            raise AudioError(f"samples have shape {list(samples.shape)}, and [N] or [C, N] is needed")
        if samples.ndim == 2 and samples.shape[0] == 1:
            samples = samples[0]
        if not np.isfinite(samples).all():
            raise AudioError("the samples are not all finite")
        return Recording(samples, _rate(rate), "float", None)

    def _encode(self, row: _Row, audio: np.ndarray) -> None:
        made = encode_whole(self._recipe.encoding, audio, row.sample_rate)
        row.samples = round(len(audio) * made.sample_rate / row.sample_rate)
        row.sample_rate, row.clipped = made.sample_rate, made.clipped
        if self._recipe.encoding == "float32":
            row.audio = audio
        else:
            row.content = b"".join(made.parts)

    def _columns(self, rows: Sequence[_Row]) -> dict[str, Any]:
        import pyarrow

        if self._recipe.encoding == "float32":
            from ray.data.extensions import ArrowVariableShapedTensorArray

            audio = ArrowVariableShapedTensorArray.from_numpy([row.audio for row in rows])
        else:
            audio = pyarrow.array([row.content for row in rows], pyarrow.large_binary())
        columns = {"audio": audio}
        for name in MADE_COLUMNS[1:]:
            kind = pyarrow.string() if name in ("warning", "error") else pyarrow.int64()
            columns[name] = pyarrow.array([getattr(row, name) for row in rows], kind)
        return columns


def _values(column: Any) -> list[Any]:
    """The values of a packed column, a `pyarrow.ChunkedArray`; Ray gives rows of a block without the column none."""
    packed = column.to_pylist()
    return [row and pickle.loads(row[PACKED]) for row in packed]  # noqa: S301 - of this job, made of the rows


def _rate(rate: Any) -> int:
    """Check that a sample rate is one that a file could have: of 1 Hz, a minute would be converted to hours."""
    with suppress(ValueError, TypeError):
        hz = float(rate)
        if hz.is_integer() and MIN_SAMPLE_RATE_HZ <= hz <= MAX_SAMPLE_RATE_HZ:
            return int(hz)
    raise AudioError(
        f"samples have a sample rate of {rate!r}: it must be a whole number of Hz from {MIN_SAMPLE_RATE_HZ} to "
        f"{MAX_SAMPLE_RATE_HZ}"
    )


def _array(value: Any, error: type[HifiganError]) -> np.ndarray:
    try:
        array = np.asarray(value)
        return array if array.dtype != object else np.stack([np.asarray(row, np.float32) for row in value])
    except (ValueError, TypeError) as trouble:
        raise error(f"the row holds no array of numbers: {trouble}") from trouble
