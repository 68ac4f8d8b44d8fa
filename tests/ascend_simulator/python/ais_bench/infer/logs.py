"""The tool's log lines: standard output, `[LEVEL] text`."""

import logging
import sys

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="[%(levelname)s] %(message)s")
logger = logging.getLogger("ais_bench")
