"""Draws the pictures of docs/how-it-works.md: the map of the folders, and the inside of the generator.

    python scripts/draw_how_it_works.py
    python scripts/draw_how_it_works.py --check   # exit status 1 if a picture differs from the code

The rows of the map are those of the import contract in pyproject.toml.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from hifigan_rt.config import PRESETS
from hifigan_rt.graph import build_graph

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs/figures"

CAPTIONS = {
    "tools": "import the core, which never imports them",
    "vocoder": "load a model, call it",
    "export": "to ONNX, OpenVINO",
    "streaming": "frames in, audio out",
    "engines": "native, onnxruntime, openvino, torch, ascend, reference",
    "model": "finds what a user names",
    "families": "kinds of checkpoints",
    "mel": "log-mels: computed, checked, read",
    "formats": "files of models; nothing in them is executed",
    "graph": "the network: its layers in order, lengths, reach, cost",
    "audio": "recordings in and out",
    "config": "settings as types",
    "system": "files whole or not at all, processes, processors",
    "errors": "all errors, one tree",
    "cli": "the command hifigan",
    "benchmark": "engines compared",
    "client": "of the server",
    "serving": "HTTP, WebSocket",
    "evaluation": "metrics, report",
    "listening": "blind tests",
    "ascend": "to .om files",
    "bulk": "folders of files",
    "datasets": "inputs",
    "records": "JSON",
    "tables": "text, CSV",
    "web": "scripts",
    "bindings": "what Python sees",
    "core": "plan, weights, segments, threads",
    "kernels": "arithmetic, once per instruction set",
}

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c2733}.t{font-weight:600}.h{font:600 15px system-ui,sans-serif}"
    ".m{text-anchor:middle}.n{font-size:12px;fill:#52606d}.ground{fill:#ffffff;stroke:#d5dce3}"
    ".room{fill:#eef2f6;stroke:#8fa3b5}.core{fill:#d8e8f5;stroke:#6d93b5}.area{fill:none;stroke:#8fa3b5}"
    ".a{stroke:#5b7083;stroke-width:1.5;fill:none;marker-end:url(#m)}#m path{fill:#5b7083}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9aa7b4}.ground{fill:#161b22;stroke:#30363d}"
    ".room{fill:#222a33;stroke:#56677a}.core{fill:#17344f;stroke:#4b7ba5}.area{stroke:#56677a}"
    ".a{stroke:#8fa3b5}#m path{fill:#8fa3b5}}"
)


class Picture:
    """Shapes and text of one SVG."""

    def __init__(self, label: str, width: int, height: int) -> None:
        self._label, self._width, self._height = label, width, height
        self._parts: list[str] = []

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        self._parts.append(f'<text x="{x:g}" y="{y:g}" class="{style}">{text}</text>')

    def box(self, x: float, y: float, width: float, height: float, style: str) -> None:
        self._parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="{style}"/>')

    def room(self, x: float, y: float, width: float, name: str, note: str, style: str = "room") -> None:
        self.box(x, y, width, 42, style)
        self.text(x + width / 2, y + 18, name, "t m")
        self.text(x + width / 2, y + 34, note, "n m")

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " L".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<path d="M{path}" class="a"/>')

    def svg(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" role="img" '
            f'aria-label="{self._label}"><style>{STYLE}</style>'
            '<defs><marker id="m" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
            f'<rect x="0.5" y="0.5" width="{self._width - 1}" height="{self._height - 1}" rx="8" class="ground"/>'
            + "\n".join(self._parts)
            + "</svg>\n"
        )


def contract(container: str) -> list[list[str]]:
    """Rows of rooms from the top down, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rows,) = (entry["layers"] for entry in contracts if entry.get("containers") == [container])
    return [row.replace(":", "|").replace(" ", "").split("|") for row in rows]


