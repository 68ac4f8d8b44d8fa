"""Draws docs/figures/how-it-works.svg: the way from a checkpoint and a recording to audio, and inside the generator.

python scripts/draw_how_it_works.py
"""

from __future__ import annotations

from pathlib import Path

from hifigan_rt.config import PRESETS
from hifigan_rt.graph import build_graph

INK, PALE, ACCENT, LINE = "#1c2733", "#eef2f6", "#d8e8f5", "#5b7083"
PARTS: list[str] = []


def box(x: int, y: int, width: int, title: str, detail: str = "", fill: str = PALE, height: int = 46) -> None:
    PARTS.append(
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{LINE}"/>'
        f'<text x="{x + width / 2}" y="{y + (20 if detail else height / 2 + 5)}" class="t">{title}</text>'
    )
    if detail:
        PARTS.append(f'<text x="{x + width / 2}" y="{y + 36}" class="d">{detail}</text>')


def arrow(x1: int, y1: int, x2: int, y2: int, label: str = "") -> None:
    PARTS.append(f'<path d="M{x1},{y1} L{x2},{y2}" class="a"/>')
    if label:
        PARTS.append(f'<text x="{(x1 + x2) / 2}" y="{(y1 + y2) / 2 - 6}" class="d">{label}</text>')


def heading(y: int, text: str) -> None:
    PARTS.append(f'<text x="20" y="{y}" class="h">{text}</text>')


def draw_pipeline() -> None:
    heading(30, "From files to audio")
    box(20, 48, 150, "checkpoint file", ".pth  .safetensors")
    arrow(170, 71, 300, 71, "checkpoint/")
    box(300, 48, 150, "{name: array}", "weight norm folded")
    arrow(450, 71, 580, 71, "graph.bind")
    box(580, 48, 150, "Generator", "layers + weights")
    arrow(655, 94, 655, 142, "")
    box(20, 142, 150, "audio file", "wav flac ogg mp3")
    arrow(170, 165, 300, 165, "audio, mel")
    box(300, 142, 150, "log-mel", "float32 [M, T]")
    arrow(450, 165, 580, 165, "checked")
    box(580, 142, 150, "engine", "run(mel)", ACCENT)
    arrow(730, 165, 800, 165)
    box(800, 142, 140, "audio", "float32 [N]")
    arrow(730, 71, 800, 71, "export/")
    box(800, 48, 140, ".onnx", ".safetensors")


def draw_generator() -> None:
    graph = build_graph(PRESETS["v1"].generator)
    field = graph.receptive_field
    heading(232, "Inside the generator (V1): each box with its rows per mel frame and its channels")
    x, rate, width, gap = 20, 1, 108, 14
    box(x, 250, width, "conv_pre", f"1 x {graph.layers[0].out_channels}")
    for i, upsample in enumerate(layer for layer in graph.layers if layer.kind == "conv_transpose"):
        arrow(x + width, 273, x + width + gap, 273)
        x += width + gap
        rate *= upsample.stride
        box(x, 250, width, f"ups.{i}  (x {upsample.stride})", f"{rate} x {upsample.out_channels}")
        sizes = zip(graph.config.resblock_kernel_sizes, graph.config.resblock_dilation_sizes, strict=True)
        for j, (kernel, dilations) in enumerate(sizes):
            box(x, 306 + 34 * j, width, f"k {kernel}  d {','.join(map(str, dilations))}", "", ACCENT, 28)
    arrow(x + width, 273, x + width + gap, 273)
    x += width + gap
    box(x, 250, width, "conv_post", f"{rate} x 1")
    arrow(x + width, 273, x + width + gap, 273)
    box(x + width + gap, 250, 76, "tanh", "samples")
    PARTS.append(
        '<text x="142" y="428" class="l">The three residual blocks of a stage read the same rows; their mean goes on.'
        "</text>"
        f'<text x="142" y="450" class="l">One mel frame changes the samples {field.first_sample} to '
        f"+{field.last_sample} from its own first one: {field.right_frames} frames of look-ahead.</text>"
    )


def main() -> None:
    draw_pipeline()
    draw_generator()
    style = (
        f".t{{font:600 14px sans-serif;fill:{INK};text-anchor:middle}}"
        f".d{{font:12px sans-serif;fill:{INK};text-anchor:middle}}"
        f".h{{font:600 15px sans-serif;fill:{INK}}}.l{{font:13px sans-serif;fill:{INK}}}"
        f".a{{stroke:{LINE};stroke-width:1.5;marker-end:url(#m);fill:none}}"
    )
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 470" role="img" '
        'aria-label="From files to audio, and the layers of the generator">'
        f"<style>{style}</style>"
        '<defs><marker id="m" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/></marker></defs>'
        '<rect width="960" height="470" fill="#ffffff"/>' + "".join(PARTS) + "</svg>\n"
    )
    Path(__file__).parents[1].joinpath("docs/figures/how-it-works.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
