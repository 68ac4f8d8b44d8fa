"""Loaded models in use: the last who gives one back closes it."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from hifigan_rt.engines.speakers import SpeakerChoice
from hifigan_rt.errors import ConditioningError, MelError
from hifigan_rt.mel.check import CheckedMel, check_mel, diagnose, in_words_of
from hifigan_rt.system.machine import give_back_memory
from hifigan_rt.tools.serving.errors import ConditioningInvalid, MelInvalid
from hifigan_rt.tools.voices import Voice
from hifigan_rt.vocoder import Vocoder


class LoadedModel:
    """Vocoder, its voice if it is one's, and the number of their users, the pool included; the last one closes them."""

    def __init__(self, name: str, vocoder: Vocoder, voice: Voice | None, hop_length: int) -> None:
        self.name, self.vocoder, self.voice, self.hop_length = name, vocoder, voice, hop_length
        self._users = 1
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Count a user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Count one less."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            (self.voice or self.vocoder).close()
            # In a thread, because this one may be the scheduler's.
            threading.Thread(target=give_back_memory, daemon=True).start()


class ModelLease:
    """A loaded model that stays loaded until `release`; also a context manager. Made by `ModelPool.lease`."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._released = False
        loaded.acquire()
        self.name = loaded.name
        """Name of the model in this server."""
        self.vocoder = loaded.vocoder
        """Vocoder of the model. Only the scheduler computes with it."""
        self.voice = loaded.voice
        """The voice whose generator the vocoder is; None for a vocoder alone."""
        self.sample_rate, self.hop_length = loaded.vocoder.sample_rate, loaded.hop_length
        """Sample rate in Hz, and number of samples per frame."""
        self.num_mels = loaded.vocoder.num_mels
        """Bands that a mel must have; None for a foreign file that leaves them open."""

    @property
    def speaker_choice(self) -> SpeakerChoice:
        """What the model takes beside a mel."""
        return replace(self.vocoder.speaker_choice, model=f"model {self.name!r}")

    def conditioning(self, speaker: object, vector: object = None, items: int = 1) -> np.ndarray | None:
        """Make what the engine takes beside mels.

        Args:
            speaker: number or name, or one for each mel; None is not given.
            vector: `[G]`, or `[B, G]`; None is not given.
            items: number of mels.

        Returns:
            int64 `[B]`, float32 `[B, G]`, or None.

        Raises:
            ConditioningInvalid: the model does not take it, or needs something.
        """
        try:
            return self.speaker_choice.conditioning(speaker, vector, items)
        except ConditioningError as error:
            raise ConditioningInvalid(str(error)) from error

    def audio_seconds(self, frames: int) -> float:
        """Tell the audio seconds that so many frames give."""
        return frames * self.hop_length / self.sample_rate

    def check_mel(self, mel: object) -> CheckedMel:
        """Check one mel and convert it.

        Returns:
            float32 `[M, T]`, C-contiguous.

        Raises:
            MelInvalid: it is no mel `[M, T]` that this model takes.
        """
        try:
            with in_words_of(latents=self.vocoder.takes_latents):
                return check_mel(mel, self.num_mels, single=True)
        except MelError as error:
            raise MelInvalid(str(error)) from error

    def diagnose(self, mel: np.ndarray) -> str | None:
        """Say what is odd about a checked mel: padding, or another convention; None if it may well be the model's."""
        config = self.vocoder.mel_config
        return None if config is None else diagnose(mel, config)

    def duplicate(self) -> ModelLease:
        """Take a second lease on the very same loaded model, whatever was reloaded since."""
        return ModelLease(self._loaded)

    def release(self) -> None:
        """Give it back; twice is allowed."""
        if not self._released:
            self._released = True
            self._loaded.release()

    def __enter__(self) -> ModelLease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
