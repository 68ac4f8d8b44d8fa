"""Measures how far the precisions of the native engine are from float64, on the start of each recording.

    python benchmarks/run_precisions.py -o precisions
    HIFIGAN_RT_ISA=amx-software python benchmarks/run_precisions.py -o precisions

The first needs a tile unit; the second computes its bits, slowly. Recordings are those of `samples/`, and files named.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import hifigan_rt
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.cases import ROOT
from measuring.report import publish
from measuring.result_header import result_header

MODELS = ("ljspeech-v1", "universal-v1")
PRECISIONS = ("bfloat16", "bfloat16x3")


def measure(name: str, clips: list[Path], frames: int) -> list[dict[str, Any]]:
    """A row for each precision of one model."""
    reference = hifigan_rt.load(name, engine="reference")
    engines = {precision: hifigan_rt.load(name, engine="native", precision=precision) for precision in PRECISIONS}
    found: dict[str, dict[str, float]] = {precision: {} for precision in PRECISIONS}
    for clip in clips:
        mel = reference.mel(read_audio(clip).samples)[:, :frames].copy()
        exact = reference(mel)
        for precision, vocoder in engines.items():
            found[precision][clip.stem] = snr_db(exact, vocoder(mel))
        print(name, clip.stem, {precision: round(of[clip.stem], 1) for precision, of in found.items()}, flush=True)
    return [
        {"model": name, "precision": precision, "device": engines[precision].engine_info.device, "snr_db": of}
        for precision, of in found.items()
    ]


def markdown(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for row in result["rows"]:
        values = list(row["snr_db"].values())
        figures = [f"{figure:.1f}" for figure in (statistics.fmean(values), min(values), max(values))]
        rows.append([row["model"], row["precision"], row["device"], str(len(values)), *figures])
    return markdown_table(["model", "precision", "device", "clips", "mean dB", "least", "most"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*", help="further recordings")
    parser.add_argument("--frames", type=int, default=250, help="of each recording, from its start")
    add_output(parser)
    arguments = parser.parse_args()
    clips = [*sorted((ROOT / "samples").glob("*.flac")), *arguments.clips]
    result = result_header("run_precisions.py", {"frames": arguments.frames, "clips": [clip.name for clip in clips]})
    result["complaints"] = []
    result["rows"] = [row for name in MODELS for row in measure(name, clips, arguments.frames)]
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
