"""Draws the picture of README: how fast each runtime makes audio, from the recorded results.

    python scripts/draw_speed.py           # writes docs/figures/speed.svg
    python scripts/draw_speed.py --check   # exit status 1 if the picture differs from the results

A picture of its own for light and for dark, on a ground of its own, so that it can be read on any page.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from write_figures import LABELS, ROOT

RESULT = ROOT / "benchmarks/results/headline.json"
PICTURE = ROOT / "docs/figures/speed.svg"
FRAMES = 1000

WIDTH, TOP, STEP, BAR = 880, 84, 34, 22
LEFT, RIGHT = 230, 640
NOTE = 700

STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1c2733}.h{font-weight:600;font-size:16px}.n{font-size:12px;fill:#52606d}"
    ".e{text-anchor:end}.ours{font-weight:600}.ground{fill:#ffffff;stroke:#d5dce3}.other{fill:#9db4c8}.best{fill:#1f6fb2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9aa7b4}.ground{fill:#161b22;stroke:#30363d}"
    ".other{fill:#55708a}.best{fill:#58a6ff}}"
)


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
    parts = [
        f'<text x="20" y="32" class="h">Seconds of audio per second: V1, {case["audio_seconds"]:.1f} s of speech, '
        f"{case['threads']} threads</text>",
        f'<text x="{NOTE}" y="{TOP - 18}" class="n">SNR against float64</text>',
    ]
    for row, name in enumerate(names):
        y, speed = TOP + STEP * row, measured[name]["summary"]["x_real_time"]
        ours = name == case["baseline"]
        fill = "best" if ours else "other"
        length, middle = (RIGHT - LEFT) * speed / most, y + BAR / 2 + 5
        parts += [
            f'<text x="{LEFT - 12}" y="{middle}" class="e{" ours" * ours}">{label_of(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" class="{fill}"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{middle}" class="{"ours" * ours}">{speed:.1f}</text>',
            f'<text x="{NOTE}" y="{middle}" class="n">{measured[name]["snr_db"]:.0f} dB</text>',
        ]
    machine = result["machine"]
    parts += [
        f'<text x="20" y="{bottom + 18}" class="n">Measured on {machine["usable_cores"]} cores of an {machine["cpu"]} '
        f"({architecture(machine)}), {result['date'][:10]}, in turn, each at its best settings.</text>",
        f'<text x="20" y="{bottom + 36}" class="n">100 dB is the rounding of float32; 20 dB can be heard.</text>',
    ]
    height = bottom + 54
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Speed of hifigan-rt\'s native engine beside other runtimes"><style>{STYLE}</style>'
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="ground"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def architecture(machine: dict[str, Any]) -> str:
    """Name of the processor's generation, which the system's own name leaves out."""
    known = {("AMD EPYC", "26"): "Zen 5"}
    return known.get((machine["cpu"], machine["cpu_family"]), machine["cpu_family"])


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(draw(), encoding="utf-8")
    elif PICTURE.read_text(encoding="utf-8") != draw():
        sys.exit(f"{PICTURE.relative_to(ROOT)} is not what benchmarks/results says: run scripts/draw_speed.py")
