"""The manifest of a run whose results go to an object store: a local file, of which copies go beside the results.

An object cannot be appended to, so that the whole file is put again each time: after `UPLOAD_LINES` lines, and of a
long manifest after a tenth of it, which keeps all uploads together at eleven times its size. What a driver that is lost
with its machine had not put yet is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hifigan_rt.errors import OutputError, StoreError
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ManifestContents, ManifestWriter, read_manifest
from hifigan_rt.tools.cluster.object_inputs import StoreFolder
from hifigan_rt.tools.cluster.store_claim import StoreClaim

UPLOAD_LINES = 1000
"""Clips of LJ Speech's length that a core makes in about ten minutes; nobody waits for the put."""


class StoreManifest(ManifestWriter):
    """Appends to the local file, and puts it into the store now and then."""

    def __init__(self, place: StoreFolder, local: Path, claim: StoreClaim) -> None:
        """
        Args:
            place: where the results go.
            local: the file, as `bring_together` left it.
            claim: of the run; once it is another's, nothing is written any more.
        """
        super().__init__(local)
        self._place = place
        self._local = local
        self._claim = claim
        with local.open("rb") as file:
            self._lines = sum(1 for _ in file)
        self._unsent = 0

    def append_object(self, values: Mapping[str, Any]) -> None:
        super().append_object(values)
        self._claim.check()
        self._lines += 1
        self._unsent += 1
        if self._unsent >= max(UPLOAD_LINES, self._lines // 10):
            with contextlib.suppress(StoreError):  # is put with the next lines, or at the end
                self.upload()

    def upload(self) -> None:
        """Put the file beside the results.

        Raises:
            OutputError: another run has the place.
            StoreError: the store does not answer, or refuses.
        """
        self._claim.look()
        self._claim.check()
        self._place.store.put(self._place.key_of(MANIFEST_NAME), self._local)
        self._unsent = 0


def state_folder(place: StoreFolder) -> Path:
    """Make the folder of this user's for what is known of a place: below XDG_STATE_HOME, else ~/.local/state.

    Raises:
        OutputError: it cannot be made.
    """
    above = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_STATE_HOME")
    # Path.home raises where a container gives the user no home.
    root = Path(above or os.path.expanduser("~/.local/state"))  # noqa: PTH111
    named = hashlib.sha256(f"{place.store.identity} {place.shown}".encode()).hexdigest()[:16]
    folder = root / "hifigan-rt" / named
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME"
        raise OutputError(
            f"what is known of the runs to {place.shown!r} has no place in {str(folder)!r} ({error.strerror}): name "
            f"another folder than {str(root)!r} with {variable}"
        ) from error
    return folder


def bring_together(place: StoreFolder, local: Path) -> ManifestContents:
    """Make the local file hold every line of its own and of the copy beside the results.

    Lines of the copy come first: it is what an earlier state of the file was, or what another machine put meanwhile.

    Returns:
        What the lines say.

    Raises:
        OutputError: the file cannot be read or written.
        StoreError: the store does not answer, or refuses.
    """
    key = place.key_of(MANIFEST_NAME)
    if place.store.info(key) is not None:
        with tempfile.TemporaryDirectory(prefix="hifigan-") as folder:
            remote = Path(folder) / MANIFEST_NAME
            place.store.get(key, remote)
            _merge(remote, local)
    return read_manifest(local)


def _merge(remote: Path, local: Path) -> None:
    try:
        if local.exists() and _begins_with(local, remote):
            return
        with remote.open("rb") as there, atomic_writer(local) as merged:
            known = set()
            for line in there:
                known.add(_digest(line))
                merged.write(line.rstrip(b"\n") + b"\n")
            if local.exists():
                with local.open("rb") as here:
                    merged.writelines(line for line in here if _digest(line) not in known)
    except OSError as error:
        raise OutputError(f"manifest {str(local)!r} cannot be read or written: {error.strerror or error}") from error


def _begins_with(longer: Path, shorter: Path) -> bool:
    with longer.open("rb") as one, shorter.open("rb") as other:
        while block := other.read(1 << 20):
            if one.read(len(block)) != block:
                return False
    return True


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line.rstrip(b"\n")).digest()[:16]
