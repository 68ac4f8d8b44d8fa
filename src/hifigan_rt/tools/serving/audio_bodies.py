"""Recordings in request bodies: whatever `hifigan_rt.audio` reads, made mono and resampled if the client allows."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass

from starlette.requests import Request

from hifigan_rt.audio import Recording, prepare, read_audio
from hifigan_rt.errors import AudioError
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.system.file_kinds import HEAD_BYTES, file_kind
from hifigan_rt.tools.serving.context import context_of
from hifigan_rt.tools.serving.errors import AnalysisUnavailable, AudioInvalid
from hifigan_rt.tools.serving.models import ModelLease
from hifigan_rt.tools.serving.request_bodies import check_not_stripped, damage_explained, read_body, while_connected

_SHORT_BYTES = 2 << 20
"""Largest recording that does not wait for others: a wav of 48 s."""


@dataclass(frozen=True)
class AnalysedRecording:
    """A recording and its mel."""

    mel: CheckedMel
    """float32 `[M, T]`, by the model's own settings."""
    sample_rate: int
    """Sample rate of the recording as it came, in Hz."""
    note: str | None
    """Remark about a recording that is odd, though it could be read."""


async def read_recording(
    request: Request, lease: ModelLease, *, resample_allowed: bool, mono_allowed: bool
) -> AnalysedRecording:
    """Read the recording of a request and compute its mel; the Content-Type is not looked at, but for a form's.

    Args:
        request: request whose body is a wav, flac, ogg or mp3.
        lease: model that tells the settings of the mel.
        resample_allowed: whether another sample rate than the model's may be converted.
        mono_allowed: whether several channels may be averaged.

    Raises:
        AnalysisUnavailable: the model's mel settings are not known.
        AudioInvalid: it cannot be read, or is not what the model takes and may not be converted.
        ClientDisconnect: the client went.
        ServingError: see `hifigan_rt.tools.serving.request_bodies.read_body`.
    """
    if lease.vocoder.mel_config is None:
        raise AnalysisUnavailable(
            f"model {lease.name!r} takes mels alone, at /v1/synthesize: its config does not state all mel settings "
            f"that the analysis of a recording needs; missing: {', '.join(lease.vocoder.model.missing_mel_fields)}"
        )
    context = context_of(request)
    body = await read_body(request, check_room=lambda: context.scheduler.check_room(lease))
    max_seconds = context.settings.max_mel_seconds
    threads = context.long_recordings if len(body) > _SHORT_BYTES else None
    analysing = asyncio.get_running_loop().run_in_executor(
        threads, _analysed, body, lease, max_seconds, resample_allowed, mono_allowed
    )
    return await while_connected(request.receive, analysing)


def _analysed(
    body: bytes, lease: ModelLease, max_seconds: float, resample_allowed: bool, mono_allowed: bool
) -> AnalysedRecording:
    check_not_stripped(body)
    try:
        with damage_explained(body):
            recording = _recording(body, max_seconds)
        _check_leave(recording, lease.sample_rate, resample_allowed, mono_allowed)
        samples = prepare(recording, lease.sample_rate, resample_allowed, mono_allowed)
        mel = lease.vocoder.mel(samples)
    except AudioError as error:
        raise AudioInvalid(str(error)) from error
    return AnalysedRecording(mel, recording.sample_rate, recording.note)


def _recording(body: bytes, max_seconds: float) -> Recording:
    what = file_kind(body[:HEAD_BYTES])
    if what is not None and what.holds == "array":
        raise AudioInvalid(f"the body is {what.name}, not a recording: /v1/synthesize takes mels")
    try:
        return read_audio(io.BytesIO(body), max_seconds)
    except AudioError as error:
        # The one way out that the decoder names is an option of another command.
        raise AudioInvalid(str(error).removesuffix(": --max-seconds raises it")) from error


def _check_leave(recording: Recording, sample_rate: int, resample_allowed: bool, mono_allowed: bool) -> None:
    """Name the query's flags, where `prepare` names those of the command line."""
    if recording.channels > 1 and not mono_allowed:
        raise AudioInvalid(
            f"the recording has {recording.channels} channels and the model takes one: mono=1 averages them"
        )
    if recording.sample_rate != sample_rate and not resample_allowed:
        raise AudioInvalid(
            f"the recording has {recording.sample_rate} Hz and the model {sample_rate} Hz: resample=1 converts it"
        )
