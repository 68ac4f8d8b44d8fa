"""`python -m hifigan_rt` is the command `hifigan`."""

import sys

from hifigan_rt.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
