"""Draws the pictures of docs/how-it-works.md: the map of the folders, and the inside of the generator.

    python scripts/draw_how_it_works.py
    python scripts/draw_how_it_works.py --check   # exit status 1 if one differs from the code

The rows of the map are those of the import contract in pyproject.toml.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from drawing import Drawing, write
from hifigan_rt.config import PRESETS
from hifigan_rt.engines import REGISTRY
from hifigan_rt.graph import build_graph

ROOT = Path(__file__).parents[1]

CAPTIONS = {
    "tools": "import the core, which never imports them",
    "vocoder": "load a model, call it",
    "export": "to ONNX, OpenVINO",
    "streaming": "frames in, audio out",
    "engines": ", ".join(REGISTRY),
    "model": "finds what a user names",
    "families": "kinds of checkpoints",
    "mel": "computed, checked, read",
    "formats": "files of models; nothing in them is executed",
    "graph": "the network: its layers in order, lengths, reach, cost",
    "audio": "recordings in and out",
    "config": "settings as types",
    "system": "files whole or not at all, processes, processors",
    "errors": "all errors, one tree",
    "cli": "the command hifigan",
    "benchmark": "of engines",
    "client": "of servers",
    "serving": "over HTTP",
    "evaluation": "metrics, report",
    "listening": "blind tests",
    "cluster": "many machines",
    "ascend": "to .om files",
    "bulk": "folders of files",
    "pyinstaller": "for freezing",
    "framework": "in PyTorch",
    "datasets": "inputs",
    "records": "JSON",
    "tables": "text, CSV",
    "web": "scripts",
    "voices": "text to speech",
    "native/bindings": "what Python sees",
    "native/core": "plan, weights, threads",
    "native/cuda": "a card, its own kernels",
    "native/kernels": "arithmetic, once per instruction set",
}


def room(drawing: Drawing, x: float, y: float, width: float, name: str, note: str, style: str = "pale") -> None:
    drawing.box(x, y, width, 42, style, 6)
    drawing.text(x + width / 2, y + 18, name, "t m")
    drawing.text(x + width / 2, y + 34, note, "n m")


def contract(container: str) -> list[list[str]]:
    """Rows of rooms from the top down, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rows,) = (entry["layers"] for entry in contracts if entry.get("containers") == [container])
    return [row.replace(":", "|").replace(" ", "").split("|") for row in rows]


def draw_map() -> str:
    tools, core = contract("hifigan_rt.tools"), contract("hifigan_rt")[1:]
    step, left, width = 50, 24, 420
    top = 66
    drawing = Drawing("Map of the folders: tools over the core over the C++ code", 960, 146 + step * len(core))

    def rows(x: float, y: float, width: float, rooms: list[list[str]], style: str) -> None:
        for i, row in enumerate(rooms):
            each = (width - 6 * (len(row) - 1)) / len(row)
            for j, name in enumerate(row):
                room(drawing, x + j * (each + 6), y + step * i, each, name, CAPTIONS[name], style)

    drawing.text(left, 34, "src/hifigan_rt: a room may import only rooms further down", "h")
    drawing.box(left - 8, top - 14, width + 16, step * len(core) + 22, "none", 6)
    drawing.text(left + 4, top + 4, "the vocoder", "n")
    rows(left, top + 12, width, core, "blue")
    bottom = top + step * len(core) + 16

    x = left + width + 34
    drawing.box(x - 8, top - 14, 478, step * len(tools) + 22, "none", 6)
    drawing.text(x + 4, top + 4, f"tools: {CAPTIONS['tools']}", "n")
    rows(x, top + 12, 462, tools, "pale")
    drawing.arrow((x - 8, top + 33), (left + width + 9, top + 33))

    y = top + step * len(tools) + 66
    drawing.text(x, y - 20, "native, C++", "h")
    rows(x, y - 8, 462, [["native/bindings"], ["native/core", "native/cuda"], ["native/kernels"]], "blue")
    engines = top + 12 + step * next(i for i, row in enumerate(core) if "engines" in row) + 21
    between = left + width + 17
    drawing.arrow((left + width, engines), (between, engines), (between, y + 13), (x - 1, y + 13))
    drawing.text(
        left,
        bottom + 30,
        "Beside it: tests/, benchmarks/ (recorded results), scripts/, docs/, examples/,",
        "n",
    )
    drawing.text(left, bottom + 48, "deploy/ (container, service), samples/ (our recordings).", "n")
    return drawing.svg()


def draw_generator() -> str:
    graph = build_graph(PRESETS["v1"].generator)
    field = graph.receptive_field
    drawing = Drawing("The layers of a V1 generator", 960, 262)
    drawing.text(20, 32, "Inside the generator (V1): each box with its rows per mel frame and its channels", "h")
    x, rate, width, gap = 20.0, 1, 108, 14

    def next_room(name: str, note: str, width: float = width) -> None:
        nonlocal x
        room(drawing, x, 50, width, name, note)
        x += width + gap
        if name != "tanh":
            drawing.arrow((x - gap, 71), (x, 71))

    next_room("conv_pre", f"1 x {graph.layers[0].out_channels}")
    for i, upsample in enumerate(layer for layer in graph.layers if layer.kind == "conv_transpose"):
        rate *= upsample.stride
        sizes = zip(graph.config.resblock_kernel_sizes, graph.config.resblock_dilation_sizes, strict=True)
        for j, (kernel, dilations) in enumerate(sizes):
            drawing.box(x, 104 + 34 * j, width, 28, "blue", 6)
            drawing.text(x + width / 2, 123 + 34 * j, f"k {kernel}  d {','.join(map(str, dilations))}", "m")
        next_room(f"ups.{i}  (x {upsample.stride})", f"{rate} x {upsample.out_channels}")
    next_room("conv_post", f"{rate} x 1")
    next_room("tanh", "samples", 76)
    drawing.text(142, 226, "The three residual blocks of a stage read the same rows; their mean goes on.", "n")
    drawing.text(
        142,
        246,
        f"One mel frame changes the samples {field.first_sample} to +{field.last_sample} from its own first one: "
        f"{field.right_frames} frames of look-ahead.",
        "n",
    )
    return drawing.svg()


if __name__ == "__main__":
    write({"map.svg": draw_map, "generator.svg": draw_generator})
