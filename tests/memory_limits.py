"""How much memory, and of the processor, something may take, whatever a file or a request claims."""

from __future__ import annotations

import contextlib
import math
import time
import tracemalloc
from collections.abc import Iterator


@contextlib.contextmanager
def peak_within(most_bytes: int, most_seconds: float = math.inf) -> Iterator[None]:
    """Fail where the block allocates more at any time, or takes its thread's processor for longer."""
    tracemalloc.start()
    started = time.thread_time()
    try:
        yield
        seconds, peak = time.thread_time() - started, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= most_bytes
    assert seconds < most_seconds
