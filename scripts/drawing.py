"""SVG for the drawing scripts: one style for light and dark, on its own ground, so that it can be read anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

FIGURES = Path(__file__).parents[1] / "docs/figures"

STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1c2733}.h{font:600 15px system-ui,sans-serif}.s{font-size:14px}"
    ".t{font-weight:600;font-size:13px}.v{font:9px monospace}.n{fill:#52606d}"
    ".m,.v{text-anchor:middle}.e{text-anchor:end}.ground{fill:#ffffff;stroke:#d5dce3}"
    ".none{fill:none;stroke:#8fa3b5}.pale{fill:#eef2f6;stroke:#8fa3b5}"
    ".blue{fill:#d8e8f5;stroke:#6d93b5}.warm{fill:#f6ead8;stroke:#b59a6d}.deep{fill:#5b8fb9;stroke:#3d6f99}"
    ".grey{fill:#9db4c8}.best{fill:#1f6fb2}.a{stroke:#5b7083;stroke-width:1.5;fill:none;marker-end:url(#m)}"
    ".r{stroke:#5b7083;stroke-dasharray:3 3;fill:none}#m path{fill:#5b7083}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9aa7b4}.ground{fill:#161b22;stroke:#30363d}"
    ".none{stroke:#56677a}.pale{fill:#222a33;stroke:#56677a}.blue{fill:#17344f;stroke:#4b7ba5}"
    ".warm{fill:#3d3220;stroke:#8a7448}.deep{fill:#2f6ea3;stroke:#5b9bd0}.grey{fill:#55708a}.best{fill:#58a6ff}"
    ".a,.r{stroke:#8fa3b5}#m path{fill:#8fa3b5}}"
)
"""Text: h heading, s larger, t bold, v figures, n note, m centred, e to the right.
Shapes: none, pale, blue, warm, deep, grey, best."""


class Drawing:
    """Shapes and text of one SVG."""

    def __init__(self, label: str, width: int, height: int) -> None:
        self._label, self._width, self._height = label, width, height
        self._parts: list[str] = []

    def text(self, x: float, y: float, text: str, style: str = "m") -> None:
        self._parts.append(f'<text x="{x:.4g}" y="{y:.4g}" class="{style}">{text}</text>')

    def box(self, x: float, y: float, width: float, height: float, style: str, radius: int = 0) -> None:
        self._parts.append(
            f'<rect x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}" rx="{radius}" class="{style}"/>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " L".join(f"{x:.4g},{y:.4g}" for x, y in points)
        self._parts.append(f'<path d="M{path}" class="a"/>')

    def rule(self, x: float, y1: float, y2: float) -> None:
        self._parts.append(f'<path d="M{x:.4g},{y1:.4g} L{x:.4g},{y2:.4g}" class="r"/>')

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


def write(pictures: Mapping[str, Callable[[], str]]) -> None:
    """Write pictures into docs/figures by name, or with --check exit with 1 if one there is another."""
    for name, draw in pictures.items():
        path = FIGURES / name
        if "--check" not in sys.argv[1:]:
            path.write_text(draw(), encoding="utf-8")
        elif path.read_text(encoding="utf-8") != draw():
            sys.exit(f"docs/figures/{name} is not what code and results say: run {Path(sys.argv[0]).name}")
