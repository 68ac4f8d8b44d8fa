"""What `hifigan synth --ray` costs and gains: two nodes over one, one over plain `synth`, and the memory of the driver.

    python benchmarks/run_ray.py -o ray

Clips are mels of the lengths of LJ Speech, from a seed. Each node has a core to itself; the driver and the cluster's
head run on the same cores, so their processor time is told. Throughput is audio per second of wall time after the
start of the workers, in strict rotation. Beside it stands in how many cores the engines were at work: on a busy machine
throughput says little, and that share still tells what handing out costs. For the memory, each row's work is one byte.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib
from hifigan_rt.tools.bulk.outputs import plan_outputs
from hifigan_rt.tools.bulk.run import run_in_folder
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.tools.cluster.actors import WorkerSize
from hifigan_rt.tools.cluster.connection import connected
from hifigan_rt.tools.cluster.recipe import WorkRecipe
from hifigan_rt.tools.cluster.run import ClusterRunner
from hifigan_rt.tools.datasets import InputFile
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output
from measuring.ray_cluster import pinned_cluster, synth, write_mels
from measuring.report import publish
from measuring.result_header import result_header

FRAMES_PER_SECOND = 22050 / 256
# Seconds of LJ Speech's 13,100 clips: mean, standard deviation, shortest, longest.
LJ_SPEECH_SECONDS = (6.57, 2.18, 1.11, 10.1)
ROWS = (1_000, 10_000)


def lengths(clips: int) -> list[int]:
    """Frames of so many clips of LJ Speech's lengths."""
    mean, deviation, shortest, longest = LJ_SPEECH_SECONDS
    seconds = np.clip(np.random.default_rng(0).normal(mean, deviation, clips), shortest, longest)
    return [int(value * FRAMES_PER_SECOND) for value in seconds]


def throughput(clips: int, model: str, rounds: int) -> dict[str, Any]:
    """Run plainly, on one node and on two, in rotation."""
    runs: dict[str, list[dict[str, Any]]] = {"plain": [], "one node": [], "two nodes": []}
    with tempfile.TemporaryDirectory(prefix="hifigan-ray-") as folder, pinned_cluster(1) as cluster:
        place = Path(folder)
        write_mels(place / "in", lengths(clips), 80)
        options = [str(place / "in"), "--model", model, "--threads", "1", "-o", str(place / "out"), "--overwrite"]
        ray = ["--ray", "--ray-address", cluster.address]
        for _ in range(rounds):
            runs["plain"].append(synth(*options, core=cluster.nodes[0].core))
            runs["one node"].append(synth(*options, *ray))
            cluster.add_node()
            runs["two nodes"].append(synth(*options, *ray))
            cluster.kill_node(1)
            for name, found in runs.items():
                print(f"{name}: {found[-1]['audio_seconds'] / found[-1]['wall_seconds']:.2f} x real time", flush=True)
    return {
        name: [
            {key: run[key] for key in ("audio_seconds", "wall_seconds", "compute_seconds", "cpu_seconds")}
            for run in found
        ]
        for name, found in runs.items()
    }


class OneByte(Work[bytes, bytes]):
    """Work of a row that is only simulated."""

    def settings(self) -> dict[str, Any]:
        return {"command": "one byte"}

    def read(self, source: Path) -> bytes:
        return source.read_bytes()

    def compute(self, data: bytes) -> bytes:
        return data

    def write(self, data: bytes, output: Path) -> ClipFacts:
        output.write_bytes(data)
        return ClipFacts(audio_seconds=1.0)


class OneByteRecipe(WorkRecipe):
    """Makes such work."""

    def make_work(self) -> OneByte:
        return OneByte()


def simulated_rows(rows: int, address: str) -> None:
    """Run over so many rows, and print the peak of this process's memory in MB."""
    with tempfile.TemporaryDirectory(prefix="hifigan-ray-rows-") as folder:
        source = Path(folder, "row.wav")
        source.write_bytes(b"1")
        inputs = [InputFile(source, Path(f"{index:06}.wav")) for index in range(rows)]
        jobs = plan_outputs(inputs, Path(folder, "out"), ".bin")
        with (
            connected(address) as ray,
            ClusterRunner(ray, OneByteRecipe(), WorkerSize(), rows, folder=Path(folder, "out")) as runner,
        ):
            summary = run_in_folder(runner, jobs, Path(folder, "out"))
    assert summary.complete, summary
    print(peak_memory_mib())


