"""Draws the figures of native/NOTES.md and docs/native-engine.md: one tile's way, and what a segment determines.

python scripts/draw_native_engine.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawing import Drawing, write
from hifigan_rt.config import PRESETS
from hifigan_rt.graph import MEL, Graph, Layer, build_graph

PHASES = ("none", "blue", "warm")

POINTS, TAPS, DILATION = 8, 3, 3
OUTPUTS = POINTS - TAPS + 3


def cell(
    drawing: Drawing, x: float, y: float, width: float, name: str, value: float | None, style: str = "pale"
) -> None:
    drawing.box(x, y, width, 36, style)
    drawing.text(x + width / 2, y + (15 if value is not None else 22), name)
    if value is not None:
        drawing.text(x + width / 2, y + 30, signed(value), "v")


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def sub(name: str, index: int) -> str:
    return f'{name}<tspan font-size="9" dy="3">{index}</tspan><tspan dy="-3"> </tspan>'


@dataclass(frozen=True)
class Tile:
    """The numbers of one tile of one channel."""

    rows: np.ndarray
    left: list[tuple[str, float]]
    right: list[tuple[str, float]]
    planes: list[tuple[str, float]]
    outputs: np.ndarray


def compute_tile(rows: np.ndarray, taps: np.ndarray) -> Tile:
    n = POINTS
    window = np.concatenate([rows[n : n + 1], rows[1:n]])
    spectrum, conjugate = np.fft.rfft(window), np.conj(np.fft.rfft(taps, n)) / n
    left, right, planes = [], [], []
    for f in (0, n // 2):
        left.append((sub("a", f), spectrum[f].real))
        right.append((sub("c", f), conjugate[f].real))
        planes.append((f"bin {f}", spectrum[f].real * conjugate[f].real))
    for f in range(1, n // 2):
        a, b, c, d = spectrum[f].real, spectrum[f].imag, conjugate[f].real, conjugate[f].imag
        left += [("a + b", a + b), ("a", a), ("b", b)]
        right += [("c", c), ("d − c", d - c), ("−(c + d)", -(c + d))]
        planes += [(f"re {f}", (a + b) * c - b * (c + d)), (f"im {f}", (a + b) * c + a * (d - c))]
    first, last = rows[0] - rows[n], rows[n + 1] - rows[1]
    left += [(sub("x", 0) + "− " + sub("x", n), first), (sub("x", n + 1) + "− " + sub("x", 1), last)]
    right += [(sub("w", 0), taps[0]), (sub("w", TAPS - 1), taps[-1])]
    planes += [("first", first * taps[0]), ("last", last * taps[-1])]
    product = np.zeros(n // 2 + 1, complex)
    product[[0, n // 2]] = planes[0][1], planes[1][1]
    product[1 : n // 2] = [planes[2 * f][1] + 1j * planes[2 * f + 1][1] for f in range(1, n // 2)]
    outputs = np.fft.irfft(product * n)[:OUTPUTS]
    outputs[0] += planes[-2][1]
    outputs[-1] += planes[-1][1]
    return Tile(rows, left, right, planes, outputs)


def draw_tile() -> str:
    rng = np.random.default_rng(6)
    signal, taps = rng.standard_normal(33), rng.standard_normal(TAPS)
    phase = 1
    tile = compute_tile(signal[phase::DILATION][: POINTS + 2], taps)
    np.testing.assert_allclose(tile.outputs, np.convolve(tile.rows, taps[::-1], "valid"), atol=1e-12)

    drawing = Drawing("One tile's way: rows of one phase, transform, products, inverse transform, rows kept", 960, 610)
    drawing.text(
        18, 26, f"One tile of one channel: {POINTS} points, kernel {TAPS}, dilation {DILATION}, phase {phase}", "h"
    )
    width = 28
    drawing.text(
        18, 50, "Rows of the input in the order of time; each phase of the dilation is a convolution of its own.", ""
    )
    for row, value in enumerate(signal):
        mine = row % DILATION == phase and row // DILATION < POINTS + 2
        cell(
            drawing,
            18 + row * width,
            58,
            width,
            sub("x", row // DILATION) if mine else "",
            value if mine else None,
            PHASES[row % DILATION],
        )

    drawing.text(
        18,
        122,
        f"1. Read {POINTS + 2} rows at a stride of {DILATION}, apply the leaky ReLU (here none). "
        f"The window of the transform begins with {sub('x', POINTS)}:",
        "",
    )
    order = [POINTS, *range(1, POINTS)]
    for i, index in enumerate(order):
        cell(drawing, 18 + 56 * i, 132, 56, sub("x", index), tile.rows[index], "blue")
    drawing.arrow((18 + 28 * POINTS, 170), (18 + 28 * POINTS, 192))

    step = 70
    drawing.text(
        18,
        210,
        f"2. Real transform, a + ib: {len(tile.left)} planes. In each, the rows of many tiles and all "
        "channels make the left matrix of a product.",
        "",
    )
    xs: list[float] = [18.0 + step * i + 6 * (min(max(i - 2, 0) // 3, 3) + (i >= 2)) for i in range(len(tile.left))]
    small = 62
    for x, (name, value) in zip(xs, tile.left, strict=True):
        cell(drawing, x, 220, small, name, value, "blue")
    drawing.text(
        18,
        282,
        "3. Times the prepared weights, conj(W) / 8 = c + id (here one number each, in a layer a matrix "
        "[channels in, channels out]):",
        "",
    )
    for x, (name, value) in zip(xs, tile.right, strict=True):
        cell(drawing, x, 292, small, name, value, PHASES[2])
    drawing.text(
        18,
        366,
        f"4. {len(tile.planes)} planes of products. In a complex bin the sums of (a + b) c go on: "
        "− b (c + d) makes re, + a (d − c) makes im.",
        "",
    )
    where = [xs[0], xs[1]] + [xs[2 + 3 * (i // 2)] + small * 0.55 + (i % 2) * step for i in range(POINTS - 2)] + xs[-2:]
    for x, (name, value) in zip(where, tile.planes, strict=True):
        cell(drawing, x, 376, small, name, value, "pale")
    drawing.arrow((18 + 28 * POINTS, 414), (18 + 28 * POINTS, 436))

    drawing.text(
        18,
        454,
        f"5. Inverse transform; “first” is added to {sub('y', 0)} and “last” to "
        f"{sub('y', OUTPUTS - 1)}: {OUTPUTS} exact outputs of the convolution.",
        "",
    )
    for i, value in enumerate(tile.outputs):
        cell(drawing, 18 + 56 * i, 464, 56, sub("y", i), value, "blue")
    drawing.text(
        18,
        528,
        "6. Bias, residual, sum over the residual blocks, scale and activation on the way to the rows "
        "of the same phase.",
        "",
    )
    for row in range(33):
        mine = row % DILATION == phase and row // DILATION < OUTPUTS
        cell(
            drawing,
            18 + row * width,
            538,
            width,
            sub("y", row // DILATION) if mine else "",
            tile.outputs[row // DILATION] if mine else None,
            PHASES[row % DILATION] if mine else "none",
        )
    drawing.text(18, 596, f"The next tile of this phase begins at {sub('x', OUTPUTS)}.", "")
    return drawing.svg()


@dataclass(frozen=True)
class Activation:
    """Rows of one activation after F frames, counted from F frames on: all negative or zero."""

    name: str
    end: int
    kept: int
    samples_per_row: int
    note: str = ""


def activations(graph: Graph) -> list[Activation]:
    """What a stream of this graph holds at the end of a segment, F frames after its start, for a large F."""
    ends, rates = {MEL: 0}, {MEL: 1}
    for layer in graph.layers:
        end = min(ends[name] for name in layer.inputs)
        ends[layer.name] = end * layer.stride - layer.padding[1]
        rates[layer.name] = rates[layer.inputs[0]] * layer.stride
    kept = dict.fromkeys(ends, 0)
    for layer in graph.layers:
        common = min(ends[name] for name in layer.inputs)
        for name in layer.inputs:
            # Of several, what came further waits to be added to the slowest; only their sum is read again.
            first = first_row_read(layer, ends[layer.name]) if ends[name] == common else common
            kept[name] = max(kept[name], ends[name] - first)
        if layer.residual is not None:
            kept[layer.residual] = max(kept[layer.residual], ends[layer.residual] - ends[layer.name])

    def row(value: str, name: str, note: str = "") -> Activation:
        return Activation(name, ends[value], kept[value], graph.hop_length // rates[value], note)

    result = [row(MEL, "mel frames")]
    stage, inside = -1, 0
    summed = {name for layer in graph.layers if len(layer.inputs) > 1 for name in layer.inputs}
    for layer in graph.layers[:-1]:
        stage += layer.kind == "conv_transpose"
        if layer.name in summed:
            result.append(row(layer.name, f"stage {stage}, kernel {layer.kernel_size}", f"{inside} inside"))
            inside = 0
        elif layer.name.startswith("resblocks."):
            inside += kept[layer.name]
        else:
            result.append(row(layer.name, layer.name))
    result.append(row(graph.layers[-1].name, "samples"))
    assert result[-1].end == graph.receptive_field.first_sample
    return result


def first_row_read(layer: Layer, row: int) -> int:
    """The first input row that a layer reads for one of its output rows."""
    left, _ = layer.padding
    if layer.kind == "conv":
        return row - left
    taps = -(-layer.kernel_size // layer.stride)
    return (row + left) // layer.stride - (taps - 1)


def draw_stream() -> str:
    graph = build_graph(PRESETS["v1"].generator)
    rows = activations(graph)
    height = 21
    drawing = Drawing("Which rows are determined after F frames, and which are kept", 960, 118 + height * len(rows))
    drawing.text(18, 26, "V1 after F frames: how far each activation is determined, and the rows that are kept", "h")
    left, right, oldest = 160, 700, -3600
    per_sample = (right - left) / -oldest

    def at(sample: int) -> float:
        return right + sample * per_sample

    top = 66
    bottom = top + height * len(rows)
    for sample in range(-3500, 1, 500):
        drawing.rule(at(sample), top - 8, bottom)
        drawing.text(at(sample), top - 12, "end of F" if sample == 0 else f"−{-sample:,}", "v")
    drawing.text(right + 40, top - 12, "rows determined: rows kept", "")
    for i, row in enumerate(rows):
        y = top + height * i
        end = row.end * row.samples_per_row
        begin = end - row.kept * row.samples_per_row
        drawing.text(left - 8, y + 13, row.name, "e")
        drawing.box(left, y + 2, at(end) - left, height - 6, "blue" if "kernel" in row.name else "pale")
        if row.kept:
            drawing.box(max(left, at(begin)), y + 2, at(end) - max(left, at(begin)), height - 6, "deep")
        rate = graph.hop_length // row.samples_per_row
        count = "F" if rate == 1 else f"{rate} F"
        kept = f"{row.kept} kept" if row.kept else ""
        note = "; ".join(part for part in (kept, row.note) if part)
        drawing.text(
            right + 14,
            y + 13,
            f"{count} − {-row.end}{': ' if note else ''}{note}" if row.end else f"{count}: {note}",
            "",
        )
    drawing.text(
        18,
        bottom + 24,
        "Deep blue: kept, since later rows read them, or because the stage’s sum waits there for its slowest block. "
        "“Inside”: rows that",
        "",
    )
    drawing.text(
        18,
        bottom + 42,
        "the convolutions of a residual block read again. Across: samples before the end of frame F; "
        "a row of stage 0 lasts 32 samples, of stage 3 one.",
        "",
    )
    return drawing.svg()


if __name__ == "__main__":
    write({"native-engine-tile.svg": draw_tile, "native-engine-stream.svg": draw_stream})
