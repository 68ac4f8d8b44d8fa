"""Feeds broken checkpoints to the reader for a given time: any exception but CheckpointError is a failure.

    python tests/hostile/fuzz_checkpoint.py --seconds 60 [--seed 1]

The process may have as much memory as it has at the start plus four times the largest input and 64 MB; a reader that
needs more fails too. A failing input is written beside the program's working directory, with its name in the output.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from checkpoint_files import read_any_state
from checkpoint_mutations import mutate, seeds
from hifigan_rt.errors import CheckpointError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors

SECONDS_PER_INPUT = 10


def try_one(path: Path) -> str:
    """What each reader made of a file."""
    outcomes = []
    for reader in (read_tensors, read_checkpoint, read_any_state):
        try:
            reader(path)
            outcomes.append("read")
        except CheckpointError as error:
            if "more memory" in str(error):
                raise
            outcomes.append(type(error).__name__)
    return ", ".join(outcomes)


def limit_memory(largest: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 4 * largest + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    files, counts = seeds(), Counter[str]()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        for name, data in files.items():
            path.write_bytes(data)
            counts[f"valid: {name}: {try_one(path)}"] += 1
        limit_memory(8192)
        start, tried = time.monotonic(), 0
        while time.monotonic() - start < arguments.seconds:
            name, seed = rng.choice(sorted(files)), rng.getrandbits(48)
            data = mutate(files, name, seed)
            path.write_bytes(data)
            tried += 1
            # An input that hangs the reader ends the process: SIGALRM has no handler.
            signal.alarm(SECONDS_PER_INPUT)
            try:
                counts[try_one(path)] += 1
            except Exception:  # noqa: BLE001 - which other kinds there are is the question
                failing = Path(f"failing-{seed:012x}.bin")
                failing.write_bytes(data)
                traceback.print_exc()
                print(f"FAILED on input {tried}, {name} with seed {seed}: kept as {failing}")
                return 1
            finally:
                signal.alarm(0)
    for outcome, count in sorted(counts.items()):
        print(f"{count:9} {outcome}")
    print(f"{tried} inputs in {arguments.seconds:.0f} s, none of which raised anything but CheckpointError")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
