"""Refuses a generator that has what an engine does not compute, so that nothing is computed wrongly."""

from __future__ import annotations

from collections.abc import Collection

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import EngineError


def refuse_unusual(engine: str, config: GeneratorConfig, known: Collection[str] = ()) -> None:
    """Refuse a generator that has something beyond the original's which the engine does not compute.

    Args:
        engine: its name, for texts.
        config: of the generator.
        known: fields of `GeneratorConfig.unusual_features` that the engine follows.

    Raises:
        EngineError: the text names what it does not follow.
    """
    beyond = [text for name, text in config.unusual_features.items() if name not in known]
    if beyond:
        raise EngineError(
            f"engine {engine!r} does not compute {' and '.join(beyond)}, which this generator has: use engine "
            "'reference'"
        )
