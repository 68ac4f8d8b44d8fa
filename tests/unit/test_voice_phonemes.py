"""Phonemes of text: those that Piper makes, and what is said where espeak-ng is absent, hangs or is something else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import unicodedata
from pathlib import Path

import pytest

from fake_tools import put_on_path
from hifigan_rt.engines.text_part import Scales
from hifigan_rt.errors import PhonemizerError, SpeechError
from hifigan_rt.tools.voices.espeak import EspeakProcess
from hifigan_rt.tools.voices.phonemes import MOST_SYMBOLS, Phonemizer
from hifigan_rt.tools.voices.settings import VoiceSettings
from hifigan_rt.tools.voices.symbols import merge_clusters
from waiting import at_once

RECORD = json.loads((Path(__file__).parents[1] / "golden" / "families" / "piper_phonemes.json").read_text("utf-8"))
MARKS = re.compile(r"[^.,?!:; ]+")


def settings(language="en-us", phoneme_type="espeak", clusters=(), symbols=""):
    ids = dict.fromkeys(symbols, (0,))
    return VoiceSettings("a test", phoneme_type, language, "", ids, frozenset(clusters), Scales(0, 1, 0), 0, None)


@pytest.fixture
def phonemizer():
    made = []

    def make(*arguments, **words):
        made.append(Phonemizer(settings(*arguments, **words)))
        return lambda text: ["".join(sentence) for sentence in made[-1].sentences(text)]

    yield make
    for one in made:
        one.close()


@pytest.mark.espeak
@pytest.mark.parametrize("language", RECORD["phonemes"])
def test_phonemes_are_those_of_piper(phonemizer, language):
    make = phonemizer(language)
    told = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    same_version = f" {RECORD['espeak-ng']} " in told
    for text, expected in RECORD["phonemes"][language].items():
        found = make(text)
        # Words change from one version of espeak-ng to the next; sentences and marks are ours.
        assert [MARKS.sub("w", one) for one in found] == [MARKS.sub("w", one) for one in expected]
        assert found == expected or not same_version


@pytest.mark.espeak
def test_what_differs_from_piper_on_purpose(phonemizer):
    english = phonemizer()
    assert english("paused... then") == ["pˈɔːzd ðˈɛn"]  # where Piper joins the words
    assert english('"Stop."') == ["stˈɑːp."]  # where Piper adds an empty sentence
    assert phonemizer("de")("wurde") == ["vˈʊɐdə"]  # where espeak-ng 1.51 prints two question marks


@pytest.mark.espeak
@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "Äpfel über"), ("vi", "Tiếng Việt rất đẹp"), ("ko", "한국어"), ("en-us", "café a" + "é" * 150)],
)
def test_accents_apart_from_their_letters_are_spoken(phonemizer, language, text):
    """espeak-ng leaves them out: "Äpfel" was "Apfel"."""
    make = phonemizer(language)
    assert make(unicodedata.normalize("NFD", text)) == make(text)


@pytest.mark.espeak
def test_phonemes_in_brackets_are_taken_as_they_are(phonemizer):
    english = phonemizer()
    assert english("Hello [[ wˈɜːld ]] again. [[x]] Two. Three.") == ["həlˈoʊ wˈɜːld ɐɡˈɛn. x tˈuː.", "θɹˈiː."]
    assert english("[[wˈɜːld]]") == ["wˈɜːld"]
    assert english("a [[ b") == ["ɐ bˈiː"]
    assert english("[[[hello") == english("[[[[[hello") == ["həlˈoʊ"]


@pytest.mark.espeak
def test_a_long_text_and_several_threads(phonemizer):
    english = phonemizer()
    expected = english("Hello there. How are you?")
    assert at_once(lambda _: english("Hello there. How are you? " * 5), range(4)) == [expected * 5] * 4
    assert "".join(english("word " * 300)).replace(" ", "") == "wˈɜːd" * 300


@pytest.mark.espeak
def test_a_language_that_espeak_ng_does_not_have():
    process = EspeakProcess("xx-none")
    with pytest.raises(PhonemizerError, match="does not know the language 'xx-none': 'espeak-ng --voices' lists"):
        process.phonemes("Hello")
    process.close()


@pytest.mark.espeak
def test_a_process_that_was_ended_is_started_again():
    process = EspeakProcess("en-us")
    expected = process.phonemes("Hello")
    process._process.kill()
    with pytest.raises(PhonemizerError, match="SIGKILL"):
        process.phonemes("Hello")
    assert process.phonemes("Hello") == expected
    process.close()
    process.close()
    with pytest.raises(PhonemizerError, match="closed"):  # nobody would end it again
        process.phonemes("Hello")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "which is not on the PATH: apt-get install espeak-ng"),
        ("sleep 600", "gave no answer within 0.3 s and was ended"),
        ("read a; echo x; sleep 600", "gave no answer within 0.3 s and was ended"),
        ("cat", "is it espeak-ng"),
        ("echo Hello", "ended with status 0|printed nothing"),
        ("echo broken >&2; exit 3", "its process ended with status 3: broken"),
        ("while read a; do echo x; done", "printed nothing for 'Hello'"),
        ("read a; echo end; read a; while :; do echo nonsense; done", "printed more than 262144 bytes"),
        ("read a; echo end; read a; printf '\\377\\n'; read a; echo end", "printed what is no text"),
    ],
)
def test_a_program_that_is_no_espeak_ng(tmp_path, monkeypatch, script, told):
    put_on_path(tmp_path / "bin", {} if script is None else {"espeak-ng": script}, monkeypatch)
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    process = EspeakProcess("en-us", timeout_s=0.3 if "gave no answer" in told else 60)
    with pytest.raises(PhonemizerError, match=told):
        process.phonemes("Hello")
    assert process._process is None
    process.close()


def test_text_voices_need_no_program(phonemizer, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    text = phonemizer("", phoneme_type="text")
    assert text("Ça va? Oui.") == ["C\u0327a va?", "Oui."]


def test_capitals_that_a_text_voice_lacks_are_folded_as_its_training_did(phonemizer):
    old = phonemizer("", phoneme_type="text", symbols="привітs \u0306\u0308.")
    assert old("Привіт. Їй.") == ["привіт.", "і\u0308и\u0306."]
    assert old("ß Ж") == ["ss Ж"]  # what it has not at all is told as it was written
    assert phonemizer("", phoneme_type="text", symbols="aAb")("AB") == ["Ab"]


@pytest.mark.parametrize(
    ("sentence", "lengths"),
    [
        ("aaaa " * 120 + "aaaa, " + "aaaa " * 100 + "aaaa", [606, 504]),
        ("aaa, " + "aaaa " * 399 + "aaaa", [1000, 1000, 4]),
        ("aaaaa " * 300 + "aaaaa", [996, 809]),
        ("aaaa " * 50 + "a" * 2000, [1000, 1000, 250]),
        ("a" * 1000, [1000]),
    ],
    ids=["after a clause", "not after a short one", "at a space", "anywhere", "nowhere"],
)
def test_a_sentence_of_too_many_symbols_is_cut(phonemizer, monkeypatch, sentence, lengths):
    monkeypatch.setattr("hifigan_rt.tools.voices.clauses.LONGEST_BYTES", 1 << 20)
    found = phonemizer("", phoneme_type="text")(sentence)
    assert "".join(found) == sentence
    assert list(map(len, found)) == lengths
    assert max(lengths) <= MOST_SYMBOLS


@pytest.mark.espeak
def test_signs_of_which_espeak_ng_says_what_it_said_before_are_passed_over(phonemizer):
    mandarin = phonemizer("cmn")
    (expected,) = mandarin("一")
    assert mandarin("♀") == []
    assert mandarin("♀\n\n一") == mandarin("♂ 一") == [expected]


@pytest.mark.espeak
def test_mandarin_is_not_read_as_english(phonemizer):
    """As espeak-ng 1.51 does by that name: "(en)nɪ5θɹˈiː5 hˌeɪ5ə5θɹˈiː5(cmn)"."""
    mandarin = phonemizer("cmn")
    for _ in range(2):
        ((first, rest),) = (said.split(" s.ˈ") for said in mandarin("你好，世界。"))
        assert first in ("nˈiɜ χˈɑu2", "ni2χˈɑu2", "niɜχˈɑu2")  # by espeak-ng's version, 1.52 the last
        assert rest == "i.5 tɕˈiɛ5"


@pytest.mark.espeak
def test_what_espeak_ng_complains_of_is_not_kept():
    process = EspeakProcess("vi")
    process.phonemes("\u2028𝒜 " * 20 + "x")
    process._errors.write(b"a complaint")  # where the program writes
    process.phonemes("x")
    assert os.fstat(process._errors.fileno()).st_size == 0
    process.close()


@pytest.mark.espeak
def test_what_espeak_ng_spells_at_length_is_cut_too(phonemizer):
    found = phonemizer()("你好世界" * 100)  # each a word of six phonemes in English
    assert len(found) > 2
    assert all(len(part) <= MOST_SYMBOLS for part in found)


def test_types_that_only_piper_makes(phonemizer):
    with pytest.raises(SpeechError, match="phoneme_type='pinyin', which packages of Piper's make of text: give ids"):
        phonemizer("", phoneme_type="pinyin")("你好")


def test_rows_of_symbols_that_a_voice_has_as_one():
    clusters = frozenset([("a", "ɪ"), ("a", "ɪ", "ə"), ("o", "ʊ")])
    assert merge_clusters("baɪt aɪəo oʊa", clusters) == ["b", "aɪ", "t", " ", "aɪə", "o", " ", "oʊ", "a"]
    assert merge_clusters("a", clusters) == ["a"]


@pytest.mark.espeak
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_an_espeak_ng_of_its_own():
    """Two that share one read each other's answers, and the first to close it ends it for the other."""
    process = EspeakProcess("en-us")
    texts = [f"number {number}, and more" for number in range(20)]
    expected = [process.phonemes(text) for text in texts]
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            alike = [process.phonemes(text) for text in texts[::-1]] == expected[::-1]
            process.close()
            os._exit(0 if alike else 1)
        children.append(child)
    assert [process.phonemes(text) for text in texts] == expected
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    kept = process._process
    assert process.phonemes(texts[0]) == expected[0]
    assert process._process is kept
    process.close()


@pytest.mark.espeak
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_waits_for_espeak_ng():
    process = EspeakProcess("en-us")
    with process._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if process.phonemes("hello") == ["həlˈoʊ"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    process.close()
