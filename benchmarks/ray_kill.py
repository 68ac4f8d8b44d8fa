"""Nodes of a Ray cluster are killed while `hifigan synth --ray` runs: is anything lost, doubled or wrong?

    python benchmarks/ray_kill.py --kills 20 -o ray-kill

Each run has two nodes of one CPU. One of them, chosen by a seed, loses all its processes at once in the middle of the
work, another takes its place, and so on; in the last run the driver is killed too, and the run is resumed. Every result
is compared with what one machine writes, byte by byte, and every line of the manifests is counted. Any fault ends the
program with status 1.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME
from measuring.arguments import add_output
from measuring.ray_cluster import PinnedCluster, command, pinned_cluster, synth, write_mels
from measuring.report import publish
from measuring.result_header import result_header

FRAMES = 400
"""Of each clip: some tenths of a second of work for the smallest published network on one core."""

WAIT_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kills-per-run", type=int, default=5)
    parser.add_argument("--clips", type=int, default=80, help="of each run")
    parser.add_argument("--model", default="ljspeech-v1")
    parser.add_argument("--seed", type=int, default=0)
    add_output(parser)
    arguments = parser.parse_args()
    result = result_header("ray_kill.py", vars(arguments))
    runs = []
    with tempfile.TemporaryDirectory(prefix="hifigan-ray-kill-") as folder, pinned_cluster(2) as cluster:
        place = Path(folder)
        write_mels(place / "in", [FRAMES] * arguments.clips, 80)
        options = [str(place / "in"), "--model", arguments.model, "--threads", "1"]
        synth(*options, "-o", str(place / "here"))
        expected = {path.name: path.read_bytes() for path in (place / "here").glob("*.wav")}
        rng = random.Random(arguments.seed)
        left = arguments.kills
        while left > 0:
            kills = min(left, arguments.kills_per_run)
            left -= kills
            out = place / f"out{len(runs)}"
            runs.append(one_run(cluster, options, out, kills, rng, expected, kill_driver=left == 0))
            print(json.dumps(runs[-1]), flush=True)
    result["runs"] = runs
    result["kills"] = sum(run["kills"] for run in runs)
    for fault in ("lost", "doubled", "wrong", "left_over"):
        result[fault] = sum(run[fault] for run in runs)
    result["complaints"] = [
        f"{result[name]} {name}" for name in ("lost", "doubled", "wrong", "left_over") if result[name]
    ]
    publish(arguments.output, result, markdown(result))


def one_run(
    cluster: PinnedCluster,
    options: list[str],
    out: Path,
    kills: int,
    rng: random.Random,
    expected: dict[str, bytes],
    *,
    kill_driver: bool,
) -> dict[str, Any]:
    """Run once, killing nodes on the way."""
    started = time.monotonic()
    arguments = [*options, "-o", str(out), "--ray", "--ray-address", cluster.address, "--json"]
    driver = subprocess.Popen(command("synth", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    clips = len(expected)
    # At some clip of each part of the run; the last part is left for its end.
    marks = [int(clips * (part + rng.uniform(0.1, 0.9)) / (kills + 1)) for part in range(kills)]
    done_kills = 0
    for mark in marks:
        wait_for(lambda mark=mark: lines(out) > mark or driver.poll() is not None)
        if driver.poll() is not None:
            break
        cluster.kill_node(rng.randrange(len(cluster.nodes)))
        done_kills += 1
        cluster.add_node()
    if kill_driver and driver.poll() is None:
        driver.send_signal(signal.SIGKILL)
    output, errors = driver.communicate(timeout=WAIT_SECONDS)
    if kill_driver:
        resumed = synth(*arguments[:-1], "--resume")
        assert resumed["complete"], resumed
    elif driver.returncode != 0:
        raise SystemExit(f"the run ended with {driver.returncode}: {output}\n{errors}")
    found = {path.name: path.read_bytes() for path in out.glob("*.wav")}
    counts = Counter(record["output"] for record in records(out) if record["status"] == "ok")
    return {
        "clips": clips,
        "kills": done_kills,
        "driver_killed": kill_driver,
        "lost": len(expected.keys() - found.keys()) + len(expected.keys() - counts.keys()),
        # A driver that was killed may have had a result whose line was not written yet, and that was then made again.
        "doubled": sum(count - 1 for count in counts.values()),
        "wrong": sum(found[name] != content for name, content in expected.items() if name in found),
        "left_over": len({path.name for path in out.iterdir()} - expected.keys() - {MANIFEST_NAME}),
        "seconds": round(time.monotonic() - started, 1),
    }


def records(out: Path) -> list[dict[str, Any]]:
    """Lines of the manifest about clips."""
    values = [json.loads(line) for line in (out / MANIFEST_NAME).read_text().splitlines()]
    return [value for value in values if value["kind"] == "clip"]


def lines(out: Path) -> int:
    """Clips that stand in the manifest."""
    path = out / MANIFEST_NAME
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


def wait_for(holds: Any) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("nothing happened for too long")
        time.sleep(0.02)


def markdown(result: dict[str, Any]) -> str:
    return (
        f"# Nodes killed in mid-run\n\n{result['machine']['cpu']}; {result['date']}, commit {result['commit']}.\n\n"
        f"{result['kills']} nodes were killed in {len(result['runs'])} runs of {result['settings']['clips']} clips: "
        f"{result['lost']} clips lost, {result['doubled']} doubled, {result['wrong']} wrong, "
        f"{result['left_over']} files left over. In the last run the driver was killed too, and resumed.\n"
    )


if __name__ == "__main__":
    main()
