"""Recordings in request bodies: whatever `hifigan_rt.audio` reads, made mono and resampled if the client allows."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request

from hifigan_rt.audio.conversion import check_conversion, convert_blocks
from hifigan_rt.audio.decoding import RecordingReader, open_recording
from hifigan_rt.audio.lengths.pieces import pieced_file
from hifigan_rt.errors import AudioError
from hifigan_rt.mel.analysis import MelAnalysis
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.system.file_kinds import HEAD_BYTES, file_kind
from hifigan_rt.tools.serving.audio_responses import AudioOptions
from hifigan_rt.tools.serving.context import context_of, record_of
from hifigan_rt.tools.serving.errors import AnalysisUnavailable, AudioInvalid
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.mel_bodies import check_length
from hifigan_rt.tools.serving.memory_costs import RECORDING_BYTES, REQUEST_BYTES, answer_bytes, mel_bytes
from hifigan_rt.tools.serving.request_bodies import check_not_stripped, damage_explained, read_body, while_connected

_SHORT_SECONDS = 60
"""Longest recording that does not wait for others."""

_LIKELY_SAMPLES_PER_BYTE = 2
"""Samples that a byte of a recording becomes, until the recording tells: somewhat more than in most flac."""


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
    request: Request, lease: ModelLease, options: AudioOptions, *, resample_allowed: bool, mono_allowed: bool
) -> AnalysedRecording:
    """Read the recording of a request, compute its mel, and count the memory of its answer.

    The Content-Type is not looked at, but for a form's.

    Args:
        request: request whose body is a wav, flac, ogg or mp3.
        lease: model that tells the settings of the mel.
        options: of the answer.
        resample_allowed: whether another sample rate than the model's may be converted.
        mono_allowed: whether several channels may be averaged.

    Raises:
        AnalysisUnavailable: the model's mel settings are not known.
        AudioInvalid: it cannot be read, or is not what the model takes and may not be converted.
        PayloadTooLarge: it is longer than `max_mel_seconds`, or than the budget of memory could ever hold.
        QueueFull, ShuttingDown: it was not analysed, since it would wait too long.
        ClientDisconnect: the client went.
        ServingError: see `hifigan_rt.tools.serving.request_bodies.read_body`.
    """
    if lease.vocoder.takes_latents:
        raise AnalysisUnavailable(
            f"model {lease.name!r} takes latents, which another network computes, and no recording has one: "
            "send latents to /v1/synthesize"
        )
    if lease.vocoder.mel_config is None:
        raise AnalysisUnavailable(
            f"model {lease.name!r} takes mels alone, at /v1/synthesize: its config does not state all mel settings "
            f"that the analysis of a recording needs; missing: {', '.join(lease.vocoder.model.missing_mel_fields)}"
        )
    context, record = context_of(request), record_of(request)
    settings = context.settings

    def becomes(frames: int) -> int:
        # The mel twice: in the pieces that come out of the analysis, and whole.
        answer = answer_bytes(lease, frames, options.format, settings, streamed=options.streamed)
        return RECORDING_BYTES + 2 * mel_bytes(lease.num_mels or 0, frames) + answer

    def likely(body_bytes: int) -> int:
        return becomes(body_bytes * _LIKELY_SAMPLES_PER_BYTE // lease.hop_length)

    def check_room(frames: int = 0) -> None:
        context.scheduler.check_room(lease, frames, client=record.client, streamed=options.streamed)

    body = await read_body(request, check_room=check_room, becomes=likely)
    held = REQUEST_BYTES + len(body)
    with contextlib.ExitStack() as opened:
        with _told(body):
            # In a thread whatever its size: what a few bytes of odd containers take is not bounded by their number.
            reader = await asyncio.to_thread(lambda: opened.enter_context(_opened(body, settings.max_mel_seconds)))
            check_conversion(
                reader.sample_rate, reader.channels, None, lease.sample_rate, resample_allowed=resample_allowed,
                mono_allowed=mono_allowed, leave="{}=1",
            )  # fmt: skip
        # Of the samples that the recording states; 0 if it states none.
        frames = (reader.samples or 0) * lease.sample_rate // reader.sample_rate // lease.hop_length
        check_length(lease, frames, settings.max_mel_seconds)
        check_room(frames)
        await context.memory.reserve(record, held + becomes(frames))

        def count(frames: int) -> None:
            context.memory.grow(record, max(record.held_bytes, held + becomes(frames)))

        is_long = reader.samples is None or reader.samples > _SHORT_SECONDS * reader.sample_rate

        def analysed(given_up: threading.Event) -> AnalysedRecording:
            with _told(body), context.pieces.in_thread() if is_long else contextlib.nullcontext() as rest_seconds:
                mel = _analysed(reader, lease, given_up, count, rest_seconds)
            return AnalysedRecording(mel, reader.sample_rate, reader.note)

        threads = context.long_recordings if is_long else context.short_recordings
        work = threads.run(record.client, analysed, patient=True)
        return await while_connected(request.receive, work)


@contextlib.contextmanager
def _told(body: bytes | bytearray) -> Iterator[None]:
    """Tell errors of a recording as the server's, with what happened to the body on its way."""
    with damage_explained(body):
        try:
            yield
        except AudioError as error:
            # The one way out that the decoder names is an option of another command.
            raise AudioInvalid(str(error).removesuffix(": --max-seconds raises it")) from error


def _opened(body: bytes | bytearray, max_seconds: float) -> contextlib.AbstractContextManager[RecordingReader]:
    check_not_stripped(body)
    what = file_kind(bytes(body[:HEAD_BYTES]))
    if what is not None and what.holds == "array":
        raise AudioInvalid(f"the body is {what.name}, not a recording: /v1/synthesize takes mels")
    return open_recording(pieced_file(io.BytesIO(), memoryview(body)), max_seconds)


def _analysed(
    reader: RecordingReader,
    lease: ModelLease,
    given_up: threading.Event,
    count: Callable[[int], None],
    rest_seconds: Callable[[float], float] | None,
) -> CheckedMel:
    config = lease.vocoder.mel_config
    assert config is not None  # noqa: S101 - checked before the body was read
    analysis = MelAnalysis(config)
    pieces = []
    began = time.perf_counter()
    for block in convert_blocks(reader.blocks(), reader.sample_rate, lease.sample_rate):
        if given_up.is_set():
            raise AudioInvalid("nobody waits for it any more")
        count((analysis.samples + len(block)) // lease.hop_length)
        pieces.append(analysis.push(block))
        if rest_seconds is not None:
            given_up.wait(rest_seconds(time.perf_counter() - began))
            began = time.perf_counter()
    pieces.append(analysis.finish())
    return CheckedMel(np.concatenate(pieces, axis=1))
