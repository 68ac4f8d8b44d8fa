"""What the simulated `atc`, `npu-smi`, `aclruntime` and `ais_bench` share. Not Ascend software: see README.md."""

SIMULATED = True

SIMULATED_TEXT = "simulated on CPU; not Ascend performance"
"""Stands beside every figure; a test holds it to `hifigan_rt.tools.benchmark.results.SIMULATED`."""
