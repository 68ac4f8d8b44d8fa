"""Measures, on every instruction set of this machine, which share of the processor the native engine uses.

    python benchmarks/run_shares.py -o shares

A share is the products that a plan does over those that the processor can do in the same time. Whatever the machine, a
plan must be faster than the same network by direct convolution; the program fails where it is not.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from hifigan_rt._native import supported_isas
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.cli.info_plan import plan_of
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import MODELS, CachedModel
from measuring.report import publish
from measuring.result_header import result_header


def measure(model: CachedModel, isa: str) -> dict[str, Any]:
    """One model on one instruction set, one thread."""
    os.environ[ISA_VARIABLE] = isa
    try:
        facts = plan_of(Weights(model.name, Path(), "", model.generator), measure=True)
    finally:
        del os.environ[ISA_VARIABLE]
    row: dict[str, Any] = {"model": model.name, "isa": isa, "tuning": facts["tuning"]} | facts["measured"]
    print(row, flush=True)
    return row


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    rows = [
        [
            row["model"],
            row["isa"],
            row["tuning"],
            f"{row['us'] / 1000:.1f}",
            f"{row['direct_us'] / row['us']:.2f}",
            f"{row['share']:.0%}",
        ]
        for row in result["rows"]
    ]
    return markdown_table(["model", "ISA", "tuning", "ms per segment", "direct / plan", "share"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output(parser)
    arguments = parser.parse_args()
    result = result_header("run_shares.py", {})
    models = [CachedModel(name) for name in MODELS]
    result["rows"] = [measure(model, isa) for isa in supported_isas() for model in models]
    result["complaints"] = [
        f"{row['model']} on {row['isa']}: the plan is {row['verdict']}"
        for row in result["rows"]
        if row["us"] >= row["direct_us"]
    ]
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
