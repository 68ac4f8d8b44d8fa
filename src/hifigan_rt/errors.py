"""Every error that hifigan-rt raises on purpose, as one tree.

    HifiganError
    +-- ConfigError                 a config field is missing, mistyped or contradicts another
    +-- ModelNotFound               a model name, file or folder leads to no model
    +-- ModelFileError              a model's file of any kind cannot be read
    |   +-- CheckpointError         a checkpoint cannot be read
    |       +-- UnsafeCheckpoint    it asks for code that is not on the allow-list
    |       +-- WeightMismatch      its weights do not fit the architecture
    +-- AudioError                  a recording cannot be read, or is not what the model expects
    |   +-- AudioTooShort           fewer samples than the mel analysis needs
    |   +-- SampleRateMismatch      another sample rate, and no leave to resample
    +-- MelError                    a mel spectrogram has a wrong shape, dtype or value
    +-- ConditioningError           a speaker or a conditioning vector is missing, unknown or not taken
    +-- SpeechError                 a voice cannot speak what it was given, such as an empty text
    |   +-- PhonemizerError         espeak-ng, which makes phonemes of text, is absent or fails
    +-- DatasetError                a file list, folder or glob leads to no clips
    +-- EngineError                 an engine failed or was used after close()
    |   +-- EngineUnavailable       its package or device is not there
    |   +-- PrecisionUnavailable    the engine or the device does not execute the precision asked for
    |   +-- OutputMismatch          a converted file gives other samples than its config says, or no audio
    |   +-- SamplesNotFinite        a network gave NaN or infinity
    |   +-- StreamBusy              another thread is using the stream
    |   +-- StreamFinished          the stream's signal has ended
    |   +-- StreamBroken            computing was interrupted, so that the stream's state is not known
    |   +-- StreamClosed            the stream was closed
    |   +-- StreamsFailed           some of the streams that were advanced together failed
    +-- ExportError                 a converted model could not be written or verified
    |   +-- ToolFailed              a vendor's converter is absent, failed or wrote nothing
    +-- EvaluationError             a metric, a limit or a rating is not known or does not fit
    |   +-- MetricUnavailable         a metric's package is not installed
    +-- ClusterError                a cluster is not reachable, or a machine of it lacks something
    +-- OutputError                 a result could not be written
    +-- StoreError                  an object store cannot be reached, or refuses
    +-- ServerError                 the server could not start
    +-- RequestFailed               a server refused a request of the client, or failed
    |   +-- ServerUnreachable       nothing answers there, or the connection broke

    SlowEngineWarning (UserWarning)      an engine is slower than it should be on this machine
    MelConventionWarning (UserWarning)   a mel looks like another convention than the model's
    ModelAssumptionWarning (UserWarning) a model's files do not decide something, which was assumed
    UnknownSymbolWarning (UserWarning)   a voice lacks symbols of a text, which were left out
    PaddedTailWarning (UserWarning)      a mel had to be padded, so its last samples are not exact

Each text names the value received, the rule, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class HifiganError(Exception):
    """Base of every error that hifigan-rt raises on purpose."""


class ConfigError(HifiganError):
    """A config field is missing, mistyped, out of range or contradicts another."""


class ModelNotFound(HifiganError):
    """A model name, file or folder leads to no model."""


class ModelFileError(HifiganError):
    """A model's file cannot be read, an ONNX file for example: not what it should be, damaged, or over the limits."""


class CheckpointError(ModelFileError):
    """A checkpoint file cannot be read: not a checkpoint, damaged, or over the limits."""


class UnsafeCheckpoint(CheckpointError):
    """A checkpoint asks for code that is not on the allow-list of tensor rebuilders; nothing was run."""


