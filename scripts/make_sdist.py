"""Makes the source distribution: the files that git knows, and a README whose links work on PyPI.

    python scripts/make_sdist.py dist
    python scripts/make_sdist.py dist --links https://example.org/owner/name/blob/v1.0

PyPI shows the README without the files beside it. With `--links`, links to them lead to the copies there; without,
their words are left and their pictures left out. All wheels are built from this archive. Needs the package `build`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Code is passed over, so that nothing in it is taken for a link; a link's words may have code in them.
_TOKEN = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]*`)"
    r"|(?P<picture>!?)\[(?P<words>(?:[^\[\]`]|`[^`\n]*`)*)\]\((?P<target>[^)\s]+)\)"
    r"|^\[(?P<label>[^\]]+)\]:\s*(?P<place>\S+)",
    re.MULTILINE | re.DOTALL,
)


def for_pypi(text: str, base: str | None) -> str:
    """A README in Markdown whose links need no file beside it.

    Args:
        text: the README.
        base: address of the repository's root; None if it has none.
    """

    def absolute(target: str) -> str | None:
        if re.match(r"[a-z][a-z0-9+.-]*:|#", target):
            return target
        return None if base is None else f"{base.rstrip('/')}/{target}"

    def replace(found: re.Match[str]) -> str:
        if found["code"]:
            return found[0]
        if found["label"]:
            place = absolute(found["place"])
            return "" if place is None else f"[{found['label']}]: {place}"
        target = absolute(found["target"])
        if found["picture"]:
            # As a file and not as the page about it, which is what GitHub's /blob/ is.
            raw = "?raw=true" if target != found["target"] else ""
            return "" if target is None else f"![{found['words']}]({target}{raw})"
        return found["words"] if target is None else f"[{found['words']}]({target})"

    return re.sub(r"\n{3,}", "\n\n", _TOKEN.sub(replace, text))


def make_sdist(root: Path, out: Path, base: str | None) -> None:
    """Build the archive of a clone's files, as they are now, into a folder.

    Raises:
        subprocess.CalledProcessError: `root` is no clone, or the build failed.
    """
    git = ["git", "-C", str(root)]
    names = subprocess.run([*git, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    committed = subprocess.run([*git, "log", "-1", "--format=%ct"], check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "hifigan-rt"
        for path in filter(None, names.split("\0")):
            if (root / path).exists():  # else it is deleted, and that not yet committed
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / path, copy / path)
        readme = copy / "README.md"
        readme.write_text(for_pypi(readme.read_text(encoding="utf-8"), base), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "build", "--sdist", "--outdir", str(out), str(copy)],
            check=True,
            env={"SOURCE_DATE_EPOCH": committed.strip(), **os.environ},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the archive")
    parser.add_argument("--links", metavar="URL", help="where the files of the repository can be read")
    arguments = parser.parse_args()
    make_sdist(ROOT, arguments.out, arguments.links)


if __name__ == "__main__":
    main()
