"""Models by name: loaded at start or on demand, and reloaded beside what still runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hifigan_rt.errors import ConfigError, HifiganError
from hifigan_rt.tools.serving.errors import (
    ModelUnavailable,
    ServingError,
    ShuttingDown,
    UnknownModel,
)
from hifigan_rt.tools.serving.leases import LoadedModel, ModelLease
from hifigan_rt.tools.serving.loading import VoiceSource, served_hop_length, warm_up
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.voices import Voice
from hifigan_rt.vocoder import Vocoder

logger = logging.getLogger(__name__)

Source = Callable[[], Vocoder | Voice]
"""What loads a model or a voice."""

ModelState = Literal["unloaded", "loading", "ready", "failed"]

_SECONDS_BETWEEN_FAILURES = 5.0
"""Time after which a model that could not be loaded is tried again."""


@dataclass(frozen=True)
class ModelStatus:
    """State of one model, for /readyz, lists of models and the page."""

    name: str
    state: ModelState
    engine: str | None = None
    """Name of the engine; None until the model is loaded, as all that follows."""
    precision: str | None = None
    sample_rate: int | None = None
    hop_length: int | None = None
    num_mels: int | None = None
    input_kind: str | None = None
    """What it takes: "mel" or "latent"."""
    num_speakers: int | None = None
    """Number of its speakers, who have numbers from 0 on; 0 if none is to be named."""
    speakers: Mapping[str, int] | None = None
    """Names of speakers, with their numbers."""
    conditioning_channels: int | None = None
    """Length of the vector that may be given in place of a speaker; 0 if none is taken."""
    takes_text: bool | None = None
    """Whether it is a voice, which speaks texts."""
    loads: int = 0
    """Number of times that it was loaded."""
    error: str | None = None
    """Reason why the last load failed, for the operator: it may name files."""


class ModelPool:
    """Named models. Names are the keys of a mapping: what a client sends is looked up there and nowhere else.

    All methods but `status` belong to the event loop.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        telemetry: Telemetry,
        *,
        loaded: Callable[[], None] = lambda: None,
    ) -> None:
        """Name the models; nothing is loaded yet.

        Args:
            sources: what loads each model, called in a thread of its own, anew at every reload; requests that name no
                model get the first.
            telemetry: where loads are counted.
            loaded: called after each load.

        Raises:
            ConfigError: there is no model.
        """
        if not sources:
            raise ConfigError("a server needs at least one model")
        self.default = next(iter(sources))
        """Name of the model of requests that name none."""
        self._telemetry = telemetry
        self._slots = {name: _Slot(name, load) for name, load in sources.items()}
        self._closed = False
        self._when_loaded = loaded

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all models, in the order given."""
        return tuple(self._slots)

    @property
    def voices(self) -> Mapping[str, VoiceSource]:
        """The sources that are known to be voices, by name, in the order given."""
        return {name: slot.load for name, slot in self._slots.items() if isinstance(slot.load, VoiceSource)}

    def unknown_voice(self, name: str) -> UnknownModel:
        """Say which voices there are to who asked for another."""
        known = f"choose {', '.join(self.voices)}" if self.voices else "this server has no voices"
        return UnknownModel(f"voice {name[:80]!r} is not known here: {known}")

    async def load(self, names: Sequence[str] | None = None) -> None:
        """Load models that are not loaded yet, one after the other; all of them by default.

        Raises:
            UnknownModel: there is none of such a name.
            ModelUnavailable: one could not be loaded.
        """
        for name in self.names if names is None else names:
            (await self.lease(name)).release()

    async def load_at_start(self, names: Sequence[str] | None = None) -> None:
        """Load models as `load` does; the operator is told what clients are not.

        Raises:
            HifiganError: why one could not be loaded.
        """
        try:
            await self.load(names)
        except ServingError as error:
            if isinstance(error.__cause__, HifiganError):
                raise error.__cause__ from None
            raise

    async def lease(self, name: str | None = None) -> ModelLease:
        """Take a model into use; loads it if it is not loaded.

        Args:
            name: of the model; None is the default one.

        Raises:
            UnknownModel: there is none of that name.
            ModelUnavailable: it could not be loaded.
            ShuttingDown: the pool is closed.
        """
        slot = self._slot(name)
        if slot.loaded is None:
            await self._load(slot)
        if self._closed or slot.loaded is None:
            raise ShuttingDown("the server is shutting down")
        return ModelLease(slot.loaded)

    async def reload(self, name: str | None = None) -> None:
        """Load a model anew; requests that run finish on the old one, which is closed after the last of them.

        Raises:
            UnknownModel: there is none of that name.
            ModelUnavailable: it could not be loaded; the old one stays in use.
            ShuttingDown: the pool is closed.
        """
        slot = self._slot(name)
        # A load that has begun may have read the file from before.
        while slot.task is not None:
            await asyncio.wait([slot.task])
        await self._load(slot, anew=True)

    async def reload_all(self) -> None:
        """Load anew what was loaded, or should have been; what cannot be loaded stays as it was, and is logged."""
        for status in self.statuses():
            if status.state not in ("ready", "failed"):
                continue
            try:
                await self.reload(status.name)
            except ServingError as error:
                logger.error("%s", error.message)  # noqa: TRY400 - the pool has logged why
            else:
                logger.info("model %r was loaded anew", status.name)

    def status(self, name: str | None = None) -> ModelStatus:
        """Tell the state of a model.

        Raises:
            UnknownModel: there is none of that name.
        """
        slot = self._slots[self._known(name)]
        if slot.loaded is None:
            return ModelStatus(slot.name, slot.state, loads=slot.loads, error=slot.error)
        vocoder = slot.loaded.vocoder
        info, rule = vocoder.engine_info, vocoder.speaker_choice.rule
        return ModelStatus(
            slot.name,
            "ready",
            info.name,
            info.precision,
            vocoder.sample_rate,
            slot.loaded.hop_length,
            vocoder.num_mels,
            "latent" if vocoder.takes_latents else "mel",
            rule.speakers if rule.takes_speakers else 0,
            dict(vocoder.speakers),
            rule.channels if rule.takes_vectors else 0,
            slot.loaded.voice is not None,
            slot.loads,
            slot.error,
        )

    def statuses(self) -> list[ModelStatus]:
        """Tell the states of all models, in the order given."""
        return [self.status(name) for name in self._slots]

    async def close(self) -> None:
        """Close every model as soon as its last lease is released; closing twice is allowed."""
        self._closed = True
        for slot in self._slots.values():
            if slot.task is not None:
                await asyncio.wait([slot.task])
            slot.put(None)

    def _known(self, name: str | None) -> str:
        name = self.default if name is None else name
        if name not in self._slots:
            shown = name if len(name) <= 80 else name[:80] + "..."
            raise UnknownModel(f"model {shown!r} is not known here: choose {', '.join(self._slots)}")
        return name

    def _slot(self, name: str | None) -> _Slot:
        slot = self._slots[self._known(name)]
        if self._closed:
            raise ShuttingDown("the server is shutting down")
        return slot

    async def _load(self, slot: _Slot, *, anew: bool = False) -> None:
        if slot.task is None:
            if not anew and time.monotonic() < slot.retry_at:
                raise ModelUnavailable(_text_of_failure(slot.name), slot.retry_at - time.monotonic())
            slot.task = asyncio.create_task(self._loading(slot))
        # Others may wait for the same load, so a client that goes must not end it.
        await asyncio.shield(slot.task)

    async def _loading(self, slot: _Slot) -> None:
        slot.state = "loading"
        try:
            loaded = await asyncio.to_thread(_loaded, slot.name, slot.load)
        except Exception as error:
            slot.state, slot.error = "failed", str(error)
            slot.retry_at = time.monotonic() + _SECONDS_BETWEEN_FAILURES
            self._telemetry.model_loaded(slot.name, "failed")
            if isinstance(error, HifiganError):
                logger.error("model %r could not be loaded: %s", slot.name, error)  # noqa: TRY400 - the text says it all
            else:
                logger.exception("model %r could not be loaded", slot.name)
            raise ModelUnavailable(_text_of_failure(slot.name), _SECONDS_BETWEEN_FAILURES) from error
        else:
            slot.state, slot.error = "ready", None
            slot.loads += 1
            self._telemetry.model_loaded(slot.name, "ok")
            slot.put(loaded)
            self._when_loaded()
        finally:
            slot.task = None


class _Slot:
    """Entry of the pool: how a model is loaded, and what is loaded now."""

    def __init__(self, name: str, load: Source) -> None:
        self.name, self.load = name, load
        self.loaded: LoadedModel | None = None
        self.task: asyncio.Task[None] | None = None
        self.retry_at = 0.0
        self.state: ModelState = "unloaded"
        self.error: str | None = None
        self.loads = 0

    def put(self, loaded: LoadedModel | None) -> None:
        before, self.loaded = self.loaded, loaded
        if before is not None:
            before.release()


def _loaded(name: str, load: Source) -> LoadedModel:
    loaded = load()
    vocoder, voice = (loaded.vocoder, loaded) if isinstance(loaded, Voice) else (loaded, None)
    for note in loaded.notes:
        logger.warning("model %r: %s", name, note)
    try:
        hop_length = served_hop_length(vocoder)
        warm_up(vocoder)
    except BaseException:
        loaded.close()
        raise
    return LoadedModel(name, vocoder, voice, hop_length)


def _text_of_failure(name: str) -> str:
    return f"model {name!r} could not be loaded: the server's log tells why"
