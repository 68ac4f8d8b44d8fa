"""Writes the tables of docs/figures.md from the recorded results, so that no figure is typed by hand.

    python scripts/write_figures.py           # after benchmarks/ recorded new results
    python scripts/write_figures.py --check   # exit status 1 if a document differs from the results

A table stands between `<!-- figures: NAME -->` and `<!-- end of figures -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
"""A folder per processor, named by maker, family and model."""
GENERATIONS = {"amd-25-17": "AMD Zen 4", "amd-26-2": "AMD Zen 5", "intel-6-167": "Intel AMX"}
"""Their names, which the system's own leave out. The last is a virtual machine: its hypervisor gives it the model of a
processor without AMX, and its flags and caches, which stand in the records, are a server's."""
DOCUMENTS = ("docs/figures.md",)
MARKED = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

LABELS = {
    "native": "**hifigan-rt native**, float32",
    "native-bf16": "**hifigan-rt native**, bfloat16",
    "native-bf16x3": "**hifigan-rt native**, bfloat16x3",
    "openvino-f32-2d": "OpenVINO, float32, 2-D graph",
    "openvino-bf16-2d": "OpenVINO, bfloat16, 2-D graph",
    "openvino-int8-2d": "OpenVINO, int8, 2-D graph",
    "ort": "ONNX Runtime, float32",
    "torch": "PyTorch, compiled, float32",
    "torch-eager": "PyTorch, eager, float32",
    "torch-bf16": "PyTorch, compiled, bfloat16",
}

CORE = [
    ("reference engine against the original network in float64, largest error", "reference_golden_max_abs", "{:.1e}"),
    ("`import hifigan_rt` with its vocoder, beyond NumPy's own import", "import_beyond_numpy_seconds", "{:.3f} s"),
    ("core installation, growth of site-packages", "core_install_mb", "{:.0f} MB"),
]

NATIVE = [
    ("loading V1 from safetensors, weights prepared", "load_seconds", "{:.2f} s"),
    ("peak memory of a fresh process, V1, 250 frames", "peak_mib_at_250_frames", "{:.0f} MiB"),
    ("growth from 1,000 to 20,000 frames beyond input and output", "growth_beyond_input_and_output_mib", "{:.0f} MiB"),
    ("Ctrl-C in a long mel, until it returns", "interrupted_after_seconds", "{:.2f} s"),
    ("V1, 8 frames, time after 0.1 s of rest over time at once", "after_rest_over_at_once", "{:.2f}"),
    ("time with denormal activations over ordinary ones", "denormal_over_ordinary", "{:.2f}"),
]


def records(name: str) -> dict[str, dict[str, Any]]:
    """The records of that name by processor, the newest first."""
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob(f"*/{name}")}
    return dict(sorted(found.items(), key=lambda item: str(item[1]["date"]), reverse=True))


def generation(processor: str) -> str:
    return GENERATIONS.get(processor, processor)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" + "|--:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def speed_case(record: dict[str, Any], frames: int, threads: int = 2) -> dict[str, Any]:
    """What was measured of each candidate, the fastest first."""
    case = next(case for case in record["cases"] if (case["frames"], case["threads"]) == (frames, threads))
    measured = {name: facts for name, facts in case["candidates"].items() if "summary" in facts}
    return {name: measured[name] for name in sorted(measured, key=lambda name: measured[name]["summary"]["median_ms"])}


def over_native(name: str) -> dict[str, dict[str, Any]]:
    """The records of that name, if native is what their ratios are over: the tables say so."""
    found = records(name)
    for processor, record in found.items():
        for baseline in {case["baseline"] for case in record["cases"]} - {"native"}:
            raise SystemExit(f"{processor}/{name} has times over {baseline}: measure with native as first candidate")
    return found


def speed(frames: int) -> str:
    """V1 on real weights, 2 threads, each processor beside the others; the fastest on the newest record's first."""
    cases = {processor: speed_case(record, frames) for processor, record in over_native("headline.json").items()}
    header, rows = [""], {name: [LABELS[name]] for case in cases.values() for name in case}
    for processor, case in cases.items():
        header += [f"{generation(processor)}, x real time", "time over native's"]
        for name, row in rows.items():
            summary = case[name]["summary"] if name in case else None
            row += [f"{summary['x_real_time']:.1f}", _over_native(name, summary)] if summary else ["", ""]
    for name, row in rows.items():
        facts = next(case[name] for case in cases.values() if name in case)
        row += [f"{facts['snr_db']:.0f} dB", f"{facts['peak_memory_mib']:.0f} MiB"]
    return table([*header, "SNR", "peak memory"], rows.values())


def _over_native(name: str, summary: dict[str, Any]) -> str:
    return "1" if name == "native" else str(summary["ratio_to_baseline"]["text"])


FLOAT32_PEERS = ("ort", "openvino-f32-2d", "torch", "torch-eager")


