"""Waiting for an object store that was there and does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hifigan_rt.errors import HifiganError, StoreError

T = TypeVar("T")

RETRY_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Pauses between attempts while a store that was there does not answer: a router that starts anew takes less."""


def retried(
    action: Callable[[], T],
    probe: Callable[[], object],
    refusal: type[HifiganError],
    pauses_s: Sequence[float] = RETRY_PAUSES_S,
) -> T:
    """Do something with an object, again and again while its store does not answer.

    Args:
        action: what is done; raises `StoreError`.
        probe: something that the store allows as long as it works at all.
        refusal: error if the store answers and refuses this object alone.
        pauses_s: pauses between the attempts, in s.

    Raises:
        HifiganError: `refusal`.
        StoreError: the store did not come back.
    """
    refused = 0
    pauses = iter(pauses_s)
    while True:
        try:
            return action()
        except StoreError as error:
            failure = error
        try:
            probe()
        except StoreError:
            pause_s = next(pauses, None)
            if pause_s is None:
                raise failure from None
            time.sleep(pause_s)
        else:
            refused += 1
            if refused == 2:  # once may have been the moment before it came back
                raise refusal(str(failure)) from failure
