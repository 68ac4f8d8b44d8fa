"""Prints the oldest release of every package that hifigan-rt says it runs with, as pip takes them.

python scripts/oldest_releases.py [--without EXTRA]
"""

import argparse
import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"

LARGE = ("ray",)
"""Packages of which the oldest is the one that CI installs."""


def oldest(requirement: str) -> str | None:
    """The release that a requirement's lower bound names; None for what is left out or pinned."""
    match = re.match(r"([A-Za-z0-9-]+)(?:\[[^]]*\])?>=([0-9a-z.]+)", requirement)
    if match is None or match[1] in LARGE:
        return None
    return f"{match[1]}=={match[2]}"


def main() -> None:
    """Print them in one line."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", metavar="EXTRA", choices=list(extras), action="append", default=[])
    for name in parser.parse_args().without:
        extras.pop(name)
    groups = [project["dependencies"], *extras.values()]
    pins: dict[str, str] = {}
    for requirement in (requirement for group in groups for requirement in group):
        if pin := oldest(requirement):
            # Of two bounds the higher one: all extras are installed together.
            name = pin.partition("==")[0]
            pins[name] = max(
                pin, pins.get(name, pin), key=lambda text: [int(part) for part in re.findall(r"\d+", text)]
            )
    print(*pins.values())


if __name__ == "__main__":
    main()
