"""What the simulated `atc`, `npu-smi`, `aclruntime` and `ais_bench` share. Not Ascend software: see README.md."""

CAVEAT = "simulated on CPU; not Ascend performance"
"""What these tools say of themselves, in every .om and in aclruntime; hifigan-rt shows it beside every figure."""
