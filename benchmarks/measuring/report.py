"""From recorded rounds to the figures of a table, and to Markdown."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hifigan_rt.tools import records
from hifigan_rt.tools.benchmark.intervals import paired_ratio
from hifigan_rt.tools.benchmark.rotation import chosen_rounds
from hifigan_rt.tools.tables import markdown as markdown_table

_COLUMNS = ("candidate", "median ms", "min ms", "x real time", "GFLOPS eff.", "time / {baseline}", "SNR dB",
            "peak MiB", "load s", "first s", "executed")  # fmt: skip


def summarise(case: dict[str, Any]) -> None:
    """Add `rounds_used` to a case and `summary` to each of its candidates.

    Needs of a case: others, audio_seconds, macs, baseline, candidates (name to facts with `seconds`).
    """
    used, kind = chosen_rounds(case["others"])
    case["rounds_used"] = {"kind": kind, "count": len(used), "of": len(case["others"])}
    baseline = case["candidates"].get(case["baseline"], {}).get("seconds")
    for facts in case["candidates"].values():
        if "seconds" not in facts or not used:
            continue
        seconds = [facts["seconds"][index] for index in used]
        median = statistics.median(seconds)
        facts["summary"] = {
            "median_ms": 1000 * median,
            "min_ms": 1000 * min(seconds),
            "x_real_time": case["audio_seconds"] / median,
            "effective_gflops": 2 * case["macs"] / median / 1e9,
            "ratio_to_baseline": None if baseline is None else _as_json(seconds, [baseline[index] for index in used]),
        }


def _as_json(seconds: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    ratio = paired_ratio(seconds, baseline)
    return asdict(ratio) | {"text": str(ratio)}


def case_markdown(case: Mapping[str, Any]) -> str:
    """One cell: a heading, how disturbed it was, and the candidates, the fastest first."""
    used = case["rounds_used"]
    shares = [share for share in case["others"] if share is not None]
    others = f"; others used {statistics.median(shares):.0%} of the processors in the median round" if shares else ""
    title = (
        f"### {case['model'].upper()}, mel_len {case['frames']}, batch {case['batch']}, "
        f"{case['threads']} thread{'s' if case['threads'] > 1 else ''}\n\n"
        f"Weights: {case['weights']}. Figures from {used['kind']} rounds: {used['count']} of {used['of']}{others}.\n"
    )
    measured = {name: facts for name, facts in case["candidates"].items() if "summary" in facts}
    rows = [
        _row(name, measured[name]) for name in sorted(measured, key=lambda name: measured[name]["summary"]["median_ms"])
    ]
    header = [column.format(baseline=case["baseline"]) for column in _COLUMNS]
    failures = [f"- {name}: {facts['failed']}" for name, facts in case["candidates"].items() if "failed" in facts]
    return "\n".join([title, markdown_table(header, rows), "", *failures])


def _row(name: str, facts: Mapping[str, Any]) -> list[str]:
    summary, executed = facts["summary"], facts["executed"]
    ratio = summary["ratio_to_baseline"]
    memory = facts["peak_memory_mib"]
    return [
        name,
        f"{summary['median_ms']:.1f}",
        f"{summary['min_ms']:.1f}",
        f"{summary['x_real_time']:.2f}",
        f"{summary['effective_gflops']:.0f}",
        "" if ratio is None else ratio["text"],
        "" if facts["snr_db"] is None else f"{facts['snr_db']:.1f}",
        "" if memory is None else f"{memory:.0f}",
        f"{facts['load_seconds']:.2f}",
        f"{facts['first_seconds']:.2f}",
        f"{executed['runtime']}, {executed['precision']}, {executed['threads']} thr.",
    ]


def result_markdown(result: Mapping[str, Any]) -> str:
    """A whole result of run_engines.py."""
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    head = (
        f"# Engines side by side\n\n{machine['cpu']}, {machine['usable_cores']} cores, {machine['system']}; "
        f"Python {machine['python']}; {packages}. {result['date']}, commit {result['commit']}"
        f"{' with uncommitted changes' if result['uncommitted_changes'] else ''}.\n\n"
        "x real time: audio seconds per compute second. GFLOPS eff.: operations of direct convolution per second, "
        "whatever the engine really does. SNR: against the float64 reference. The ratio is the median over rounds with "
        "its 95 % bootstrap interval. Load excludes importing; first is the first inference, compilation included.\n"
    )
    return "\n".join([head, *(case_markdown(case) for case in result["cases"])])


def write_result(path: Path, result: Mapping[str, Any], markdown: str) -> None:
    """Write PATH as JSON and the Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(result, path)
    path.with_suffix(".md").write_text(markdown.rstrip() + "\n")


def publish(path: Path | None, result: Mapping[str, Any], markdown: str) -> None:
    """Write a result if a path is given, print it, and end the program with its complaints, if it has any."""
    if path:
        write_result(path, result, markdown)
    print(markdown)
    if result.get("complaints"):
        sys.exit("; ".join(result["complaints"]))
