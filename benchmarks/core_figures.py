"""Measures the figures of docs/figures.md and writes them as JSON and as a table.

    python benchmarks/core_figures.py -o core [--install-size]

Needs the extras `onnx` and `pretrained`. --install-size also installs the core into an empty environment (a minute).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.reference import generate
from hifigan_rt.export.onnx import export_onnx
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.machine_record import machine_record
from hifigan_rt.vocoder import load
from measuring.arguments import add_output

ROOT = Path(__file__).parents[1]
ROUNDS = 9


def median_seconds(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of the rounds after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def process_seconds(*arguments: str) -> float:
    return median_seconds(lambda: subprocess.run(arguments, check=True, capture_output=True))


def golden_error() -> float:
    """Largest difference of the reference engine from the original network's float64 outputs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from golden.seeded import seeded_mel, seeded_weights
    from hifigan_rt.formats.config_json import parse_config
    from hifigan_rt.graph import bind, build_graph

    golden = np.load(ROOT / "tests/golden/generator.npz")
    worst = 0.0
    for name, case in json.loads(str(golden["cases"])).items():
        graph = build_graph(parse_config(case["config"]).generator)
        generator = bind(graph, seeded_weights(graph.weight_shapes(), case["seed"]))
        for items, frames in case["batches"]:
            mels = seeded_mel(items, 80, frames, seed=1000 * case["seed"] + frames)
            for mel, expected in zip(mels, golden[f"{name}/{items}x{frames}"], strict=True):
                worst = max(worst, float(np.abs(generate(generator, mel) - expected).max()))
    return worst


def engine_figures(engine: str) -> dict[str, float]:
    """SNR on real weights and the mel of a sample, and speed on the same."""
    with load("ljspeech-v1", engine=engine) as vocoder:
        recording = read_audio(ROOT / "samples/harbour.flac")
        mel = vocoder.mel(recording.samples)
        generator = resolve_model("ljspeech-v1").generator
        assert generator is not None
        ratio = snr_db(generate(generator, mel), vocoder(mel))
        seconds = median_seconds(lambda: vocoder(mel), 5)
        return {
            f"{engine}_snr_db": ratio,
            f"{engine}_x_real_time": mel.shape[1] * 256 / 22050 / seconds,
            f"{engine}_frames": mel.shape[1],
            f"{engine}_threads": vocoder.engine_info.threads,
        }


def export_figures() -> dict[str, float]:
    """Seconds of exporting V1 to ONNX, without and with the comparison with the reference."""
    model = resolve_model("ljspeech-v1")
    assert model.generator is not None
    with tempfile.TemporaryDirectory() as folder:

        def export(verify: bool) -> None:
            assert model.generator is not None
            export_onnx(model.generator, model.mel, Path(folder) / "v1.onnx", verify=verify)

        return {
            "export_onnx_seconds": median_seconds(lambda: export(verify=False), 3),
            "export_onnx_verified_seconds": median_seconds(lambda: export(verify=True), 3),
        }


def install_size_mb() -> float:
    """Growth of site-packages by the core, over an empty environment."""

    def size_of(folder: Path) -> int:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        before = size_of(packages)
        # Bytecode counts: users have it after the first import.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([f"{folder}/bin/python", "-m", "pip", "install", "-q", str(ROOT)], check=True, env=environment)
        return (size_of(packages) - before) / 1e6


def measure(with_install_size: bool) -> dict[str, float]:
    python, hifigan = sys.executable, str(Path(sys.executable).with_name("hifigan"))
    start = process_seconds(python, "-c", "import numpy")
    figures = {
        "reference_golden_max_abs": golden_error(),
        "load_ljspeech_v1_seconds": median_seconds(lambda: resolve_model("ljspeech-v1")),
        "import_beyond_numpy_seconds": process_seconds(python, "-c", "import numpy, hifigan_rt, hifigan_rt.vocoder")
        - start,
        "help_seconds": process_seconds(hifigan, "--help"),
        **engine_figures("onnxruntime"),
        **export_figures(),
    }
    if with_install_size:
        figures["core_install_mb"] = install_size_mb()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    add_output(parser)
    parser.add_argument("--install-size", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.install_size)
    for name, value in figures.items():
        print(f"{name:<36}{value:.4g}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        record = {"machine": machine_record(), "date": time.strftime("%Y-%m-%d"), "figures": figures}
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
