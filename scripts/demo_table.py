"""Prints what a copy-synthesis run did: a row per clip, with its distance from the original.

python scripts/demo_table.py OUTPUT_FOLDER MODEL
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import soundfile

from hifigan_rt.mel import compute_mel
from hifigan_rt.model import resolve_model
from hifigan_rt.signal_metrics import mel_l1


def main(outputs: Path, model: str) -> None:
    config = resolve_model(model).mel
    if config is None:
        sys.exit(f"{model}: the mel settings are not known")
    rows = [json.loads(line) for line in (outputs / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    print(f"\n{'clip':<16}{'audio s':>9}{'compute s':>11}{'x real time':>13}{'mel distance':>14}")
    for row in rows:
        if row.get("status") != "ok":
            continue
        original, _ = soundfile.read(row["input"], dtype="float32")
        made, _ = soundfile.read(outputs / row["output"], dtype="float32")
        distance = mel_l1(compute_mel(original, config), compute_mel(made, config))
        seconds, compute = row["audio_seconds"], row["compute_seconds"]
        speed = f"{seconds / compute:.1f}"
        print(f"{Path(row['input']).stem:<16}{seconds:>9.2f}{compute:>11.2f}{speed:>13}{distance:>14.3f}")
    print(f"\nmel distance: mean |difference| of natural-log mels, {config.num_mels} bands; 0 would be the same audio")
    print(f"the wavs are in {outputs.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
