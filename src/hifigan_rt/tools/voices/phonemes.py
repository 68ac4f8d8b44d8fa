"""Makes sentences of phonemes from text, as a voice's type asks for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from hifigan_rt.errors import SpeechError
from hifigan_rt.tools.voices.clauses import Clause, find_sentences
from hifigan_rt.tools.voices.espeak import EspeakProcess
from hifigan_rt.tools.voices.settings import VoiceSettings
from hifigan_rt.tools.voices.symbols import merge_clusters

_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tab and line feed, and halves of characters, which no UTF-8 has."""
_TOGETHER = re.compile(r"\S{1,100}[\u0300-\u036f\u3099\u309a]{0,20}")
"""What is composed at once, no letter without its accents: a row of marks of many kinds takes time that grows with its
length's square."""
_LANGUAGE_SWITCH = re.compile(r"\([^)]+\)")
"""What espeak-ng prints around words that it reads by the rules of another language: "(en)hello(de)"."""
_REPAIRED = {"de": ("??", "ʊɐ")}
"""What espeak-ng 1.51 prints where it lacks a phoneme's sign in IPA, by language, with the sign that 1.52 has."""


MOST_SYMBOLS = 1000
"""Symbols of a sentence that is made of text: a longer one is cut after a clause, else at a space, else anywhere.

Sentences of words have fewer in what `clauses.LONGEST_BYTES` leaves of them; 800 bytes of pictures or of another
script, which is spelled, have several times as many, and take time and memory with their number's square."""


class Phonemizer:
    """What makes symbols of text for one voice. Safe to use from several threads."""

    def __init__(self, settings: VoiceSettings) -> None:
        self._settings = settings
        self._espeak = EspeakProcess(settings.language)

    def sentences(self, text: str) -> Iterator[list[str]]:
        """Give the symbols of one sentence after the other, as they are asked for.

        Args:
            text: of any length.

        Raises:
            PhonemizerError: espeak-ng is needed, and is absent or fails.
            SpeechError: the voice's phonemes are of a type that only Piper makes.
        """
        return (part for symbols in self._whole(without_unspeakable(text)) for part in _parts(symbols))

    def close(self) -> None:
        """End espeak-ng, if it runs."""
        self._espeak.close()

    def _whole(self, text: str) -> Iterator[list[str]]:
        if self._settings.phoneme_type == "text":
            return (self._letters("".join(part.text for part in sentence)) for sentence in find_sentences(text))
        if self._settings.phoneme_type != "espeak":
            raise SpeechError(
                f"{self._settings.place} has phoneme_type={self._settings.phoneme_type!r}, which packages of Piper's "
                "make of text: give ids, or phonemes, in place of text"
            )
        return self._spoken(text) if "[[" not in text else self._spoken_with_raw(text)

    def _letters(self, text: str) -> list[str]:
        """The symbols of text itself. A letter that the voice lacks is folded to lower case where it has that: the
        program that Piper's older voices were trained with folded all text, and these have no capitals."""
        found = []
        for symbol in _decomposed(text.strip()):
            folded = [symbol] if symbol in self._settings.ids else _decomposed(symbol.casefold())
            found += folded if self._settings.ids.keys() >= set(folded) else [symbol]
        return found

    def _spoken(self, text: str) -> Iterator[list[str]]:
        for clauses in find_sentences(_composed(text), self._settings.language):
            symbols = self._symbols(clauses)
            if symbols:
                yield symbols

    def _spoken_with_raw(self, text: str) -> Iterator[list[str]]:
        """Text with phonemes between, which belong to the sentence before and to that after them."""
        pending: list[str] = []
        before, after_raw = "", False
        for index, part in enumerate(_split_raw(text)):
            if index % 2:  # what stands between the brackets
                pending += [" "] * bool(pending and before.endswith(" ")) + _decomposed(part.strip())
                after_raw = True
                continue
            before = part
            for symbols in self._spoken(part):
                if after_raw:
                    pending += [" "] * part.startswith(" ") + symbols
                elif pending:
                    yield pending
                    pending = symbols
                else:
                    pending = symbols
                after_raw = False
        if pending:
            yield pending

    def _symbols(self, clauses: list[Clause]) -> list[str]:
        lines = self._espeak.phonemes("".join(clause.text for clause in clauses))
        if len(lines) == len(clauses) + 1 and not lines[-1]:
            lines.pop()  # a bracket after the last mark
        if len(lines) != len(clauses):
            # It cut the sentence in another way than the rules do: one clause after the other tells which is which.
            lines = [" ".join(filter(None, self._espeak.phonemes(clause.text))) for clause in clauses]
        spoken = []
        for line, clause in zip(lines, clauses, strict=True):
            line = line.replace(*_REPAIRED.get(self._settings.language, ("", "")))
            if phonemes := _LANGUAGE_SWITCH.sub("", line).strip():
                is_inside = clause.mark in (",", ":", ";") or (not clause.mark and clause is not clauses[-1])
                spoken.append(phonemes + clause.mark + " " * is_inside)
        symbols = _decomposed("".join(spoken))
        return merge_clusters(symbols, self._settings.clusters) if self._settings.clusters else symbols


def without_unspeakable(text: str) -> str:
    """Put spaces in the place of what nobody can speak: control characters and halves of surrogate pairs."""
    return _UNSPEAKABLE.sub(" ", text.replace("\r\n", "\n"))


def _parts(symbols: list[str]) -> Iterator[list[str]]:
    start = 0
    while len(symbols) - start > MOST_SYMBOLS:
        end = start + MOST_SYMBOLS
        spaces = [index + 1 for index in range(end - MOST_SYMBOLS // 2, end) if symbols[index] == " "]
        clauses = [space for space in spaces if symbols[space - 2] in (",", ":", ";")]
        end = (clauses or spaces or [end])[-1]
        yield symbols[start:end]
        start = end
    yield symbols[start:]


def _split_raw(text: str) -> Iterator[str]:
    """Text and phonemes in the middle of it, `[[həlˈoʊ]]` as Piper takes them, in turns; text is first and last.

    Each opening is looked for an end behind it only while there is one: else openings alone would take long.
    """
    start = 0
    while (opening := text.find("[[", start)) >= 0 and (end := text.find("]]", opening + 2)) >= 0:
        yield text[start:opening]
        yield text[opening + 2 : end]
        start = end + 2
    yield text[start:]


def _composed(text: str) -> str:
    """Text whose letters and their accents are one character each, of those that espeak-ng leaves out."""
    return _TOGETHER.sub(lambda found: unicodedata.normalize("NFC", found[0]), text)


def _decomposed(text: str) -> list[str]:
    return list(unicodedata.normalize("NFD", text))