def driver_memory() -> dict[str, float]:
    """Peak memory of drivers in processes of their own, in MB, by rows."""
    with pinned_cluster(2) as cluster:
        found = {}
        for rows in ROWS:
            command = [sys.executable, __file__, "--rows", str(rows), "--address", cluster.address]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(done.stdout + done.stderr)
            found[str(rows)] = round(float(done.stdout.split()[-1]), 1)
    return found


def ratio(runs: list[dict[str, Any]], of: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """What was done per second of wall time, over that of another: the median of the rounds, and each.

    Args:
        runs: of one kind.
        of: runs of the other.
        what: field that is counted: seconds of audio, or of computing.
    """
    ratios = [
        (one[what] / one["wall_seconds"]) / (other[what] / other["wall_seconds"])
        for one, other in zip(runs, of, strict=True)
    ]
    return {"median": round(statistics.median(ratios), 3), "each": [round(value, 3) for value in ratios]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    add_output(parser)
    arguments = parser.parse_args()
    if arguments.rows:
        simulated_rows(arguments.rows, arguments.address)
        return
    result = result_header("run_ray.py", {key: vars(arguments)[key] for key in ("clips", "rounds", "model")})
    result["load_before"] = os.getloadavg()[0]
    result["driver_peak_mb"] = driver_memory()
    print(json.dumps(result["driver_peak_mb"]), flush=True)
    result["runs"] = throughput(arguments.clips, arguments.model, arguments.rounds)
    runs = result["runs"]
    for field, what in (("audio_seconds", "throughput"), ("compute_seconds", "engine_cores")):
        result[f"{what}_two_over_one"] = ratio(runs["two nodes"], runs["one node"], field)
        result[f"{what}_one_over_plain"] = ratio(runs["one node"], runs["plain"], field)
    result["load_after"] = os.getloadavg()[0]
    result["complaints"] = []
    publish(arguments.output, result, markdown(result))


def markdown(result: dict[str, Any]) -> str:
    rows = []
    for name, runs in result["runs"].items():
        speeds = [run["audio_seconds"] / run["wall_seconds"] for run in runs]
        share = [run["cpu_seconds"] / run["wall_seconds"] for run in runs]
        engines = [run["compute_seconds"] / run["wall_seconds"] for run in runs]
        driver = "" if name == "plain" else f"{statistics.median(share):.2f}"
        rows.append([name, f"{statistics.median(speeds):.2f}", f"{statistics.median(engines):.2f}", driver])
    table = markdown_table(["run", "x real time", "engines at work", "cores of the driver"], rows)
    small, large = (result["driver_peak_mb"][str(rows)] for rows in ROWS)
    two, one, two_engines, one_engines = (
        f"{result[name]['median']:.2f}"
        for name in (
            "throughput_two_over_one",
            "throughput_one_over_plain",
            "engine_cores_two_over_one",
            "engine_cores_one_over_plain",
        )
    )
    return (
        f"# Ray\n\n{result['machine']['cpu']}; {result['date']}, commit {result['commit']}. "
        f"{result['settings']['clips']} clips of LJ Speech's lengths, {result['settings']['model']}, "
        f"{result['settings']['rounds']} rounds; load before and after: {result['load_before']:.1f}, "
        f"{result['load_after']:.1f}.\n\n{table}\n\n"
        f"Two nodes over one: {two} in throughput, {two_engines} in engines at work; one node over plain synth: {one} "
        f"and {one_engines}. "
        f"Peak memory of the driver: {small:.0f} MB at {ROWS[0]:,} rows, "
        f"{large:.0f} MB at {ROWS[1]:,}.\n"
    )


if __name__ == "__main__":
    main()
