"""Cuts text into the clauses that espeak-ng speaks, and these into sentences.

The rules are those that espeak-ng's clauses were seen to follow in 23 languages (`scripts/compare_phonemes` compares
them), since its program prints a line for each clause and leaves the marks out:

- A row of marks ends a clause if white space, a bracket, a quotation mark or the end follows; its first mark counts.
- A full stop does not, where white space and a small letter follow; in Georgian, which has no capitals, it does. So it
  does before Georgian letters where the language is not known, as in texts that come piece by piece.
- Three full stops, an ellipsis, ¿, ¡ and the marks of Chinese, Japanese, Hindi and Armenian end one anywhere.
- Marks before the first letter or digit of a clause end none.
- A sentence ends with . ? ! and their relatives, and with an empty line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_BYTES = 800
"""Longest sentence, in UTF-8: a longer one is cut after a clause, else at a space, else anywhere.

espeak-ng reads at most 999 bytes a line and cuts clauses of its own accord after 800; what comes before the first
audio, and memory, stay bounded too.
"""

_BEFORE_SPACE = {
    ".": ".", ",": ",", "?": "?", "!": "!", ":": ":", ";": ";", "—": ";", "–": ";", "؟": "?", "،": ",", "؛": ";",
    "۔": ".", "።": ".", "፣": ",", "᠂": ",",
}  # fmt: skip
"""Marks that end a clause where white space or the like follows, with the symbol that voices have for each."""

_ANYWHERE = {
    "…": False, "。": True, "，": False, "？": True, "！": True, "、": False, "：": False, "；": False, "।": True,
    "¿": False, "¡": False, "։": True,
}  # fmt: skip
"""Marks that end a clause wherever they stand and have no symbol, and whether a sentence ends too."""

_CLOSING = "()[]{}\"'“”’‘«»‹›„‚"
_ROW = re.compile(rf"(?P<marks>[{re.escape(''.join((*_BEFORE_SPACE, *_ANYWHERE)))}]+)|\n[^\S\n]*\n\s*")
_SAID = frozenset("#%&*+=@/~$€£¥°§<>^|\\")
_WITHOUT_CAPITALS = ("ka",)


class Clause(NamedTuple):
    """What is spoken in one go."""

    text: str
    """The clause with its marks."""
    mark: str
    """Symbol at its end: one of . , ? ! : ; or empty."""
    ends_sentence: bool


def find_sentences(text: str, language: str = "") -> Iterator[list[Clause]]:
    """Cut text into sentences of at most `LONGEST_BYTES`, each a list of clauses; one after the other, as they are
    asked for.

    Args:
        text: of any length.
        language: espeak-ng's name of it; empty if it is not known.
    """
    sentence: list[Clause] = []
    size = 0
    for clause in find_clauses(text, language):
        for part in _cut_long(clause):
            part_size = len(part.text.encode())
            if sentence and size + part_size > LONGEST_BYTES:
                yield sentence
                sentence, size = [], 0
            sentence.append(part)
            size += part_size
            if part.ends_sentence:
                yield sentence
                sentence, size = [], 0
    if sentence:
        yield sentence


def find_clauses(text: str, language: str = "") -> Iterator[Clause]:
    """Cut text into clauses; what has nothing to say at its end goes with none."""
    start = searched = 0
    has_word = False
    for row in _ROW.finditer(text):
        if row["marks"] is None:
            mark, ends_sentence = "", True
        elif row["marks"][0] in _ANYWHERE or row["marks"].startswith("..."):
            mark, ends_sentence = "", _ANYWHERE.get(row["marks"][0], False)
        elif _ends_clause(row, text, language):
            mark = _BEFORE_SPACE[row["marks"][0]]
            ends_sentence = mark in ".?!"
        else:
            continue
        # What was searched before is not again: marks alone would take time that grows with their number's square.
        has_word = has_word or any(map(str.isalnum, text[searched : row.start()]))
        searched = row.end()
        if has_word:
            yield Clause(text[start : row.end()], mark, ends_sentence)
            start, has_word = row.end(), False
    if any(map(_is_said, text[start:])):
        yield Clause(text[start:], "", ends_sentence=True)


def _ends_clause(row: re.Match[str], text: str, language: str) -> bool:
    after = text[row.end() : row.end() + 1]
    if after and not after.isspace() and after not in _CLOSING:
        return False
    if row["marks"][0] != "." or after not in (" ", "\t") or language.partition("-")[0] in _WITHOUT_CAPITALS:
        return True
    position = row.end()
    while text[position : position + 1] in (" ", "\t"):
        position += 1
    following = text[position : position + 1]
    # Unicode calls Georgian letters small, and gives them no capital that begins a word.
    has_capital = following.title() != following or bool(language)
    return not (following.islower() and has_capital)


def _is_said(character: str) -> bool:
    return character in _SAID or unicodedata.category(character)[0] in "LNS"


def _cut_long(clause: Clause) -> Iterator[Clause]:
    """The parts of a clause that fit into a sentence."""
    text, start = clause.text, 0
    while len(ahead := text[start : start + LONGEST_BYTES + 1].encode()) > LONGEST_BYTES:
        head = ahead[:LONGEST_BYTES].decode(errors="ignore")
        space = head.rfind(" ")
        head = head[: space + 1] if space > 0 else head
        yield Clause(head, "", ends_sentence=False)
        start += len(head)
    yield Clause(text[start:], clause.mark, clause.ends_sentence)
