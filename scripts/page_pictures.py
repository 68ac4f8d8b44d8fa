"""Saves pictures of pages for the documents, small."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

COLOURS = 256
"""Of a picture: half of the bytes, and hardly a difference to the eye."""


def save_picture(picture: bytes, name: str) -> None:
    """Write a screenshot to docs/figures/ and say how large it is."""
    path = Path(__file__).parents[1] / "docs" / "figures" / name
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    image.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")
