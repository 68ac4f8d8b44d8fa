"""The figures at the end: text and JSON with the vendor's keys, and that they are simulated."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ais_bench.infer.logs import logger
from cann_simulator import CAVEAT

_RULE = "-----------------Performance Summary------------------"


def statistics(values: list[float]) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(("min", "max", "mean", "median", "percentile(99%)"), 0.0)
    if values:
        figures = {
            "min": np.min(values), "max": np.max(values), "mean": np.mean(values), "median": np.median(values),
            "percentile(99%)": np.percentile(values, 99),
        }  # fmt: skip
    return {name: float(value) for name, value in figures.items()} | {"count": len(values)}


def report(
    compute: list[float],
    h2d: list[float],
    d2h: list[float],
    batch: float,
    files: dict[int, Any],
    arguments: list[str],
    prefix: str | None,
    *,
    display_all: bool,
) -> float:
    """Print the summary, save it beside the results, and return the throughput."""
    npu, to_device, to_host = statistics(compute), statistics(h2d), statistics(d2h)
    throughput = 1000 * batch / npu["mean"] if npu["mean"] else 0
    logger.info(_RULE)
    if display_all:
        logger.info("H2D_latency (ms): %s", _line(to_device))
    logger.info("NPU_compute_time (ms): %s", _line(npu))
    if display_all:
        logger.info("D2H_latency (ms): %s", _line(to_host))
    logger.info("throughput 1000*batchsize.mean(%s)/NPU_compute_time.mean(%s): %s", batch, npu["mean"], throughput)
    logger.info("-" * len(_RULE))
    logger.info("caveat: %s", CAVEAT)
    if prefix is not None:
        content = {
            "filesinfo": files,
            "args": arguments,
            "NPU_compute_time": npu,
            "H2D_latency": to_device,
            "D2H_latency": to_host,
            "npu_compute_time_list": compute,
            "throughput": throughput,
            "pid": os.getpid(),
            "caveat": CAVEAT,
        }
        Path(prefix + "_summary.json").write_text(json.dumps(content))
    return float(throughput)


def _line(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in figures.items() if name != "count")
