"""Loads models as a server wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hifigan_rt.engines import choose_engine
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.vocoder import Vocoder, load

WHOLE_SEGMENT_FRAMES = 64
"""Frames of a whole mel that the native engine computes together while it serves, since live streams wait for them.

Of LJSpeech V1 they take 0.08 s on two cores. The engine's own 256 frames take 0.3 s, in which listeners hear silence,
and in all 3 % less (native/NOTES.md)."""


def load_to_serve(
    model: str | Path, *, engine: str = "auto", segment_frames: int | None = None, **options: Any
) -> Vocoder:
    """Load a model as `hifigan_rt.load` does, on engine native in segments that live streams can wait for.

    Args:
        model: name or file.
        engine: as for `load`.
        segment_frames: frames computed together; `WHOLE_SEGMENT_FRAMES` by default.
        options: others of `load`.

    Raises:
        HifiganError: see `load`.
    """
    resolved = resolve_model(model, *(options.pop(name, None) for name in ("config", "weights_at", "family")))
    own = [name for name in ("execution_provider", "plan") if options.get(name) is not None]
    chosen = choose_engine(engine, type(resolved), settings=[*own, *(options.get("settings") or {})])
    if chosen == "native" and segment_frames is None and "segment_frames" not in (options.get("settings") or {}):
        segment_frames = WHOLE_SEGMENT_FRAMES
    return load(resolved, engine=chosen, segment_frames=segment_frames, **options)
