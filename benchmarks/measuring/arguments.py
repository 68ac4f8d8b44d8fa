"""Arguments that the programs share: lists, and where a record goes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hifigan_rt.tools.benchmark.machine_record import processor_name

RESULTS = Path(__file__).parents[1] / "results"


def integers(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return text.split(",")


def record_path(text: str) -> Path:
    """Path of a record: a bare name is put into this processor's folder of `results/`, as a .json."""
    if os.sep in text:
        return Path(text)
    return RESULTS / processor_name() / Path(text).with_suffix(".json")


def add_output(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add `-o`, where the record goes."""
    parser.add_argument(
        "-o", "--output", type=record_path, required=required, metavar="RECORD",
        help="a .json, mostly with a table as .md beside it; a name without a folder: in results/PROCESSOR/",
    )  # fmt: skip
