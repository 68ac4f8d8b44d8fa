"""Keeps other runs out of a folder in an object store, which has no locks.

An object in the folder names the run, counts its beats, and says when it has ended; nothing is deleted, since few may
delete what they may write. A run that finds one waits for three beats: if the count goes on, the other run lives, and
this one is refused; if not, its process is gone, and the claim is taken over. No clock is compared. A claim that this
machine made itself, and whose process is gone, is taken over at once.

Two runs that begin in the same moment can both find nothing. Each writes its claim and looks once more; whoever was
overwritten gives up. A run whose claim is another's at a later beat ends as well: both write the same whole objects, so
that nothing is lost.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from hifigan_rt.errors import DatasetError, HifiganError, OutputError, StoreError
from hifigan_rt.tools.cluster.object_inputs import StoreFolder

CLAIM_NAME = ".hifigan-run.json"

BEAT_S = 15.0
"""Time between two beats: a request in so long costs nothing beside the clips."""

_WATCHED_BEATS = 3
_READINGS = 3
SETTLE_S = 1.0
"""How long after writing a claim it is looked at again: longer than a request is under way."""


class StoreClaim:
    """Claim of a run; see the module.

    Attributes:
        run: its number, which the manifest keeps.
        lost: why the folder is no longer this run's; None as long as it is.
    """

    def __init__(self, place: StoreFolder, run: str, beat_s: float) -> None:
        self.run = run
        self.lost: str | None = None
        self._place = place
        self._key = place.key_of(CLAIM_NAME)
        self._beat_s = beat_s
        self._beats = 0
        self._ended = threading.Event()
        self._since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._thread = threading.Thread(target=self._beat_on, name="hifigan-claim", daemon=True)

    def check(self) -> None:
        """Look at what the beats have found.

        Raises:
            OutputError: another run has the folder.
        """
        if self.lost is not None:
            raise OutputError(self.lost)

    def begin(self, settle_s: float) -> None:
        """Write the claim, and look whether it stays.

        Raises:
            OutputError: another run was quicker.
            StoreError: the store does not answer, or refuses.
        """
        self._write()
        time.sleep(settle_s)
        self.look()
        self.check()
        self._thread.start()

    def look(self) -> None:
        """Ask the store whose the folder is now.

        Raises:
            StoreError: it does not answer, or refuses.
        """
        there = _read(self._place)
        if there is not None and there.get("run") != self.run:
            self.lost = f"{_busy(self._place, there)}; this run has ended, and --resume goes on with it"

    def end(self) -> None:
        """Say that the run has ended, if the claim is still its own."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        with contextlib.suppress(HifiganError):  # left over, it is taken over
            self.look()
            if self.lost is None:
                self._write(ended=True)

    def _beat_on(self) -> None:
        while not self._ended.wait(self._beat_s) and self.lost is None:
            with contextlib.suppress(StoreError, OutputError):  # the clips will tell if it stays away
                self.look()
                if self.lost is None:
                    self._write()

    def _write(self, **more: bool) -> None:
        self._beats += 1
        record = {
            "run": self.run, "beats": self._beats, "process": os.getpid(), "host": socket.gethostname(),
            "since": self._since, **more,
        }  # fmt: skip
        self._place.store.put(self._key, json.dumps(record).encode("ascii"))


@contextlib.contextmanager
def claimed_place(
    place: StoreFolder,
    own_runs: Collection[str],
    *,
    waiting: Callable[[str], None] = lambda _: None,
    starting: Callable[[str], object] = lambda _: None,
    beat_s: float = BEAT_S,
    settle_s: float = SETTLE_S,
) -> Iterator[StoreClaim]:
    """Keep other runs out of a place until the block ends.

    Args:
        place: where results go.
        own_runs: of this machine, none of which is at work any more.
        waiting: told why it takes long.
        starting: given the number of this run before it claims anything.
        beat_s: time between beats, in s, of all runs.
        settle_s: pause after writing a claim, in s.

    Raises:
        OutputError: another run is at work there.
        StoreError: the store does not answer, or refuses.
    """
    there = read_claim(place)
    if there is not None and there.get("run") not in own_runs:
        waiting(f"{place.shown!r} has the claim of a run on {_told_of(there)}: waiting to see whether it is at work")
        ends = time.monotonic() + _WATCHED_BEATS * beat_s
        while time.monotonic() < ends:
            time.sleep(min(beat_s / 5, 1.0))
            now = read_claim(place)
            if now is None:
                break
            if now != there:
                raise OutputError(
                    f"{_busy(place, now)}: wait until it has ended, or name another place for the results"
                )
    claim = StoreClaim(place, uuid.uuid4().hex, beat_s)
    starting(claim.run)
    try:
        claim.begin(settle_s)
        yield claim
    finally:
        claim.end()


def read_claim(place: StoreFolder) -> dict[str, Any] | None:
    """What the claim of a run that has not ended says; None if there is none.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    record = _read(place)
    return None if record is None or record.get("ended") is True else record


def _read(place: StoreFolder) -> dict[str, Any] | None:
    key = place.key_of(CLAIM_NAME)
    record: Any = None
    with tempfile.TemporaryDirectory(prefix="hifigan-") as folder:
        path = Path(folder) / "claim"
        for _ in range(_READINGS):
            if place.store.info(key) is None:
                return None
            with contextlib.suppress(DatasetError, ValueError, RecursionError):  # is just being written anew
                place.store.get(key, path)
                record = json.loads(path.read_bytes())
                break
    return record if isinstance(record, dict) else {}


def _busy(place: StoreFolder, record: dict[str, Any]) -> str:
    return f"another run is at work in {place.shown!r}, on {_told_of(record)}"


def _told_of(record: dict[str, Any]) -> str:
    texts = (str(record.get(key, "unknown"))[:100] for key in ("host", "process", "since"))
    host, process, since = (text if text.isprintable() else "unknown" for text in texts)
    return f"host {host}, process {process}, since {since}"
