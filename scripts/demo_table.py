"""Prints what a copy-synthesis run did: a row per clip, with its distance from the original.

python scripts/demo_table.py INPUT_FOLDER OUTPUT_FOLDER MODEL
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import soundfile

from hifigan_rt.mel import compute_mel
from hifigan_rt.model import resolve_model
from hifigan_rt.signal_metrics import mel_l1


def main(inputs: Path, outputs: Path, model: str) -> None:
    mel_config = resolve_model(model).mel
    if mel_config is None:
        sys.exit(f"{model}: the mel settings are not known")
    rows = [json.loads(line) for line in (outputs / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    print(f"\n{'clip':<16}{'audio s':>9}{'compute s':>11}{'x real time':>13}{'mel distance':>14}")
    for row in rows:
        if row.get("status") != "ok":
            continue
        original, made = (soundfile.read(path, dtype="float32") for path in (row["input"], outputs / row["output"]))
        distance = mel_l1(compute_mel(original[0], mel_config), compute_mel(made[0], mel_config))
        seconds, compute = row["audio_seconds"], row["compute_seconds"]
        print(
            f"{Path(row['input']).stem:<16}{seconds:>9.2f}{compute:>11.2f}{seconds / compute:>13.1f}{distance:>14.3f}"
        )
    print(
        f"\nmel distance: mean |difference| of natural-log mels, {mel_config.num_mels} bands; 0 would be the same audio"
    )
    print(f"the wavs are in {outputs.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
