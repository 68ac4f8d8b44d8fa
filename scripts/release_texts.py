"""Checks of a release's texts: version, changelog and tag, README as PyPI shows it, licences of what is compiled in.

Each check gives the faults that it finds, one text each.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

BUNDLED = {"nanobind": ("nanobind.txt", "robin_map.txt")}
"""Headers from elsewhere that are compiled in, by their folder, with their licences in native/licenses/."""

NOT_BUNDLED = frozenset({"Python", "Threads"})
"""What CMake finds and the module only calls."""


def project(root: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def tags_here(root: Path) -> list[str]:
    """Version tags of the commit that is checked out."""
    done = subprocess.run(
        ["git", "-C", str(root), "tag", "--points-at", "HEAD"], check=True, capture_output=True, text=True
    )
    return [tag for tag in done.stdout.split() if re.match(r"v?\d", tag)]


def check_version(root: Path, tags: list[str]) -> Iterator[str]:
    """Version, changelog and tag agree; a development version has no tag, and its changelog begins with Unreleased."""
    text = project(root)["project"]["version"]
    try:
        version = Version(text)
    except InvalidVersion:
        yield f"version {text!r} in pyproject.toml is none (PEP 440)"
        return
    if str(version) != text:
        yield f"version {text!r} in pyproject.toml is written {str(version)!r} in every file name: write it so there"
    for tag in tags:
        if tag != f"v{version}":
            yield f"the tag is {tag!r} and the version {text!r}: the tag must be 'v{version}'"
        if version.is_devrelease:
            yield f"tag {tag!r} on development version {text!r}: name the version to release"
    yield from _check_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)


def _check_changelog(text: str, version: Version) -> Iterator[str]:
    sections = re.findall(r"^## (.+?)\s*$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not sections:
        yield "CHANGELOG.md has no section: it begins with '## Unreleased' or '## VERSION (YYYY-MM-DD)'"
        return
    title, entries = sections[0]
    if version.is_devrelease:
        if title != "Unreleased":
            yield f"CHANGELOG.md begins with {title!r}, and {version} is a development version: begin with 'Unreleased'"
    else:
        found = re.fullmatch(rf"{re.escape(str(version))} \((\d{{4}}-\d\d-\d\d)\)", title)
        if found is None:
            yield f"CHANGELOG.md begins with {title!r}: the first section must be '{version} (YYYY-MM-DD)'"
        elif not _is_date(found[1]):
            yield f"CHANGELOG.md dates {version} {found[1]!r}, which is no day"
    if not re.search(r"^- \S", entries, re.MULTILINE):
        yield f"CHANGELOG.md says nothing under {title!r}: users read there what a version brings"
    titles = [name.split(" ")[0] for name, _ in sections]
    for name in sorted({name for name in titles if titles.count(name) > 1}):
        yield f"CHANGELOG.md has {titles.count(name)} sections {name!r}"
    if "Unreleased" in titles[1:]:
        yield "CHANGELOG.md has 'Unreleased' below a version"


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_description(name: str, description: str) -> Iterator[str]:
    """Links and pictures of a README, as an archive carries it, lead somewhere from PyPI's page."""
    import readme_renderer.markdown  # comes with twine

    shown = readme_renderer.markdown.render(description)
    if not shown:
        yield f"{name}: its README shows nothing"
        return
    places = _Places()
    places.feed(shown)
    for place in places.found:
        if not re.match(r"(https://|mailto:)", place) and place.removeprefix("#") not in places.names:
            yield f"{name}: its README leads to {place!r}, which is not there on PyPI: make_sdist.py mends such links"


class _Places(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - its signature
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]
        self.names |= {value or "" for name, value in attrs if name in ("id", "name")}


def check_rendering(archives: list[Path]) -> Iterator[str]:
    """PyPI takes the metadata and shows the README, as `twine check --strict` knows its rules."""
    done = subprocess.run(
        [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *map(str, archives)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        yield f"twine check --strict: {' '.join((done.stdout + done.stderr).split())}"


def check_licences(root: Path) -> Iterator[str]:
    """Everything that is compiled in is known, and its licence lies in native/licenses/ and is named in NOTICE."""
    for name in sorted(_from_elsewhere(root) - BUNDLED.keys() - NOT_BUNDLED):
        yield f"native/ takes in {name!r}: its licence must lie in native/licenses/, with a row in BUNDLED here"
    notice = (root / "NOTICE").read_text(encoding="utf-8")
    kept = {path.name for path in (root / "native/licenses").glob("*")}
    brought = {name for names in BUNDLED.values() for name in names}
    needed = brought
    for name in sorted(needed - kept):
        yield f"native/licenses/{name} is missing, and what it covers is compiled in"
    for name in sorted(needed & kept):
        if f"native/licenses/{name}" not in notice:
            yield f"NOTICE does not name native/licenses/{name}"
    for name in sorted(brought & kept):
        own = _words((root / "native/licenses" / name).read_text(encoding="utf-8"))
        if own != (theirs := _words(_licence_of(name))):
            version = importlib.metadata.version("nanobind")
            yield f"native/licenses/{name} is not what nanobind {version} carries: {theirs}"
    if unknown := _bundled_by_nanobind() - {"robin_map"}:
        yield f"nanobind brings {', '.join(sorted(unknown))} along: put its licence into native/licenses/"


def _from_elsewhere(root: Path) -> set[str]:
    found = set()
    for path in (root / "native").rglob("*"):
        if path.suffix in (".cpp", ".h"):
            found |= set(re.findall(r"^\s*#\s*include <(\w+)/", path.read_text(encoding="utf-8"), re.MULTILINE))
    build = (root / "CMakeLists.txt").read_text(encoding="utf-8")
    found |= set(
        re.findall(r"(?:find_package|add_subdirectory|FetchContent_Declare|CPMAddPackage)\(\s*([\w/.-]+)", build)
    )
    return found - {"sys"}


def _licence_of(name: str) -> str:
    nanobind = importlib.metadata.distribution("nanobind")
    wanted = "licenses/LICENSE" if name == "nanobind.txt" else "tsl/robin_map.h"
    path = next(file for file in nanobind.files or () if str(file).endswith(wanted))
    text = path.locate().read_text(encoding="utf-8")  # type: ignore[union-attr]
    return text if name == "nanobind.txt" else text.partition("*/")[0]


def _words(text: str) -> str:
    return " ".join(re.sub(r"^\s*/?\*+ ?", "", text, flags=re.MULTILINE).split())


def _bundled_by_nanobind() -> set[str]:
    files = importlib.metadata.distribution("nanobind").files or ()
    return {file.parts[2] for file in files if file.parts[:2] == ("nanobind", "ext")}
