"""`python -m hifigan_rt` is the command `hifigan`."""

import sys

from hifigan_rt.tools.cli import program

if __name__ == "__main__":
    sys.exit(program())
