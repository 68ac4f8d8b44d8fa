"""Runs every example of README, docs/ and native/, page by page, in a folder with the samples and a checkpoint."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
from safetensors.numpy import save_file

from cli.running import run_here
from golden.family_files import records, unpack
from golden.tiny import tiny_weights
from hifigan_rt.config import PRESETS
from hifigan_rt.formats.config_json import config_to_dict

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "native/NOTES.md"
]  # fmt: skip

BLOCK = re.compile(
    r"(<!--(?P<reason>(?:(?!-->).)*)-->\s*\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int
    not_run: str
    needs: str
    """A package that the test run may do without: `<!-- needs torch -->`; conftest.py tells when it is missing."""


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        reason = (match["reason"] or "").strip()
        not_run = reason.removeprefix("not run:").strip() if reason.startswith("not run:") else ""
        needs = reason.removeprefix("needs ") if reason.startswith("needs ") else ""
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(match["language"], match["code"], line, not_run, needs))
    return found


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    # What an example shows does not depend on the length of the recordings; how long it takes does.
    for path in (tmp_path / "samples").glob("*.flac"):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[:rate], rate)
    # V2's size: a fifteenth of V1's work. `ljspeech-v1` has real weights.
    save_file(tiny_weights(PRESETS["v2"]), tmp_path / "generator_v1")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(PRESETS["v2"])))
    for name, cases in records():
        unpack(tmp_path / name, name, cases[0])
    monkeypatch.chdir(tmp_path)
    # An evaluation starts a process for each core, and each loads the packages of all metrics: one is enough here.
    monkeypatch.setattr("hifigan_rt.tools.evaluation.scoring.usable_cores", lambda: 1)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path


def plain_commands(code: str) -> list[tuple[list[str], str]] | None:
    """The words behind each `hifigan`, and the file that gets its output; None if the shell has anything else to do."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        unquoted = re.sub(r"\"[^\"$`]*\"|'[^']*'", "", line.partition(" #")[0])
        file = words.pop() if words[-2:-1] == [">"] else ""
        if file:
            words.pop()
        if words[:1] != ["hifigan"] or re.search(r"[|&;<$`*?(){}~]", unquoted) or unquoted.count(">") != bool(file):
            return None
        found.append((words[1:], file))
    return found


def run_shell(code: str, where: str) -> None:
    """What the shell has no part in runs in this process: a second less for each command."""
    commands = plain_commands(code)
    if commands is None:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{where}\n{code}\n{done.stdout}\n{done.stderr}"
        return
    for words, file in commands:
        done = run_here(*words)
        assert done.returncode == 0, f"{where}\n{words}\n{done.stdout}\n{done.stderr}"
        if file:
            Path(file).write_text(done.stdout, encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("hifigan info a # it's\nhifigan synth 'a b' \"q*\" \\\n  -o c\n",
         [(["info", "a"], ""), (["synth", "a b", "q*", "-o", "c"], "")]),
        ("hifigan info a --json > b.json", [(["info", "a", "--json"], "b.json")]),
        ("hifigan synth q*.wav", None), ("hifigan info a | tee b", None), ("A=b hifigan info a", None),
        ("hifigan info a\necho b", None), ("hifigan serve &", None), ('hifigan info "$A"', None),
        ("hifigan info a 2> b", None), ("hifigan info a\n\nhifigan info b", None),
    ],
)  # fmt: skip
def test_which_blocks_are_left_to_the_shell(code, expected):
    assert plain_commands(code) == expected


@pytest.mark.pretrained
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_run(page, workplace):
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        if block.not_run or (block.needs and importlib.util.find_spec(block.needs) is None):
            continue
        if block.language == "python":
            exec(compile(block.code, where, "exec"), names)  # noqa: S102 - running the examples is the point
        elif block.language == "bash":
            run_shell(block.code, where)
        else:
            assert block.language == "text", f"{where}: a block is python, bash or text"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_mark_stands_before_a_block(page):
    """Else the block runs for all that is said of it."""
    marks = page.read_text(encoding="utf-8").count("<!-- not run:")
    assert len([block for block in blocks_of(page) if block.not_run]) == marks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target, anchor in LINK.findall(text):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors_of(path), f"{page.name} links to {target}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    """As GitHub names headings."""
    headings = HEADING.findall(re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_a_stranger_reads_the_readme_in_one_go(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.split()) <= 400
    assert len(re.findall(r"(?<!!)\[[^\]]*\]\(", text)) <= 8


def test_the_documents_are_short():
    pages = [page for page in (ROOT / "docs").glob("*.md") if not page.name.endswith(".zh-CN.md")]
    assert sum(len(page.read_text(encoding="utf-8").split()) for page in pages) <= 18_000
