"""`hifigan eval` with quick metrics, and what it left behind."""

from pathlib import Path

import numpy as np
import soundfile

from cli.running import RATE, hifigan
from hifigan_rt.tools.evaluation.results import read_json

QUICK = ("--metrics", "mel_l1,mr_stft,peak,clipped_samples", "--jobs", "1")


def evaluate(*arguments, status=0, **options):
    return hifigan("eval", *arguments, *QUICK, "-o", "out", status=status, **options)


def model(*arguments, status=0):
    return evaluate("--model", "model", "--dataset", "in", *arguments, status=status)


def folders(*arguments, status=0):
    return evaluate(
        "--reference", "in", "--generated", "made", "--config", "model/config.json", *arguments, status=status
    )


def result():
    return read_json(Path("out/report.json"))


def rows(system):
    return {row.clip: row for row in result().scores_of(system)}


def write(path, samples, rate=RATE, encoding="PCM_16"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, encoding)


def noise(seconds=0.5, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, int(seconds * RATE))
