"""The Ascend toolchain: chips, gears, the converter atc, the .om container, and the worker that runs it."""
