"""Keeps what listeners send, within bounds, with a receipt for each result."""

from __future__ import annotations

import datetime
import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from hifigan_rt.errors import EvaluationError
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.tools.bulk.output_folder import check_writable, make_folder
from hifigan_rt.tools.listening.definition import Definition
from hifigan_rt.tools.listening.receipts import Receipt, add_receipt, open_receipts, read_receipts
from hifigan_rt.tools.listening.submissions import most_bytes, parse

MAX_RESULTS = 10_000
MAX_TOTAL_BYTES = 512 << 20
"""Maximum number and size of the files in the folder, so that nobody fills the disk."""

MAX_VERSIONS = 4
"""Different results kept under one code: from two on none counts, and the experimenter may know the right one."""


class Intake:
    """The folder of results.

    Args:
        folder: made if it is not there.
        definition: of the test.
        on_result: called with each file that was written.

    Raises:
        OutputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, definition: Definition, on_result: Callable[[Path], None]) -> None:
        self._folder, self._definition, self._on_result = folder, definition, on_result
        self.most_bytes = most_bytes(definition)
        make_folder(folder)
        # Found out now, and not when the first listener has done all the work.
        check_writable(folder)
        open_receipts(folder).close()
        self._receipts: defaultdict[str, list[Receipt]] = defaultdict(list)
        for receipt in read_receipts(folder).receipts:
            if receipt.test_id == definition.test_id:
                self._receipts[receipt.listener].append(receipt)
        sizes = [_size_of(path) for path in islice(folder.iterdir(), MAX_RESULTS)]
        self._files, self._bytes = len(sizes), sum(sizes)
        # One at a time: the JSON of a large test takes a hundred times its size while it is read.
        self._lock = threading.Lock()

    def keep(self, content: bytes) -> Path:
        """Write a result under a name of its own. Equal answers under one code are kept once.

        Raises:
            EvaluationError: it is no result of this test, or there are too many, of all listeners or under its code.
            OutputError: it could not be written.
        """
        with self._lock:
            now = datetime.datetime.now(datetime.UTC)
            submission = parse(content, self._definition, now)
            digest = hashlib.sha256(content).hexdigest()
            path = self._folder / f"{submission.listener}-{digest[:12]}.json"
            # What the experimenter took out counts no more.
            earlier = {
                receipt.choices: self._folder / receipt.file
                for receipt in reversed(self._receipts[submission.listener])
                if (self._folder / receipt.file).exists()
            }
            if submission.choices in earlier:
                return earlier[submission.choices]
            if len(earlier) >= MAX_VERSIONS:
                raise EvaluationError(
                    f"{MAX_VERSIONS} different results came under the code {submission.listener!r}: no more are taken"
                )
            if not path.exists():
                self._write(content, path)
            receipt = Receipt(
                path.name, digest, self._definition.test_id, submission.listener, submission.choices, now.isoformat()
            )
            add_receipt(self._folder, receipt)
            self._receipts[submission.listener].append(receipt)
            self._on_result(path)
        return path

    def _write(self, content: bytes, path: Path) -> None:
        if self._files >= MAX_RESULTS or self._bytes + len(content) > MAX_TOTAL_BYTES:
            raise EvaluationError(
                f"there are {self._files} results with {self._bytes} bytes already: no more are taken"
            )
        with atomic_writer(path) as file:
            file.write(content)
        self._files += 1
        self._bytes += len(content)


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # Gone meanwhile.
