"""Measures our engines and their peers side by side, and writes a JSON record with a Markdown table beside it.

    python benchmarks/run_engines.py -o engines
    python benchmarks/run_engines.py --candidates native,ort --models v2 --frames 32 --batch 1 --threads 2 --rounds 3

benchmarks/README.md says what the peers need.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.tools.benchmark.case_run import CandidateJob, CaseRun
from hifigan_rt.tools.benchmark.mels import crops
from measuring.arguments import add_output, integers, names
from measuring.candidates import Job, default_names, entries, numbered, plain_name
from measuring.cases import CACHE, MODELS, ROOT, CachedModel, Case, recordings_mel
from measuring.report import case_markdown, result_markdown, summarise, write_result
from measuring.result_header import result_header


def converted(model: CachedModel, kinds: set[str], calibration: np.ndarray) -> dict[str, str]:
    """The files that the peers load, made beforehand so that converting is not in their load time."""
    files = {}
    if "onnx3" in kinds:
        files["onnx3"] = str(model.onnx(3))
    if "onnx4" in kinds or "int8" in kinds:
        files["onnx4"] = str(model.onnx(4))
    if "int8" in kinds:
        output = model.cache / f"{model.name}-{model.digest}-int8.xml"
        mel_path = output.with_suffix(".mel.npy")
        np.save(mel_path, calibration)
        command = [sys.executable, "-m", "measuring.int8_calibration", files["onnx4"], str(mel_path), str(output)]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            files["int8"] = str(output)
        else:
            print(f"no int8 model of {model.name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return files


def candidate_job(job: Job) -> CandidateJob:
    """How the worker gets its candidate, or which of its files could not be made."""
    missing = [kind for kind in entries()[plain_name(job.candidate)].needs if kind not in job.files]
    reason = f"its model could not be converted: {', '.join(missing)}" if missing else None
    return CandidateJob("measuring.worker", job.to_json(), reason)


def measure_case(
    case: Case, model: CachedModel, mel: np.ndarray, files: dict[str, str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Load every candidate, rotate them, and collect what they did."""
    graph = model.generator.graph
    reference = None if arguments.without_snr else model.reference(mel)
    with tempfile.TemporaryDirectory() as folder, CaseRun(case.threads, model.cache / "workers.log") as run:
        mel_path = Path(folder) / "mel.npy"
        np.save(mel_path, mel)
        for name in arguments.candidates:
            job = Job(name, case.batch, case.frames, case.threads, str(model.safetensors()), str(mel_path), files)
            run.load(name, candidate_job(job))
        run.rotate(arguments.rounds, arguments.max_seconds)
        run.finish(None if reference is None else lambda output: output_snr(output, reference))
    candidates = {name: candidate_record(run, name) for name in arguments.candidates}
    record: dict[str, Any] = {
        "model": case.model, "weights": model.weights, "frames": case.frames, "batch": case.batch,
        "threads": case.threads, "baseline": arguments.candidates[0], "others": run.rounds.others,
        "audio_seconds": case.batch * graph.output_length(case.frames) / model.mel_config.sample_rate,
        "macs": graph.macs_per_frame * case.frames * case.batch, "candidates": candidates,
    }  # fmt: skip
    summarise(record)
    return record


def candidate_record(run: CaseRun, name: str) -> dict[str, Any]:
    """What a result keeps of one candidate."""
    if name in run.failures:
        return {"failed": run.failures[name]}
    facts = {key: value for key, value in run.facts[name].items() if key != "cpu_seconds"}
    return facts | {"seconds": run.rounds.seconds[name]}


def output_snr(output: np.ndarray, reference: np.ndarray) -> float | None:
    """SNR in dB; None if it is not finite, which JSON has no word for."""
    ratio = snr_db(reference, output.reshape(reference.shape))
    return ratio if np.isfinite(ratio) else None


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=names, default=default_names(), metavar="NAME,...",
                        help="the first is what ratios are taken of; a name may come twice. default: "
                        f"{','.join(default_names())}; all: {','.join(entries())}")  # fmt: skip
    parser.add_argument("--models", type=names, default=list(MODELS), metavar="v1,v2,v3")
    parser.add_argument("--frames", type=integers, default=[32, 100, 250, 500, 1000], metavar="T,...")
    parser.add_argument("--batch", type=integers, default=[1, 8], metavar="B,...")
    parser.add_argument("--threads", type=integers, default=[1, 2], metavar="N,...")
    parser.add_argument("--rounds", type=int, default=15, help="quiet rounds that are wanted per case; default: 15")
    parser.add_argument(
        "--max-seconds", type=float, default=120, help="per case, after at least 3 rounds; default: 120"
    )
    parser.add_argument("--wavs", type=Path, default=ROOT / "samples", help="recordings whose mels are synthesised")
    parser.add_argument("--calibration", type=Path, help="recordings for int8 calibration; default: those of --wavs")
    parser.add_argument("--without-snr", action="store_true", help="do not compute the float64 reference")
    parser.add_argument("--cache", type=Path, default=CACHE)
    add_output(parser)
    arguments = parser.parse_args()
    arguments.candidates = numbered(arguments.candidates)
    unknown = set(arguments.models) - set(MODELS)
    if unknown:
        parser.error(f"no model is called {', '.join(sorted(unknown))}: choose from {', '.join(MODELS)}")
    if min(arguments.frames + arguments.batch + arguments.threads) < 1:
        parser.error("--frames, --batch and --threads must be at least 1")
    for folder in filter(None, (arguments.wavs, arguments.calibration)):
        if not folder.is_dir():
            parser.error(f"{str(folder)!r} is no folder")
    return arguments


def main() -> None:
    arguments = read_arguments()
    result = result_header("run_engines.py", vars(arguments))
    result["cases"] = []
    kinds = {kind for name in arguments.candidates for kind in entries()[plain_name(name)].needs}
    longest = max(arguments.frames) * max(arguments.batch)
    for model_name in arguments.models:
        model = CachedModel(model_name, arguments.cache.resolve())
        mel = recordings_mel(arguments.wavs, model.mel_config, longest)
        calibration = recordings_mel(arguments.calibration or arguments.wavs, model.mel_config, 4000)
        files = converted(model, kinds, calibration)
        for threads, batch, frames in itertools.product(arguments.threads, arguments.batch, arguments.frames):
            case = Case(model_name, frames, batch, threads)
            record = measure_case(case, model, crops(mel, batch, frames), files, arguments)
            result["cases"].append(record)
            print(case_markdown(record), flush=True)
            if arguments.output:
                # After every case: a run of hours that is interrupted keeps what it has.
                write_result(arguments.output, result, result_markdown(result))


if __name__ == "__main__":
    main()
