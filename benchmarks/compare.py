"""Prints how much faster the second of two results of run_engines.py is than the first, cell by cell.

    python benchmarks/compare.py before.json after.json

The two were not measured in one run: an interval covers the spread within each, not what the machine did in between.
The candidates that did not change (the peers) tell how much that was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hifigan_rt.tools.benchmark.intervals import unpaired_ratio
from hifigan_rt.tools.benchmark.rotation import chosen_rounds
from hifigan_rt.tools.tables import markdown as markdown_table

Cell = tuple[str, int, int, int, str]


def cells(result: dict[str, Any]) -> dict[Cell, list[float]]:
    """Seconds of the rounds that count, by model, frames, batch, threads and candidate."""
    found: dict[Cell, list[float]] = {}
    for case in result["cases"]:
        used, _ = chosen_rounds(case["others"])
        for name, facts in case["candidates"].items():
            if "seconds" in facts:
                key = (case["model"], case["frames"], case["batch"], case["threads"], name)
                found[key] = [facts["seconds"][index] for index in used]
    return found


def rows(before: dict[str, Any], after: dict[str, Any]) -> Iterator[list[str]]:
    first, second = cells(before), cells(after)
    for key in first.keys() & second.keys():
        ratio = unpaired_ratio(first[key], second[key])
        snr = [
            next(
                case["candidates"][key[-1]]["snr_db"]
                for case in result["cases"]
                if (case["model"], case["frames"], case["batch"], case["threads"]) == key[:-1]
            )
            for result in (before, after)
        ]
        yield [*map(str, key), str(ratio), *("" if value is None else f"{value:.1f}" for value in snr)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    before, after = (json.loads(path.read_text()) for path in (arguments.before, arguments.after))
    for name, result in (("before", before), ("after", after)):
        print(f"{name}: commit {result['commit']}, {result['date']}, {result['machine']['cpu']}")
    # A name alone does not tell: generations share it.
    if any(before["machine"][key] != after["machine"][key] for key in ("cpu", "cpu_family", "cpu_model")):
        print("the processors differ: the ratios say nothing about the project")
    header = ["model", "mel_len", "batch", "threads", "candidate", "times as fast", "SNR before", "SNR after"]
    table = sorted(rows(before, after), key=lambda row: (row[0], row[4], *map(int, row[1:4])))
    print("\n" + markdown_table(header, table) if table else "no cell is in both results")


if __name__ == "__main__":
    main()
