"""Holds the journeys of docs/how-it-works.md against the code: each step exists, and is named by a step before it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/how-it-works.md").read_text(encoding="utf-8")
MOST_WORDS, MOST_TERMS = 1500, 30

STEP = re.compile(r"`([\w/-]+\.(?:py|cpp|h)):([\w.]+)`")
FILE = re.compile(r"`([\w/-]+\.(?:py|cpp|h))[:`]")
JOURNEYS = {
    title: STEP.findall(re.sub(r"\n(?!\d+\. |   ).*", "", text))
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    if "\n1. " in text
}


def path_of(name: str) -> Path:
    return ROOT / name if name.startswith(("native/", "scripts/")) else ROOT / "src/hifigan_rt" / name


def python_names(path: Path) -> set[str]:
    """Functions and classes of a module, methods also as Class.method."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = {inner.name for inner in node.body if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef))}
            found |= methods | {f"{node.name}.{method}" for method in methods}
    return found


def has(path: Path, name: str) -> bool:
    if path.suffix == ".py":
        return name in python_names(path)
    return re.search(rf"\b{re.escape(name)}\)?\(", path.read_text(encoding="utf-8")) is not None


def test_there_are_four_journeys():
    assert [len(steps) >= 8 for steps in JOURNEYS.values()] == [True] * 4


def test_every_file_that_is_named_exists():
    assert not [name for name in FILE.findall(PAGE) if not path_of(name).is_file()]


@pytest.mark.parametrize(("file", "name"), sorted(set(STEP.findall(PAGE))))
def test_every_function_that_is_named_exists(file, name):
    assert has(path_of(file), name)


@pytest.mark.parametrize("title", JOURNEYS)
def test_each_step_is_named_by_one_before_it(title):
    steps = JOURNEYS[title]
    for i, (file, name) in enumerate(steps[1:], start=1):
        called = name.rpartition(".")[2]
        before = [path_of(earlier).read_text(encoding="utf-8") for earlier, _ in steps[:i]]
        assert any(re.search(rf"\b{called}\b", text) for text in before), f"{title}: nothing leads to {file}:{name}"


def test_it_is_short():
    assert len(PAGE.split()) <= MOST_WORDS
    glossary = PAGE.partition("## Glossary")[2]
    terms = [term for bold in re.findall(r"\*\*(.+?)\*\*", glossary) for term in bold.split(",")]
    assert 0 < len(terms) <= MOST_TERMS
