"""How much the tests try: what matters in `make test`, everything in `make test-long`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("HIFIGAN_RT_TEST_LONG"))


def examples(count: int, *, least: int = 20) -> int:
    """Number of generated examples for a test that tries `count` of them in the long run."""
    return count if LONG else max(least, count // 10)
