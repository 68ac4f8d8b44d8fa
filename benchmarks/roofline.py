"""Draws what the engines reach against the processor's float32 ceiling, from recorded results.

    python benchmarks/roofline.py engines-batch1 kernels -o roofline

Writes roofline.svg and roofline.png; needs matplotlib. Left: whole engines. Right: the same stage by stage, where the
time per layer is known. The pale bar is the speed as direct convolution would have to run it; the dark bar within is
the arithmetic that is really done, where that is known.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring.arguments import record_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""
_BELOW_FLOAT32 = {
    "native-bf16": "bfloat16", "native-bf16x3": "bfloat16x3", "openvino-bf16-2d": "bfloat16",
    "openvino-int8-2d": "int8", "torch-bf16": "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """GFLOPS of one engine, whole or in one stage."""

    effective: float
    executed: float | None


def stage_bars(run: dict[str, Any]) -> dict[str, Bar]:
    """The stages of one run of run_kernels.py, with the whole network (without the time outside layers) as "all"."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    known = all(row["executed_macs"] is not None for row in run["layers"])
    for row in run["layers"]:
        for stage in (row["stage"], "all"):
            sums[stage][0] += row["seconds"]
            sums[stage][1] += 2e-9 * row["direct_macs"]
            sums[stage][2] += 2e-9 * (row["executed_macs"] or 0)
    return {
        stage: Bar(direct / seconds, executed / seconds if known else None)
        for stage, (seconds, direct, executed) in sums.items()
    }


def engine_bars(case: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Bar]:
    """The engines of a case, the fastest first; the executed share comes from the layers of the same engine."""
    shares = {run["engine"]: stage_bars(run)["all"] for run in runs}
    bars = {}
    for name, facts in case["candidates"].items():
        if "summary" not in facts:
            continue
        effective = facts["summary"]["effective_gflops"]
        share = shares.get(name)
        executed = None if share is None or share.executed is None else effective * share.executed / share.effective
        bars[name] = Bar(effective, executed)
    return dict(sorted(bars.items(), key=lambda item: -item[1].effective))


def draw_bar(axes: Axes, position: float, bar: Bar, height: float, colour: str) -> None:
    axes.barh(position, bar.effective, height, color=colour, alpha=0.45)
    if bar.executed is not None:
        axes.barh(position, bar.executed, height * 0.45, color=colour)


def draw_ceiling(axes: Axes, gflops: float) -> None:
    axes.axvline(gflops, color="black", linewidth=1, linestyle="--")
    axes.annotate(
        f"float32 ceiling, measured: {gflops:.0f}", (gflops, 1), xycoords=("data", "axes fraction"), xytext=(4, 4),
        textcoords="offset points", fontsize=8, ha="center",
    )  # fmt: skip


def draw_engines(axes: Axes, bars: dict[str, Bar], colours: dict[str, str]) -> None:
    for position, (name, bar) in enumerate(bars.items()):
        draw_bar(axes, position, bar, 0.7, colours[name])
        executed = "" if bar.executed is None or bar.executed == bar.effective else f" ({bar.executed:.0f} executed)"
        axes.annotate(
            f"{bar.effective:.0f}{executed}", (bar.effective, position), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    labels = [f"{name}\n({_BELOW_FLOAT32[name]})" if name in _BELOW_FLOAT32 else name for name in bars]
    axes.set_yticks(range(len(bars)), labels)
    axes.set_title("Whole engines", pad=18)


def draw_stages(axes: Axes, runs: list[dict[str, Any]], colours: dict[str, str]) -> None:
    stages = list(dict.fromkeys(row["stage"] for row in runs[0]["layers"]))
    height = 0.8 / len(runs)
    for number, run in enumerate(runs):
        bars = stage_bars(run)
        for position, stage in enumerate(stages):
            if stage in bars:
                offset = (number - (len(runs) - 1) / 2) * height
                draw_bar(axes, position + offset, bars[stage], height * 0.9, colours[run["engine"]])
        axes.barh(0, 0, color=colours[run["engine"]], label=run["engine"])
    axes.set_yticks(range(len(stages)), stages)
    axes.legend(fontsize=8, loc="lower right")
    axes.set_title("Stage by stage, inside the layers", pad=18)


def chosen_case(result: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    wanted = (arguments.model, arguments.frames, 1, arguments.threads)
    for case in result["cases"]:
        if (case["model"], case["frames"], case["batch"], case["threads"]) == wanted:
            return dict(case)
    raise SystemExit("the result of run_engines.py has no case model={} mel_len={} batch={} threads={}".format(*wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", type=record_path, help="a result of run_engines.py")
    parser.add_argument("kernels", type=record_path, help="a result of run_kernels.py with the same threads")
    parser.add_argument("--model", default="v1")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True, help="without suffix")
    arguments = parser.parse_args()
    import matplotlib as mpl

    mpl.use("Agg")
    # Text stays text, and equal input gives an equal file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "hifigan-rt"})
    from matplotlib import pyplot as plt

    kernels = json.loads(arguments.kernels.read_text())
    if kernels["settings"]["threads"] != arguments.threads:
        parser.error(f"{arguments.kernels} was measured with {kernels['settings']['threads']} threads")
    runs = [run for run in kernels["runs"] if run["model"] == arguments.model]
    case = chosen_case(json.loads(arguments.engines.read_text()), arguments)
    bars = engine_bars(case, runs)
    names = dict.fromkeys([*(run["engine"] for run in runs), *bars])
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
    draw_engines(axes[0], bars, colours)
    if runs:
        draw_stages(axes[1], runs, colours)
    for part in axes:
        draw_ceiling(part, kernels["ceiling"]["best_gflops"])
        part.invert_yaxis()
        part.margins(x=0.2)
        part.set_xlabel("GFLOPS")
        part.spines[["top", "right"]].set_visible(False)
    threads = f"{arguments.threads} thread{'s' if arguments.threads > 1 else ''}"
    figure.suptitle(
        f"HiFi-GAN {arguments.model.upper()}, mel_len {arguments.frames}, {threads}, {kernels['machine']['cpu']}"
    )
    figure.supxlabel(
        "pale: equivalent of direct convolution; dark: multiplications really done, where known", fontsize=9
    )
    for suffix in (".svg", ".png"):
        metadata = {"Date": None} if suffix == ".svg" else None
        figure.savefig(arguments.output.with_suffix(suffix), dpi=150, metadata=metadata)


if __name__ == "__main__":
    main()
