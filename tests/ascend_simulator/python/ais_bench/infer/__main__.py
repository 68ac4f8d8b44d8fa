"""`python -m ais_bench.infer`, an older name of the same command."""

import sys

from ais_bench.infer.arguments import read_arguments
from ais_bench.infer.benchmark import run

if __name__ == "__main__":
    sys.exit(run(read_arguments()))