class WeightMismatch(CheckpointError):
    """The weights do not fit the architecture; all differences are listed at once.

    Attributes:
        missing: names that the architecture needs and the checkpoint lacks.
        unexpected: names that the checkpoint has and the architecture lacks.
        misshapen: name to (shape found, shape needed).
    """

    def __init__(
        self,
        missing: Sequence[str],
        unexpected: Sequence[str],
        misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
        hint: str = "",
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshapen = dict(misshapen)
        lines = [
            f"the weights do not fit the architecture: {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.misshapen)} of another shape"
        ]
        lines += [f"  missing     {name}" for name in self.missing]
        lines += [f"  unexpected  {name}" for name in self.unexpected]
        lines += [
            f"  shape       {name}: found {list(found)}, needed {list(needed)}"
            for name, (found, needed) in self.misshapen.items()
        ]
        if hint:
            lines.append(hint)
        self._hint = hint
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default it would be made of its text when it comes from another process.
        return type(self), (self.missing, self.unexpected, self.misshapen, self._hint)


class AudioError(HifiganError):
    """A recording cannot be read, or is not what the model expects."""


class AudioTooShort(AudioError):
    """A recording has fewer samples than the mel analysis needs."""


class SampleRateMismatch(AudioError):
    """A recording has another sample rate than the model, and resampling was not asked for."""


class MelError(HifiganError):
    """A mel spectrogram has a wrong shape, dtype or value."""


class ConditioningError(HifiganError):
    """A speaker or a conditioning vector is missing, unknown, of a wrong shape, or not taken by the model."""


class SpeechError(HifiganError):
    """A voice cannot speak what it was given: an empty text, symbols that it does not know, a scale out of range."""


class PhonemizerError(SpeechError):
    """The program that makes phonemes of text is absent, lacks the language, hangs or prints no phonemes."""


class DatasetError(HifiganError):
    """A file list, folder or glob leads to no clips, or names clips that are not there."""


class EngineError(HifiganError):
    """An engine failed, or was used after it was closed."""


class EngineUnavailable(EngineError):
    """An engine's package or device is not on this machine; the text says how to get it."""


class PrecisionUnavailable(EngineError):
    """The engine does not offer a precision, or the device would execute another one in its place."""


class OutputMismatch(EngineError):
    """A converted file gives other samples than its config says, or numbers that are no audio."""


class SamplesNotFinite(EngineError):
    """A network gave NaN or infinity: something in it goes beyond the range of the engine's numbers."""

    def __init__(
        self,
        text: str = "the network gave samples that are NaN or infinite: something in it goes beyond the range of its "
        "engine's numbers. Is this the model's kind of mel, are the weights whole, and did their training converge? "
        "Engine 'reference' has the widest range, float64's",
    ) -> None:
        super().__init__(text)


class StreamBusy(EngineError):
    """A stream was called while another thread was using it."""

    def __init__(self, text: str = "the stream is in use by another thread: give each signal its own stream") -> None:
        super().__init__(text)


class StreamFinished(EngineError):
    """A stream was called after its signal had ended."""

    def __init__(self, text: str = "the stream is finished: reset it, or open a new one") -> None:
        super().__init__(text)


class StreamBroken(EngineError):
    """A stream was called after its computing had been interrupted; nobody knows which frames it has taken in."""

    def __init__(self, text: str = "the stream was interrupted: reset it, or open a new one") -> None:
        super().__init__(text)


class StreamClosed(EngineError):
    """A stream was called after it had been closed."""

    def __init__(self, text: str = "the stream is closed: open a new one") -> None:
        super().__init__(text)


class StreamsFailed(EngineError):
    """Some of the streams that were advanced together failed; the others have gone on.

    Attributes:
        outcomes: for each stream its audio, float32 `[n_i]`, or the error that it has met.
    """

    def __init__(self, outcomes: Sequence[np.ndarray | HifiganError]) -> None:
        self.outcomes = list(outcomes)
        failed = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, HifiganError)]
        super().__init__(
            f"{len(failed)} of {len(outcomes)} streams failed, stream {failed[0]} since {outcomes[failed[0]]}; "
            "`outcomes` of this error has the audio of the others"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.outcomes,)


class ExportError(HifiganError):
    """A converted model could not be written, or does not compute what the reference computes."""


class ToolFailed(ExportError):
    """A vendor's converter is absent, failed, or wrote nothing.

    Attributes:
        codes: the vendor's error codes, in the order printed.
        output: what the tool printed, whole.
    """

    def __init__(self, text: str, codes: Sequence[str] = (), output: str = "") -> None:
        super().__init__(text)
        self.codes = tuple(codes)
        self.output = output


class EvaluationError(HifiganError):
    """A metric, a limit or a rating is not known or does not fit."""


class MetricUnavailable(EvaluationError):
    """A metric's package is not installed; the text says how to get it."""


class ClusterError(HifiganError):
    """A Ray cluster is not reachable, has no room for a worker, or a machine of it lacks what the work needs."""


class OutputError(HifiganError):
    """A result could not be written; whatever stood at its place before is untouched."""


class StoreError(HifiganError):
    """An object store cannot be reached, or refuses: its address, a bucket, the credentials or the network."""


class ServerError(HifiganError):
    """The server could not start: its address, token or packages."""


class RequestFailed(HifiganError):
    """A server refused a request of the client, or failed.

    Attributes:
        status: of HTTP; None for what happened on a stream or on this side.
        code: the server's word for it, such as "queue_full".
        request_id: under which the server's log has it.
        retry_after_seconds: when to try again, if the server said so.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class ServerUnreachable(RequestFailed):
    """Nothing answers at the server's address, the connection broke, or a package of the client is absent."""


class SlowEngineWarning(UserWarning):
    """An engine is slower than it should be on this machine; the text says why, or against what it was measured."""


class MelConventionWarning(UserWarning):
    """A mel's range looks like another convention than the model's; the text names the likely one."""


class ModelAssumptionWarning(UserWarning):
    """A model's files do not decide something that its audio depends on; the text says what was assumed."""


class UnknownSymbolWarning(UserWarning):
    """A voice lacks symbols of a text, which were left out; the text lists them."""


class PaddedTailWarning(UserWarning):
    """A mel is shorter than the shortest that a converted model takes; it was padded with silence, which its last
    samples hear."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" with the nearest of the known names, an empty text if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def shortage(error: BaseException) -> str | None:
    """What the system lacked where an error of Python's comes of that; None if it comes of something else."""
    if isinstance(error, MemoryError):
        return "out of memory"
    # Python has no class of its own for it.
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return "the system gives this process no more threads: raise its limits of processes and memory"
    return None


def error_text(error: BaseException) -> str:
    """An error as users are told of it: ours are written for them, of any other the type is half of what it says."""
    return str(error) if isinstance(error, HifiganError) else shortage(error) or f"{type(error).__name__}: {error}"
