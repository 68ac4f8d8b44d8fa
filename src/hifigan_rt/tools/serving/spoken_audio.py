"""Audio of a text: the latents of each sentence in a thread, their audio from the scheduler."""

from __future__ import annotations

import asyncio
import logging
from typing import Self

import numpy as np

from hifigan_rt.errors import ConditioningError, HifiganError, PhonemizerError, SpeechError
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.context import Context, RequestRecord
from hifigan_rt.tools.serving.errors import (
    BadRequest,
    ConditioningInvalid,
    ModelUnavailable,
    PayloadTooLarge,
    ServingError,
    as_serving_error,
)
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from hifigan_rt.tools.voices.speaking import Utterance

logger = logging.getLogger(__name__)

SPEECH_BYTES = 32 << 20
"""Memory of a text that is spoken: latents of two sentences, and audio that was not sent yet. What computing latents
takes is not a request's: two sentences are computed at once, whoever asks, and none is long."""

_CHARACTERS_PER_SECOND = 14.0
"""Roughly, of European languages: what a text would take of the queue, before its length is known."""


def begin_speech(
    context: Context,
    record: RequestRecord,
    lease: ModelLease,
    text: str,
    speaker: str | int | None,
    speed: float = 1.0,
    *,
    begun: bool = False,
) -> SpokenAudio:
    """Begin to speak a text; nothing is computed yet.

    Args:
        context: parts of the server.
        record: the request's record.
        lease: the voice; it may be released at once.
        text: what is spoken.
        speaker: number or name; None is the voice's own.
        speed: 1 is the voice's own.
        begun: whether it goes on a text of which something was heard: then it waits as long as it takes.

    Raises:
        BadRequest: the model is no voice, or the text cannot be spoken.
        ConditioningInvalid: a speaker that the voice does not have.
        PayloadTooLarge: the text is longer than `max_mel_seconds` by its characters.
        QueueFull, ShuttingDown: it would wait too long.
    """
    if lease.voice is None:
        raise BadRequest(f"model {lease.name!r} is a vocoder, which takes no text: name a voice of this server")
    seconds, most = len(text) / _CHARACTERS_PER_SECOND / speed, context.settings.max_mel_seconds
    if seconds > most:
        raise PayloadTooLarge(
            f"the text has {len(text)} characters, about {seconds:.0f} s of audio: at most {most:g} s are taken; send "
            "it in parts"
        )
    frames = int(seconds / lease.audio_seconds(1))
    if not begun:
        context.scheduler.check_room(lease, frames, client=record.client, streamed=True)
    try:
        length_scale = lease.voice.settings.scales.length / speed
        utterance = lease.voice.utterance(text, speaker=speaker, length_scale=length_scale)
    except ConditioningError as error:
        raise ConditioningInvalid(_told(lease, error)) from error
    except SpeechError as error:
        raise BadRequest(_told(lease, error)) from error
    return SpokenAudio(context, record, lease, utterance, begun=begun)


def _told(lease: ModelLease, error: Exception) -> str:
    """The text of an error, with the name that clients know in place of the file's."""
    return str(error).replace(lease.vocoder.name, f"voice {lease.name!r}")


class SpokenAudio:
    """Pieces of audio, float32 `[n]`, one sentence after the other: an asynchronous iterator, which must be closed.

    Each sentence is a request of its own to the scheduler. The next one is prepared as soon as the present one has
    given its first audio.
    """

    def __init__(
        self, context: Context, record: RequestRecord, lease: ModelLease, utterance: Utterance, *, begun: bool
    ) -> None:
        self._context, self._record, self._utterance = context, record, utterance
        self._lease = lease.duplicate()
        needed = lease.speaker_choice.rule.is_needed
        self._conditioning = lease.conditioning(utterance.speaker) if needed else None
        self._job: StreamJob | None = None
        self._following: asyncio.Task[np.ndarray | None] | None = None
        self._begun = begun

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> np.ndarray:
        """Give the next samples, as soon as they are computed.

        Raises:
            BadRequest: nothing of the text can be spoken.
            ModelUnavailable: espeak-ng is absent or fails; the log tells why.
            ServingError: the queue is full, or the engine failed.
        """
        while True:
            if self._job is None:
                latents = await (self._latents() if self._following is None else self._following)
                self._following = None
                if latents is None:
                    if self._utterance.table.left_out:  # for the log: the headers have left
                        self._record.facts["left_out"] = self._utterance.table.listed()
                    raise StopAsyncIteration
                self._job = self._queued(CheckedMel(latents))
            try:
                audio = await anext(self._job)
            except StopAsyncIteration:
                self._job.close()
                self._job = None
                continue
            if self._following is None:
                self._following = asyncio.ensure_future(self._latents())
                # Looked at whatever becomes of the stream: asyncio logs errors that nobody takes.
                self._following.add_done_callback(lambda done: done.cancelled() or done.exception())
            return audio

    def close(self) -> None:
        """Stop the computing, and drop what was not taken; closing twice is allowed."""
        if self._job is not None:
            self._job.close()
        if self._following is not None:
            self._following.cancel()
            self._following = None  # whose error holds this, see `let_go`
        self._lease.release()

    async def _latents(self) -> np.ndarray | None:
        try:
            return await self._context.text_parts.run(
                self._record.client, lambda _: self._utterance.next_latents(), patient=self._begun
            )
        except PhonemizerError as error:
            logger.error("voice %r: %s", self._lease.name, error)  # noqa: TRY400 - the text says it all
            raise ModelUnavailable(
                f"voice {self._lease.name!r} cannot make phonemes: the server's log tells why"
            ) from error
        except SpeechError as error:
            raise BadRequest(_told(self._lease, error)) from error
        except ServingError:
            raise  # the queue's refusals, which are no failures
        except HifiganError as error:
            logger.error("voice %r: %s", self._lease.name, error)  # noqa: TRY400 - likewise
            raise as_serving_error(error) from error

    def _queued(self, latents: CheckedMel) -> StreamJob:
        # Who has heard the beginning of a text waits; who has not yet is refused.
        job = self._context.scheduler.stream_request(
            self._lease, latents, self._conditioning, client=self._record.client, goes_on=self._begun
        )
        self._begun = True
        return job
