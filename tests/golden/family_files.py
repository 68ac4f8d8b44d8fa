"""Files that the true frameworks wrote, out of the records in `families/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).with_name("families")


def records() -> Iterator[tuple[str, list[str]]]:
    """Each record with the names of its cases."""
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path, allow_pickle=False) as record:
            yield path.stem, list(json.loads(str(record["facts"]))["cases"])


def read_files(name: str, case: str) -> tuple[str, dict[str, bytes]]:
    """The file that a user names, and all files with their content."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as record:
        facts = json.loads(str(record["facts"]))["cases"][case]
        return facts["file"], {file: record[f"{case}/files/{file}"].tobytes() for file in facts["files"]}


def unpack(folder: Path, name: str, case: str) -> Path:
    """Write the files of a case; gives the one that a user names."""
    file, files = read_files(name, case)
    folder.mkdir(exist_ok=True)
    for other, data in files.items():
        (folder / other).write_bytes(data)
    return folder / file
