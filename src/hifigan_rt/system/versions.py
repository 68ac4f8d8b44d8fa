"""Versions of installed packages, as their metadata tell them, and how what is absent is installed.

Metadata may be absent where the package is not: a folder on PYTHONPATH, a frozen program, a zip archive. Nothing fails
for want of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

UNKNOWN = "unknown"


@cache
def own_version() -> str:
    """The version of hifigan-rt, or "unknown"."""
    return installed_version("hifigan-rt") or UNKNOWN


def how_to_get(extra: str) -> str:
    """The command that installs what an extra of hifigan-rt brings, as errors name it."""
    return f"pip install 'hifigan-rt[{extra}]' (from a clone: pip install '.[{extra}]')"


def installed_version(distribution: str) -> str | None:
    """The version of a distribution; None if it is not installed, or its metadata are not there."""
    from importlib.metadata import PackageNotFoundError, version  # takes 20 ms

    try:
        # None, against its declaration, where the metadata are damaged.
        return version(distribution) or None
    except (PackageNotFoundError, KeyError, OSError):
        return None


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """The versions of those that tell one."""
    found = {name: installed_version(name) for name in distributions}
    return {name: version for name, version in found.items() if version is not None}
