"""The words of the house: one class per name, and docstrings that begin with a noun or a verb."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "src" / "hifigan_rt"

NO_BEGINNING = (
    "And", "As", "At", "Between", "Both", "But", "By", "For", "From", "In", "Into", "It", "Lately", "Likewise", "Of",
    "On", "One after", "Only", "Or", "Said", "So", "The other", "The three of", "The two of", "Then", "To", "Under",
    "With", "Within", "Without",
)  # fmt: skip
"""Words that lean on something before them, which a docstring does not have."""

OWN_WORDS = ("Door", "Gate", "Loan", "Made", "Patience", "Situation", "Subject", "Truth", "Walk", "Wish")
"""Words of our own for what the field calls options, queue limit, access control, layout, reference and so on."""


@cache
def house() -> Mapping[str, ast.Module]:
    """The modules by path."""
    return {
        str(path.relative_to(HOUSE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(HOUSE.rglob("*.py"))
    }


def classes(modules: Mapping[str, ast.Module]) -> Mapping[str, list[str]]:
    """Places of each class, by its name."""
    found = defaultdict(list)
    for path, module in modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{path}:{node.lineno}")
    return found


def docstrings(modules: Mapping[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """Place and text of every string that stands alone: of modules, classes, functions, attributes and constants."""
    for path, module in modules.items():
        for node in ast.walk(module):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path}:{node.lineno}", node.value.value.strip()


def leans(text: str) -> bool:
    return re.match(rf"({'|'.join(NO_BEGINNING)})\b", text) is not None


def test_a_class_name_means_one_class():
    assert {name: places for name, places in classes(house()).items() if len(places) > 1} == {}


def test_classes_have_the_words_of_the_field():
    """The last word of a name says what a thing is: `RecordingSubject` would be a subject."""
    own = {name: places for name, places in classes(house()).items() if name.endswith(OWN_WORDS)}
    assert own == {}


def test_docstrings_begin_with_a_noun_or_a_verb():
    assert {place: text.splitlines()[0] for place, text in docstrings(house()) if text and leans(text)} == {}


def test_what_a_device_is_it_says_itself():
    """No module knows the simulator of the tests: what stands beside its figures comes from its own record."""
    assert [path for path in sorted(HOUSE.rglob("*")) if path.is_file() and b"simulat" in content(path)] == []


def content(path: Path) -> bytes:
    return path.read_bytes().lower() if path.suffix in (".py", ".pyi", ".j2", ".html", ".js", ".css") else b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Of a WebSocket.", True), ("Both.", True), ("The three of them.", True), ("In Hz.", True),
        ("To the end", True), ("Offset in bytes.", False), ("Total of all.", False),
        ("The three published configs.", False), ("Input of the network.", False), ("Forward pass.", False),
    ],
)  # fmt: skip
def test_a_beginning_is_told_by_whole_words(text, expected):
    assert leans(text) is expected


def test_the_tests_see_what_they_look_for():
    source = 'class A:\n    x = 1\n    """Of x."""\n\ndef f():\n    class A:\n        "Both."\n'
    modules = {"m.py": ast.parse(source)}
    assert classes(modules) == {"A": ["m.py:1", "m.py:6"]}
    assert dict(docstrings(modules)) == {"m.py:3": "Of x.", "m.py:7": "Both."}