def ratios() -> str:
    """Time of the fastest float32 peer over native's, batch 1, by some numbers of frames; a cell has all processors."""
    rows: dict[str, dict[int, dict[str, str]]] = {}
    found = over_native("engines-batch1.json")
    for processor, record in found.items():
        for case in record["cases"]:
            peers = [
                facts["summary"]["ratio_to_baseline"]
                for name, facts in case["candidates"].items()
                if name in FLOAT32_PEERS and "summary" in facts
            ]
            label = f"{case['model'].upper()}, threads {case['threads']}"
            fastest = min(peers, key=lambda ratio: ratio["median"])
            rows.setdefault(label, {}).setdefault(case["frames"], {})[processor] = f"{fastest['median']:.2f}"
    lengths = (32, 250, 1000)
    header = [f"frames: {', '.join(map(generation, found))}", *map(str, lengths)]

    def cell(measured: dict[str, str]) -> str:
        return ", ".join(measured.get(processor, "–") for processor in found)

    return table(
        header, [[label, *(cell(cells.get(frames, {})) for frames in lengths)] for label, cells in rows.items()]
    )


def side_by_side(columns: dict[str, list[tuple[str, str]]]) -> str:
    """A column of values per processor; a cell is empty where its record does not know the figure."""
    labels = dict.fromkeys(label for column in columns.values() for label, _ in column)
    cells = [dict(column) for column in columns.values()]
    header = ["figure", *map(generation, columns)]
    return table(header, [[label, *(column.get(label, "") for column in cells)] for label in labels])


def listed(result: str, section: str, entries: list[tuple[str, str, str]]) -> str:
    return side_by_side(
        {
            processor: [
                (label, form.format(record[section][key])) for label, key, form in entries if key in record[section]
            ]
            for processor, record in records(result).items()
        }
    )


def streaming() -> str:
    """V1 and 1,000 frames: time over offline, longest push; streaming.md has the other cases."""
    columns: dict[str, list[tuple[str, str]]] = {}
    for processor, record in records("streaming.json").items():
        columns[processor] = [
            (
                f"threads {case['threads']}, segments of {segment}",
                f"{facts['ratio_to_offline']['text']}, {facts['longest_push_ms']:.0f} ms",
            )
            for case in record["cases"]
            if (case["model"], case["frames"]) == ("v1", 1000)
            for segment, facts in case["segments"].items()
        ]
    return side_by_side(columns)


def serving() -> str:
    """V1 on real weights, server and clients on the same machine."""
    return side_by_side({processor: served(record) for processor, record in records("serving.json").items()})


def served(result: dict[str, Any]) -> list[tuple[str, str]]:
    parts = ("overhead", "first_audio", "sustained", "overload")
    over, first, held, flood = (result[part] for part in parts)
    answers, settled = flood["answers"], flood.get("settled_latency_ms")
    flooded = f"{flood['arrivals_per_second']:.0f}/s, {flood['seconds']:.0f} s"
    return [
        ("first audio over WebSocket, segments of 16, median", f"{first['websocket_ms']['median']:.0f} ms"),
        ("first audio of a streamed answer, segments of 32, median", f"{first['http_ms']['median']:.0f} ms"),
        ("real-time streams without an underrun, segments of 32", str(held["streams"])),
        ("their share of the offline x real time", f"{held['share_of_offline']:.0%}"),
        (
            f"throughput with {result['plan']['clients']} clients over the bare engine's",
            over["served_over_bare"]["text"],
        ),
        ("overload: requests; accepted, refused", f"{flooded}; {answers['200']:,}, {answers['503']:,}"),
        ("how long a refusal took, median", f"{flood['refusal_ms']['median']:.0f} ms"),
        ("how long those took that came after ten seconds, 95 %", f"{settled['p95'] / 1000:.2f} s" if settled else ""),
        ("how long the same request takes on the idle server", f"{flood['idle_latency_ms']['median'] / 1000:.2f} s"),
        ("memory at its end", f"{flood['memory_mib']['last']:.0f} MiB"),
        ("until a request was as quick as before", f"{flood['recovery_seconds']:.1f} s"),
        ("answers with a wrong sample", str(sum(result[part]["wrong"] for part in parts))),
    ]


def quiet(name: str) -> str:
    """How disturbed the results are that know."""
    most = {
        processor: max(shares)
        for processor, record in records(name).items()
        if (shares := [share for share in record.get("others", {}).values() if share is not None])
    }
    told = ", ".join(f"{generation(processor)} {share:.0%}" for processor, share in most.items())
    return f"Others used of the processors meanwhile, at most: {told}.\n" if told else ""


def machines() -> str:
    lines = [
        f"- {generation(processor)} ({record['machine']['cpu']}, family {record['machine']['cpu_family']}, model "
        f"{record['machine']['cpu_model']}), {record['machine']['usable_cores']} cores: {record['date'][:10]}, commit "
        f"{record['commit']}"
        for processor, record in records("headline.json").items()
    ]
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "speed-1000": lambda: speed(1000),
    "core": lambda: listed("core.json", "figures", CORE),
    "native": lambda: listed("native.json", "costs", NATIVE),
    "streaming": streaming,
    "ratios": ratios,
    "serving": serving,
    "serving-others": lambda: quiet("serving.json"),
    "machines": machines,
}


def written(text: str) -> str:
    return MARKED.sub(lambda match: match[1] + TABLES[match["name"]]() + match[3], text)


def main(check: bool) -> None:
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = written(before)
        if after != before:
            stale.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
    if check and stale:
        sys.exit(f"not what benchmarks/results says: {', '.join(stale)}; run scripts/write_figures.py")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
