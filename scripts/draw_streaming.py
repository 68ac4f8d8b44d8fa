"""Draws the figure of docs/streaming.md: what a stream gives after each segment, and from which frames.

python scripts/draw_streaming.py
"""

from __future__ import annotations

from draw_native_engine import PHASES
from drawing import Drawing, write
from hifigan_rt.config import PRESETS
from hifigan_rt.graph import build_graph

SEGMENT, SEGMENTS, RATE = 16, 4, 22050
LEFT, PER_FRAME, TOP, STEP = 170, 11.2, 92, 92


def draw() -> str:
    graph = build_graph(PRESETS["v1"].generator)
    field, hop = graph.receptive_field, graph.hop_length
    drawing = Drawing("What a stream of V1 gives after each segment of 16 frames", 960, TOP + STEP * SEGMENTS + 76)

    def at(sample: float) -> float:
        return LEFT + sample / hop * PER_FRAME

    drawing.text(18, 26, f"V1 in segments of {SEGMENT} frames: what is given after each, and from which frames", "h")
    bottom = TOP + STEP * SEGMENTS
    for frame in range(0, SEGMENT * SEGMENTS + 1, SEGMENT):
        drawing.rule(at(frame * hop), TOP - 22, bottom)
        drawing.text(at(frame * hop), TOP - 40, f"frame {frame}")
        drawing.text(at(frame * hop), TOP - 27, f"{1000 * frame * hop / RATE:.0f} ms", "v")
    given = first = 0
    for index in range(SEGMENTS):
        known = SEGMENT * (index + 1)
        determined = max(0, known * hop + field.first_sample)
        y = TOP + STEP * index
        drawing.text(LEFT - 10, y + 14, f"{known} frames are there", "e")
        drawing.box(at(0), y, at(known * hop) - at(0), 19, "pale")
        drawing.box(at((known - SEGMENT) * hop), y, SEGMENT * PER_FRAME, 19, PHASES[2])
        drawing.text(LEFT - 10, y + 37, "without state: window", "e")
        drawing.box(at(first * hop), y + 23, at(known * hop) - at(first * hop), 19, PHASES[0])
        drawing.text((at(first * hop) + at(known * hop)) / 2, y + 37, f"frames {first} to {known - 1}")
        drawing.text(LEFT - 10, y + 60, "audio given", "e")
        if given:
            drawing.box(at(0), y + 46, at(given) - at(0), 19, "blue")
        drawing.box(at(given), y + 46, at(determined) - at(given), 19, "deep")
        drawing.text(at(determined) + 8, y + 60, f"{determined:,} samples", "")
        given = determined
        # The window of the next segment: no frame before it reaches a sample that is still to come.
        first = max(0, (given - 1 - field.last_sample) // hop + 1)
    look_ahead, segment = -1000 * field.first_sample / RATE, 1000 * SEGMENT * hop / RATE
    drawing.text(
        18,
        bottom + 20,
        f"Deep blue: given now. Behind it: what later frames can change, the look-ahead of {-field.first_sample:,} "
        f"samples or {look_ahead:.0f} ms.",
        "",
    )
    drawing.text(
        18,
        bottom + 38,
        f"The first such sample of a row has waited longest: look-ahead and one segment, "
        f"{look_ahead:.0f} + {segment:.0f} = {look_ahead + segment:.0f} ms.",
        "",
    )
    drawing.text(
        18,
        bottom + 56,
        "The native engine computes only what is new, from rows that it keeps; engines without state run the window "
        "and throw the rest away.",
        "",
    )
    return drawing.svg()


if __name__ == "__main__":
    write({"streaming.svg": draw})
