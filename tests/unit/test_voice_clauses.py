"""Where text is cut into clauses and sentences, and which mark each clause ends with."""

from __future__ import annotations

import pytest

from hifigan_rt.tools.voices.clauses import LONGEST_BYTES, _cut_long, find_clauses, find_sentences


def cut(text, language="en-us"):
    """Clauses with their marks: "|" after each, "$" where a sentence ends."""
    return "".join(f"{c.text.strip()}<{c.mark}>{'$' if c.ends_sentence else '|'}" for c in find_clauses(text, language))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world. How are you?", "Hello,<,>|world.<.>$How are you?<?>$"),
        ("one; two: three - four — five", "one;<;>|two:<:>|three - four —<;>|five<>$"),
        ("It is 3.14 or 1,000 at 10:30", "It is 3.14 or 1,000 at 10:30<>$"),
        ("Dr. Smith and dr. who", "Dr.<.>$Smith and dr. who<>$"),
        ("i.e., two", "i.e., two<>$"),
        ("go.two go.\ttwo go.  two", "go.two go.\ttwo go.  two<>$"),
        ("go.\ntwo", "go.<.>$two<>$"),
        ("go?! two", "go?!<?>$two<>$"),
        ("go?, two", "go?,<?>$two<>$"),
        ('He said "hi." Then (left.)', 'He said "hi.<.>$" Then (left.<.>$'),
        ("wait... what", "wait...<>|what<>$"),
        ("end… next", "end…<>|next<>$"),
        ("no. ¿Qué? ¡No!", "no.<.>$¿Qué?<?>$¡No!<!>$"),
        ("你好。我们，走！", "你好。<>$我们，<>|走！<>$"),
        ("هل أنت هنا؟ نعم، أنا", "هل أنت هنا؟<?>$نعم،<,>|أنا<>$"),
        ("one\n \n two", "one<>$two<>$"),
        ("... , ! ", ""),
        ("", ""),
    ],
)
def test_marks_end_clauses_where_espeak_ng_ends_them(text, expected):
    assert cut(text) == expected


def test_georgian_has_no_capitals_so_a_full_stop_ends_a_sentence():
    assert cut("სამი. სამი", "ka") == cut("სამი. სამი", "") == "სამი.<.>$სამი<>$"
    assert cut("go. two", "ka") == "go.<.>$two<>$"


@pytest.mark.parametrize(
    "text", ["word " * 20_000, "a" * 100_000, "пять, " * 20_000, "नमस्ते" * 20_000, "one, two; " * 10_000 + "end."]
)
def test_long_text_is_cut_into_sentences_of_bounded_size_and_nothing_is_lost(text):
    sentences = list(find_sentences(text))
    joined = "".join(clause.text for sentence in sentences for clause in sentence)
    assert text.startswith(joined)
    assert not text[len(joined) :].strip()
    assert all(len("".join(c.text for c in sentence).encode()) <= LONGEST_BYTES for sentence in sentences)
    assert len(sentences) <= 3 * len(text.encode()) / LONGEST_BYTES


def test_no_stretch_of_text_is_searched_again():
    searched = 0

    class Counting(str):
        def __getitem__(self, key):
            nonlocal searched
            found = str.__getitem__(self, key)
            searched += len(found)
            return found

    for text in (". " * 2000, "a" * 200_000):
        searched = 0
        for clause in find_clauses(Counting(text)):
            list(_cut_long(clause._replace(text=Counting(clause.text))))
        assert searched <= 4 * len(text)


def test_sentences_are_cut_as_they_are_asked_for():
    first = next(find_sentences("One. " + "Two. " * 1_000_000))
    assert [clause.text for clause in first] == ["One."]