def draw_map() -> str:
    tools, core = contract("hifigan_rt.tools"), contract("hifigan_rt")[1:]
    step, left, width = 50, 24, 480
    top = 66
    picture = Picture("Map of the folders: tools over the core over the C++ code", 960, 146 + step * len(core))

    def rows(x: float, y: float, width: float, rooms: list[list[str]], style: str) -> None:
        for i, row in enumerate(rooms):
            each = (width - 10 * (len(row) - 1)) / len(row)
            for j, name in enumerate(row):
                picture.room(x + j * (each + 10), y + step * i, each, name, CAPTIONS[name], style)

    picture.text(left, 34, "src/hifigan_rt: a room may import only rooms further down", "h")
    picture.box(left - 8, top - 14, width + 16, step * len(core) + 22, "area")
    picture.text(left + 4, top + 4, "the vocoder", "n")
    rows(left, top + 12, width, core, "core")
    bottom = top + step * len(core) + 16

    x = left + width + 34
    picture.box(x - 8, top - 14, 418, step * len(tools) + 22, "area")
    picture.text(x + 4, top + 4, f"tools: {CAPTIONS['tools']}", "n")
    rows(x, top + 12, 402, tools, "room")
    picture.arrow((x - 8, top + 33), (left + width + 9, top + 33))

    y = top + step * len(tools) + 66
    picture.text(x, y - 20, "native, C++", "h")
    for i, name in enumerate(("bindings", "core", "kernels")):
        picture.room(x, y - 8 + step * i, 402, f"native/{name}", CAPTIONS[name], "core")
    engines = top + 12 + step * next(i for i, row in enumerate(core) if "engines" in row) + 21
    between = left + width + 17
    picture.arrow((left + width, engines), (between, engines), (between, y + 13), (x - 1, y + 13))
    picture.text(
        left,
        bottom + 30,
        "Beside it: tests/, benchmarks/ (recorded results), scripts/, docs/, examples/,",
        "n",
    )
    picture.text(left, bottom + 48, "deploy/ (container, service), samples/ (our recordings).", "n")
    return picture.svg()


def draw_generator() -> str:
    graph = build_graph(PRESETS["v1"].generator)
    field = graph.receptive_field
    picture = Picture("The layers of a V1 generator", 960, 262)
    picture.text(20, 32, "Inside the generator (V1): each box with its rows per mel frame and its channels", "h")
    x, rate, width, gap = 20.0, 1, 108, 14

    def next_room(name: str, note: str, width: float = width) -> None:
        nonlocal x
        picture.room(x, 50, width, name, note)
        x += width + gap
        if name != "tanh":
            picture.arrow((x - gap, 71), (x, 71))

    next_room("conv_pre", f"1 x {graph.layers[0].out_channels}")
    for i, upsample in enumerate(layer for layer in graph.layers if layer.kind == "conv_transpose"):
        rate *= upsample.stride
        sizes = zip(graph.config.resblock_kernel_sizes, graph.config.resblock_dilation_sizes, strict=True)
        for j, (kernel, dilations) in enumerate(sizes):
            picture.box(x, 104 + 34 * j, width, 28, "core")
            picture.text(x + width / 2, 123 + 34 * j, f"k {kernel}  d {','.join(map(str, dilations))}", "m")
        next_room(f"ups.{i}  (x {upsample.stride})", f"{rate} x {upsample.out_channels}")
    next_room("conv_post", f"{rate} x 1")
    next_room("tanh", "samples", 76)
    picture.text(142, 226, "The three residual blocks of a stage read the same rows; their mean goes on.", "n")
    picture.text(
        142,
        246,
        f"One mel frame changes the samples {field.first_sample} to +{field.last_sample} from its own first one: "
        f"{field.right_frames} frames of look-ahead.",
        "n",
    )
    return picture.svg()


PICTURES = {"map.svg": draw_map, "generator.svg": draw_generator}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        if "--check" not in sys.argv[1:]:
            (FIGURES / name).write_text(draw(), encoding="utf-8")
        elif (FIGURES / name).read_text(encoding="utf-8") != draw():
            sys.exit(f"docs/figures/{name} is not what the code says: run scripts/draw_how_it_works.py")
