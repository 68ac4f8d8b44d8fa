"""Makes piper_phonemes.json: Piper's own phonemes of 20 sentences, and how many of all sentences give equal ones here.

The sentences are in piper_phonemes.txt: 42 in each of five languages. Piper brings a newer espeak-ng of its own, so its
phonemes of each clause differ from those of the program that is installed. What remains is ours, so it is counted
apart: our sentences with Piper's phonemes of each clause.
"""

# needs: piper-tts==1.8.0

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from piper.phonemize_espeak import EspeakPhonemizer

from hifigan_rt.engines.text_part import Scales
from hifigan_rt.tools.voices.espeak import PROGRAM
from hifigan_rt.tools.voices.phonemes import Phonemizer
from hifigan_rt.tools.voices.settings import VoiceSettings

HERE = Path(__file__).parent
RECORD = HERE / "piper_phonemes.json"
KEPT = 4
"""Sentences of each language in the record, those with the most marks of the ones that are equal."""


class PipersClauses(Phonemizer):
    """Our sentences, with the phonemes that Piper's espeak-ng gives for each of their clauses."""

    def __init__(self, settings: VoiceSettings, piper: EspeakPhonemizer) -> None:
        super().__init__(settings)
        self._language = settings.language
        self._espeak.phonemes = self._clauses  # type: ignore[method-assign]

    def _clauses(self, text: str) -> list[str]:
        from piper import espeakbridge

        espeakbridge.set_voice(self._language)
        return [phonemes for phonemes, _, _ in espeakbridge.get_phonemes(text)]


def settings(language: str) -> VoiceSettings:
    return VoiceSettings("", "espeak", language, "", {}, frozenset(), Scales(0, 1, 0), 0, None)


def kind(theirs: list[list[str]], ours: list[list[str]], with_their_clauses: list[list[str]]) -> str:
    """Why two lists of sentences differ."""
    spoken = [sentence for sentence in theirs if sentence]
    joined = ["".join(sentence).replace(" ", "") for sentence in spoken]
    if ours == theirs:
        return "equal"
    if ours == spoken:
        return "an empty sentence after a closing mark, which is left out here"
    if ours == with_their_clauses and ["".join(sentence).replace(" ", "") for sentence in ours] == joined:
        return "a space where Piper joins words at a mark without symbol, as after three full stops"
    if with_their_clauses == spoken:
        return "another version of espeak-ng"
    if ["".join(sentence).replace(" ", "") for sentence in with_their_clauses] == joined:
        return "another version of espeak-ng, and such a space"
    return "unexplained"


def compare() -> dict[str, object]:
    piper = EspeakPhonemizer()
    kinds: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    kept: dict[str, list[tuple[str, list[str]]]] = {}
    for line in (HERE / "piper_phonemes.txt").read_text(encoding="utf-8").splitlines():
        language, text = line.split("\t")
        theirs = piper.phonemize(language, text)
        own, mixed = Phonemizer(settings(language)), PipersClauses(settings(language), piper)
        ours, with_their_clauses = list(own.sentences(text)), list(mixed.sentences(text))
        own.close()
        told = kind(theirs, ours, with_their_clauses)
        kinds[told] += 1
        equal[language] += told == "equal"
        if told == "unexplained":
            print(text, theirs, ours, with_their_clauses, sep="\n  ")
        if told == "equal":
            kept.setdefault(language, []).append((text, ["".join(sentence) for sentence in theirs]))
    chosen = {
        language: dict(sorted(pairs, key=lambda pair: -sum(not one.isalnum() for one in pair[0]))[:KEPT])
        for language, pairs in kept.items()
    }
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return {
        "espeak-ng": version[version.index("text-to-speech:") + 1],
        "sentences": sum(kinds.values()),
        "kinds": dict(kinds.most_common()),
        "equal": dict(equal),
        "phonemes": chosen,
    }


if __name__ == "__main__":
    found = compare()
    print(json.dumps({name: value for name, value in found.items() if name != "phonemes"}, indent=2))
    if "--check" not in sys.argv:
        RECORD.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    elif found["espeak-ng"] == (record := json.loads(RECORD.read_text(encoding="utf-8")))["espeak-ng"]:
        sys.exit(found != record)
    else:  # another version of the program: only what is ours is held
        sys.exit("unexplained" in found["kinds"])  # type: ignore[operator]
