"""Makes phoneme ids of symbols, as a voice numbers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hifigan_rt.errors import SpeechError, UnknownSymbolWarning
from hifigan_rt.system.arrays import Expected
from hifigan_rt.system.callers import warn_caller
from hifigan_rt.tools.voices.settings import END, PAD, START, VoiceSettings

MOST_IDS = 5000
"""Phoneme ids that one sentence may have: time and memory of the text part grow with their square."""

_IDS = Expected("list of ids", "numpy.load", SpeechError)


class SymbolTable:
    """A voice's symbols, with those that it was asked for and does not have."""

    def __init__(self, settings: VoiceSettings) -> None:
        self._known = settings.ids
        self.left_out: dict[str, None] = {}
        """Symbols that were left out, in the order of their first appearance."""

    def number(self, symbols: Sequence[str]) -> np.ndarray | None:
        """Number the symbols of a sentence: `^`, then each symbol, both with `_` behind, then `$`.

        Returns:
            int64 `[L]`; None if the voice has none of the symbols.

        Raises:
            SpeechError: the sentence is too long.
        """
        known = [symbol for symbol in symbols if symbol in self._known]
        self.left_out |= dict.fromkeys(symbol for symbol in symbols if symbol not in self._known)
        if not known:
            return None
        ids = [number for symbol in (START, *known) for number in (*self._known[symbol], *self._known[PAD])]
        ids += self._known[END]
        _check_length(len(ids))
        return np.array(ids, np.int64)

    def listed(self) -> str:
        """What was left out, for a text: the first ten symbols with their code points."""
        shown = [f"{symbol!r} ({' '.join(f'U+{ord(one):04X}' for one in symbol)})" for symbol in [*self.left_out][:10]]
        more = f" and {len(self.left_out) - 10} more" if len(self.left_out) > 10 else ""
        return ", ".join(shown) + more

    def warn(self) -> None:
        """Warn of what was left out, if anything was.

        Warns:
            UnknownSymbolWarning: it lists the symbols.
        """
        if self.left_out:
            text = f"symbols that the voice does not have were left out: {self.listed()}"
            warn_caller(text, UnknownSymbolWarning)


def check_ids(ids: object, table_size: int | None) -> np.ndarray:
    """Check ids that a caller passes.

    Args:
        ids: whole numbers `[L]`.
        table_size: of the voice's table of symbols; None if it is not known.

    Returns:
        int64 `[L]`.

    Raises:
        SpeechError: they are none, too many, or outside the table.
    """
    array = _IDS.array(ids)
    if array.size == 0:
        raise SpeechError("there are no ids: a sentence has some")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SpeechError(f"ids have shape {list(array.shape)} and dtype {array.dtype}: pass whole numbers [L]")
    _check_length(array.size)
    last = "" if table_size is None else f" to {table_size - 1}"
    wrong = (array < 0) | (array >= (table_size or np.iinfo(np.int64).max))
    if wrong.any():
        raise SpeechError(f"id {array[wrong.argmax()]} is outside the voice's table of symbols: ids go from 0{last}")
    return array.astype(np.int64)


def merge_clusters(symbols: Sequence[str], clusters: frozenset[tuple[str, ...]]) -> list[str]:
    """Make one symbol of each row of symbols that a voice has as one, the longest first."""
    lengths = sorted({len(cluster) for cluster in clusters}, reverse=True)
    merged: list[str] = []
    index = 0
    while index < len(symbols):
        length = next((n for n in lengths if tuple(symbols[index : index + n]) in clusters), 1)
        merged.append("".join(symbols[index : index + length]))
        index += length
    return merged


def _check_length(count: int) -> None:
    if count > MOST_IDS:
        raise SpeechError(f"a sentence of {count} phoneme ids is too long: at most {MOST_IDS}; give it in parts")
