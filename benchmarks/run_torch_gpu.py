"""What the PyTorch engine does on a GPU, through the product's own API: wall time, copies included.

python benchmarks/run_torch_gpu.py -o benchmarks/results/nvidia-h100/torch.json
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hifigan_rt
from hifigan_rt.audio.signal_metrics import snr_db
from measuring.gpu import Report, Speech, in_a_line

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
SEGMENT_FRAMES = 16


def median_ms(call: Callable[[], object], repeats: int = 30) -> float:
    for _ in range(3):
        call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return round(1e3 * float(np.median(seconds)), 3)


def measure(vocoder: Any, speech: Speech, name: str, report: Report) -> None:
    """Whole mels, batches, lists."""
    slow = vocoder.engine_info.precision == "float32"
    report.note(f"{name}: SNR of 250 frames, dB", round(snr_db(speech.truth, vocoder(speech.clip)), 1))
    for items, frames in ((1, 250), (1, 1000), (16, 250)):
        mel = speech.batch(items, frames)
        report.note(
            f"{name}: {items} x {frames} frames, ms", median_ms(lambda mel=mel: vocoder(mel), 10 if slow else 30)
        )
    vocoder(speech.list)
    report.note(f"{name}: 16 mels of different lengths, ms", median_ms(lambda: vocoder(speech.list), 10))
    alone = [vocoder(mel) for mel in speech.list]
    equality = min(snr_db(one, joined) for one, joined in zip(alone, vocoder(speech.list), strict=True))
    report.note(f"{name}: least SNR of a list's item against itself alone, dB", round(equality, 1))
    tails = [(one[-13 * 256 :], joined[-13 * 256 :]) for one, joined in zip(alone, vocoder(speech.list), strict=True)]
    report.note(f"{name}: the same, last 13 frames, dB", round(min(snr_db(*tail) for tail in tails), 1))


def measure_streams(vocoder: Any, speech: Speech, name: str, report: Report) -> None:
    """Rounds of one segment for all streams, after the beginning of the signals."""
    seconds_of_segment = SEGMENT_FRAMES * vocoder.hop_length / vocoder.sample_rate
    for count in (1, 64) if vocoder.engine_info.precision == "float32" else (1, 64, 256):
        streams = [vocoder.stream(SEGMENT_FRAMES) for _ in range(count)]
        mel = speech.batch(count, SEGMENT_FRAMES * 34)
        parts = [
            np.ascontiguousarray(mel[:, :, at : at + SEGMENT_FRAMES]) for at in range(0, mel.shape[2], SEGMENT_FRAMES)
        ]
        audios, seconds = [], []
        for part in parts:
            started = time.perf_counter()
            audios.append(hifigan_rt.advance(streams, part))
            seconds.append(time.perf_counter() - started)
        step = float(np.median(seconds[4:]))
        joined = np.concatenate([audio[0] for audio in audios])
        equality = snr_db(vocoder(mel[0])[: len(joined)], joined)
        report.note(
            f"{name}: {count} streams",
            {
                "step_ms": round(1e3 * step, 2),
                "real_time_streams": int(count * seconds_of_segment / step),
                "snr_to_whole_db": round(equality, 1),
            },
        )


def measure_new_lengths(vocoder: Any, speech: Speech, name: str, report: Report) -> None:
    """Lengths that never came before, with the host program's own choice for cuDNN."""
    for benchmark, offset in ((False, 0), (True, 7)):
        torch.backends.cudnn.benchmark = benchmark
        rng = np.random.default_rng(2)
        mels = [speech.part(rng, 410 + 37 * index + offset) for index in range(16)]
        started = time.perf_counter()
        for mel in mels:
            vocoder(mel)
        seconds = time.perf_counter() - started
        kept = torch.backends.cudnn.benchmark == benchmark
        report.note(f"{name}: 16 new lengths, cudnn.benchmark {benchmark}, s", round(seconds, 3))
        report.note(f"{name}: cudnn.benchmark {benchmark} is what it was", kept)
    torch.backends.cudnn.benchmark = False


def measure_tensors(vocoder: Any, speech: Speech, name: str, report: Report) -> None:
    """Mels and audio on the card."""
    mel = torch.from_numpy(speech.batch(16, 250)).cuda()

    def call() -> None:
        vocoder(mel)
        torch.cuda.synchronize()

    report.note(f"{name}: 16 x 250 frames, tensors on the card, ms", median_ms(call, 10))


def record(report: Report) -> None:
    """The card and the versions."""
    report.note_driver()
    report.note("torch", torch.__version__)
    report.note("cudnn", torch.backends.cudnn.version())


def measure_all(arguments: argparse.Namespace, mode: str, precision: str, speech: Speech, report: Report) -> None:
    """One form of the engine."""
    name = f"{mode} {precision}"
    before = torch.cuda.memory_reserved()
    started = time.perf_counter()
    with hifigan_rt.load(
        arguments.model, engine="torch", device=arguments.device, precision=precision, settings={"mode": mode}
    ) as vocoder:
        report.note(f"{name}: load, s", round(time.perf_counter() - started, 1))
        report.note(f"{name}: engine", str(vocoder.engine_info))
        measure(vocoder, speech, name, report)
        if precision in ("float16", "float32"):
            measure_streams(vocoder, speech, name, report)
        if precision == "float16":
            measure_new_lengths(vocoder, speech, name, report)
            measure_tensors(vocoder, speech, name, report)
        report.note(f"{name}: MiB reserved", (torch.cuda.memory_reserved() - before) >> 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    report = Report(arguments.output)
    record(report)
    speech = Speech(hifigan_rt.load(arguments.model, engine="reference"))
    failed = []
    for mode in ("eager", "compiled"):
        for precision in PRECISIONS if mode == "eager" else ("float16", "float32"):
            try:
                measure_all(arguments, mode, precision, speech, report)
            except Exception as error:  # noqa: BLE001 - a compiler raises anything, and the other figures are wanted
                traceback.print_exc()
                failed.append(f"{mode} {precision}")
                report.note(f"{failed[-1]}: failed", in_a_line(error))
            torch.cuda.empty_cache()
    if failed:
        sys.exit(f"run_torch_gpu.py: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
