"""Draws the picture of README: how fast each runtime makes audio, from the recorded results.

python scripts/draw_speed.py           # writes docs/figures/speed.svg
python scripts/draw_speed.py --check   # exit status 1 if the picture differs from the results
"""

from __future__ import annotations

import json
from typing import Any

from drawing import Drawing, write
from write_figures import LABELS, ROOT

RESULT = ROOT / "benchmarks/results/headline.json"
FRAMES = 1000

WIDTH, TOP, STEP, BAR = 880, 84, 34, 22
LEFT, RIGHT = 230, 640
NOTE = 700


def label_of(name: str) -> str:
    return LABELS[name].replace("*", "").replace(", 2-D graph", "").replace("rt native", "rt")


def draw() -> str:
    """The picture as SVG: a bar per runtime, the fastest first, with its distance from float64 beside it."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    case = next(case for case in result["cases"] if case["frames"] == FRAMES)
    measured: dict[str, dict[str, Any]] = {k: v for k, v in case["candidates"].items() if "summary" in v}
    names = sorted(measured, key=lambda name: measured[name]["summary"]["median_ms"])
    most = measured[names[0]]["summary"]["x_real_time"]
    bottom = TOP + STEP * len(names)
    drawing = Drawing("Speed of hifigan-rt's native engine beside other runtimes", WIDTH, bottom + 54)
    drawing.text(
        20,
        32,
        f"Seconds of audio per second: V1, {case['audio_seconds']:.1f} s of speech, {case['threads']} threads",
        "h",
    )
    drawing.text(NOTE, TOP - 18, "SNR against float64", "n")
    for row, name in enumerate(names):
        y, speed = TOP + STEP * row, measured[name]["summary"]["x_real_time"]
        ours = name == case["baseline"]
        weight = "s t" if ours else "s"
        length, middle = (RIGHT - LEFT) * speed / most, y + BAR / 2 + 5
        drawing.text(LEFT - 12, middle, label_of(name), f"{weight} e")
        drawing.box(LEFT, y, length, BAR, "best" if ours else "grey", 3)
        drawing.text(LEFT + length + 8, middle, f"{speed:.1f}", weight)
        drawing.text(NOTE, middle, f"{measured[name]['snr_db']:.0f} dB", "n")
    machine = result["machine"]
    drawing.text(
        20,
        bottom + 18,
        f"Measured on {machine['usable_cores']} cores of an {machine['cpu']} ({architecture(machine)}), "
        f"{result['date'][:10]}, in turn, each at its best settings.",
        "n",
    )
    drawing.text(20, bottom + 36, "100 dB is the rounding of float32; 20 dB can be heard.", "n")
    return drawing.svg()


def architecture(machine: dict[str, Any]) -> str:
    """Name of the processor's generation, which the system's own name leaves out."""
    known = {("AMD EPYC", "26"): "Zen 5"}
    return known.get((machine["cpu"], machine["cpu_family"]), machine["cpu_family"])


if __name__ == "__main__":
    write({"speed.svg": draw})
