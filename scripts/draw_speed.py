"""Draws how fast each runtime makes audio, from the recorded results.

python scripts/draw_speed.py           # writes docs/figures/speed.svg and tiles.svg
python scripts/draw_speed.py --check   # exit status 1 if a picture differs from the results
"""

from __future__ import annotations

from typing import Any

from drawing import Drawing, write
from write_figures import LABELS, generation, records, speed_case

FRAMES = 1000

WIDTH, TOP, STEP, BAR, GAP = 880, 58, 32, 22, 40
LEFT, RIGHT = 230, 640
NOTE = 700


def label_of(name: str) -> str:
    return LABELS[name].replace("*", "").replace(", 2-D graph", "").replace("rt native", "rt")


def draw(name: str, threads: int) -> str:
    """A picture as SVG: for each processor a bar per runtime, the fastest first, with its distance from float64."""
    found = records(name)
    cases = {processor: speed_case(record, FRAMES, threads) for processor, record in found.items()}
    most = max(facts["summary"]["x_real_time"] for case in cases.values() for facts in case.values())
    bottom = TOP + sum(GAP + STEP * len(case) for case in cases.values())
    drawing = Drawing("Speed of hifigan-rt's native engine beside other runtimes", WIDTH, bottom + 54)
    seconds = next(case for record in found.values() for case in record["cases"] if case["frames"] == FRAMES)
    used = "2 threads" if threads == 2 else "1 thread"
    drawing.text(20, 32, f"Seconds of audio per second: V1, {seconds['audio_seconds']:.1f} s of speech, {used}", "h")
    y = TOP
    for processor, case in cases.items():
        drawing.text(20, y + 16, generation(processor), "s t")
        drawing.text(NOTE, y + 16, "SNR against float64", "n")
        y += GAP
        for name, facts in case.items():
            _bar(drawing, y, name, facts, most)
            y += STEP
    dates = ", ".join(f"{generation(processor)} {record['date'][:10]}" for processor, record in found.items())
    drawing.text(20, bottom + 18, f"Measured on 2 cores, in turn, each at its best settings: {dates}.", "n")
    drawing.text(20, bottom + 36, "100 dB is the rounding of float32; 20 dB can be heard.", "n")
    return drawing.svg()


def _bar(drawing: Drawing, y: float, name: str, facts: dict[str, Any], most: float) -> None:
    speed, ours = facts["summary"]["x_real_time"], name.startswith("native")
    weight = "s t" if ours else "s"
    length, middle = (RIGHT - LEFT) * speed / most, y + BAR / 2 + 5
    drawing.text(LEFT - 12, middle, label_of(name), f"{weight} e")
    drawing.box(LEFT, y, length, BAR, "best" if ours else "grey", 3)
    drawing.text(LEFT + length + 8, middle, f"{speed:.1f}", weight)
    drawing.text(NOTE, middle, f"{facts['snr_db']:.0f} dB", "n")


if __name__ == "__main__":
    write({"speed.svg": lambda: draw("headline.json", 2), "tiles.svg": lambda: draw("tiles.json", 1)})
