"""Voices as Wyoming's clients see them: the list of them, and which one a request means. Neither loads a voice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from hifigan_rt.errors import HifiganError
from hifigan_rt.tools.serving.errors import UnknownModel
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.voices import VoiceOutline

logger = logging.getLogger(__name__)


class VoiceList:
    """The voices of a server; belongs to the event loop."""

    def __init__(self, models: ModelPool) -> None:
        self._models = models
        self._read: dict[str, VoiceOutline] = {}
        self._faults: dict[str, str] = {}

    async def working(self) -> Mapping[str, VoiceOutline]:
        """List the voices that work, as far as that shows without loading them.

        Raises:
            ShuttingDown: the server is.
        """
        return {name: outline for name, outline in (await self._outlines()).items() if not self._has_failed(name)}

    async def choose(self, name: object, language: object) -> str | None:
        """Choose the voice of that name, else one that speaks the language, else the first; None if there is none.

        Of several in the language the exact region goes first, then what is not known to fail, then the order given.

        Args:
            name: of a voice; what is no text is not given.
            language: such as "de", "de-DE" or "de_de", likewise.

        Raises:
            UnknownModel: there is no such voice, or none of that language.
            ShuttingDown: the server is.
        """
        voices = self._models.voices
        if isinstance(name, str):
            if name not in voices:
                raise self._models.unknown_voice(name)
            return name
        if not isinstance(language, str):
            return next(iter(voices), None)
        known = await self._outlines()
        wanted = _parts(language)
        speaking = [name for name, outline in known.items() if _parts(outline.locale)[0] == wanted[0]]
        if not speaking:
            locales = sorted({outline.locale for outline in known.values() if outline.locale})
            raise UnknownModel(f"no voice here speaks language {language[:40]!r}: choose {', '.join(locales)}")
        return min(speaking, key=lambda name: (_parts(known[name].locale) != wanted, self._has_failed(name)))

    async def _outlines(self) -> Mapping[str, VoiceOutline]:
        """Outlines of all voices but those whose files are at fault."""
        found = {name: await self._outline(name) for name in self._models.voices}
        return {name: outline for name, outline in found.items() if outline is not None}

    async def _outline(self, name: str) -> VoiceOutline | None:
        if self._models.status(name).state == "ready":
            with await self._models.lease(name) as lease:
                assert lease.voice is not None  # noqa: S101 - its source loads voices
                return VoiceOutline(lease.voice.settings.locale, tuple(lease.voice.speakers))
        if name not in self._read:
            try:
                # In a thread: to step through a file takes a quarter of a second.
                self._read[name] = await asyncio.to_thread(self._models.voices[name].outline)
            except HifiganError as error:
                if self._faults.get(name) != str(error):
                    self._faults[name] = str(error)
                    logger.error("voice %r is left out: %s", name, error)  # noqa: TRY400 - the text says it all
                return None
        return self._read[name]

    def _has_failed(self, name: str) -> bool:
        return self._models.status(name).state == "failed"


def _parts(locale: str) -> list[str]:
    """Language and region."""
    return locale.replace("-", "_").casefold().split("_")
