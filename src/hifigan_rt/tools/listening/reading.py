"""Reads the results of all listeners, and decides which of them count.

No field that a sender writes decides it, and no name of a file. Results come in the order in which `hifigan listen
serve` received them; those without a receipt come after, in the order in which they are named, in a folder by name.
Equal answers under one code count once, as the first of them. Different answers under one code count for nobody: which
are the listener's own cannot be known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hifigan_rt.errors import DatasetError, EvaluationError
from hifigan_rt.tools.datasets import is_folder
from hifigan_rt.tools.evaluation.listening_results import Exclusion
from hifigan_rt.tools.listening.definition import Definition
from hifigan_rt.tools.listening.receipts import RECEIPTS_NAME, Receipt, read_receipts, read_regular
from hifigan_rt.tools.listening.submissions import Submission, most_bytes, parse
from hifigan_rt.tools.tables import counted

MAX_FILES = 100_000
"""Maximum number of files. Each costs the time that a result of the test takes at most, and hardly any memory."""


@dataclass(frozen=True)
class AllAnswers:
    """What came of all listeners' results."""

    submissions: Sequence[Submission]
    """Those that count, one per code, in the order in which they came."""
    rejected: Sequence[Exclusion]
    """Each file that does not count, with the reason."""
    contested: Sequence[Exclusion]
    """Each code under which different answers came."""
    notes: Sequence[str]

    @property
    def files(self) -> int:
        return len(self.submissions) + len(self.rejected)


class _Code:
    """What came under one code. Only the first result is held in memory, however many there are."""

    def __init__(self, place: int, path: Path, submission: Submission) -> None:
        self.first = submission
        self.files = [(place, path, submission.choices)]
        """Places in the order, files, and digests of the answers; the first one first."""

    def add(self, place: int, path: Path, submission: Submission) -> None:
        self.files.append((place, path, submission.choices))
        if place < self.files[0][0]:
            self.first = submission
            self.files[0], self.files[-1] = self.files[-1], self.files[0]

    @property
    def versions(self) -> int:
        return len({choices for _, _, choices in self.files})

    def rejected(self) -> Iterator[Exclusion]:
        """Name each file that does not count."""
        (_, first, choices), *others = self.files
        different = next((path for _, path, other in others if other != choices), None)
        if different is None:
            for _, path, _ in others:
                yield Exclusion(str(path), f"it holds the same answers as {str(first)!r}, which counts")
            return
        for _, path, other in self.files:
            against = first if other != choices else different
            yield Exclusion(
                str(path),
                f"its answers and those of {str(against)!r} differ, both under the code {self.first.listener!r}: none "
                "of them counts; if you know which are the listener's own, take the others out",
            )


def read_all(names: Sequence[Path], definition: Definition) -> AllAnswers:
    """Read result files, and the .json files of folders.

    Args:
        names: files and folders.
        definition: of the test.

    Raises:
        DatasetError: see `result_paths`.
    """
    paths = result_paths(names)
    lists = [read_receipts(folder) for folder in _folders_of(names)]
    receipts = [receipt for entry in lists for receipt in entry.receipts]
    places: dict[str, int] = {}
    for place, receipt in enumerate(receipts):
        places.setdefault(receipt.sha256, place)
    codes: dict[str, _Code] = {}
    rejected: list[Exclusion] = []
    for number, path in enumerate(paths, start=len(receipts)):
        try:
            content = read_regular(path, most_bytes(definition))
            place = places.get(hashlib.sha256(content).hexdigest(), number)
            submission = parse(content, definition, receipts[place].time if place < len(receipts) else None)
        except EvaluationError as error:
            rejected.append(Exclusion(str(path), str(error)))
            continue
        if submission.listener in codes:
            codes[submission.listener].add(place, path, submission)
        else:
            codes[submission.listener] = _Code(place, path, submission)
    in_order = sorted(codes.values(), key=lambda code: code.files[0][0])
    return AllAnswers(
        [code.first for code in in_order if code.versions == 1],
        [*rejected, *(entry for code in in_order for entry in code.rejected())],
        [
            Exclusion(code.first.listener, f"{code.versions} different results came under this code: none counts")
            for code in in_order
            if code.versions > 1
        ],
        [entry.problem for entry in lists if entry.problem] + list(_notes(names, codes, receipts, definition.test_id)),
    )


def _notes(
    names: Sequence[Path], codes: Mapping[str, _Code], receipts: Sequence[Receipt], test_id: str
) -> Iterator[str]:
    found = [place for code in codes.values() for place, _, _ in code.files]
    by_hand = sum(place >= len(receipts) for place in found)
    if receipts and by_hand:
        of_all = f"{by_hand} of {len(found)} results"
        yield f"without a receipt of 'hifigan listen serve', put there by hand or changed: {of_all}"
    there = {receipts[place].sha256 for place in found if place < len(receipts)}
    gone = {receipt.sha256 for receipt in receipts if receipt.test_id == test_id} - there
    if gone and all(map(is_folder, names)):
        yield f"received by the server, and no longer there or changed: {counted(len(gone), 'result')}"


def result_paths(names: Sequence[Path]) -> list[Path]:
    """List the files that are named, and the .json files of folders that are named; each once.

    Raises:
        DatasetError: a folder holds none, or cannot be read, or there are too many files.
    """
    found: dict[Path, None] = {}
    for name in names:
        if not is_folder(name):
            # A shell names the receipts too for `answers/*`.
            if name.name != RECEIPTS_NAME:
                found[name] = None
            continue
        try:
            inside = sorted(islice((path for path in name.iterdir() if path.suffix == ".json"), MAX_FILES + 1))
        except OSError as error:
            raise DatasetError(f"folder {str(name)!r} cannot be read: {error.strerror}") from error
        if not inside:
            raise DatasetError(f"folder {str(name)!r} holds no .json file: listeners' results go there")
        found |= dict.fromkeys(inside)
    if len(found) > MAX_FILES:
        raise DatasetError(f"there are more than {MAX_FILES} files: take out what is no listener's result")
    return list(found)


def _folders_of(names: Sequence[Path]) -> list[Path]:
    """Folders that are named, or hold a file that is; each once."""
    return list(dict.fromkeys(name if is_folder(name) else name.parent for name in names))
