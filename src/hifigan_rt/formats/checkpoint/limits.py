"""What a checkpoint file may cost: the promise is a peak of 4 x file size + 64 MB, whatever the file claims."""

from __future__ import annotations

from hifigan_rt.errors import CheckpointError

MEMORY_FACTOR = 4
"""Bytes of arrays per byte of file: a bfloat16 file widens to twice its size and folds to as much again."""

TENSOR_ALLOWANCE = 16 << 20
"""Bytes of arrays beyond that; the rest of the 64 MB is for what the limits below let a pickle or a zip build."""

MAX_PICKLE_BYTES = 8 << 20
"""One pickle without its tensors; a HiFi-GAN V1 checkpoint has 37 kB."""

MAX_OPCODES = 1 << 18
"""Steps of one pickle; a HiFi-GAN V1 checkpoint takes 8,000. An opcode of one byte can build an object of 100."""

MAX_TENSORS = 1 << 15
MAX_ENTRIES = 1 << 15
"""Tensors of one file, and entries of one archive; a HiFi-GAN V1 checkpoint has 234."""

MAX_NODES = 1 << 18
"""Objects in a tree, counted as often as they are reached: a list of lists of one list grows without end."""

MAX_DEPTH = 64
"""Containers within containers; recursion is safe within it."""

MAX_INTEGER_BYTES = 32
"""torch.save's magic number has 10 bytes, the state of a random generator 17; larger ones only cost time."""

MAX_DIMENSIONS = 32

MAX_HEADER_BYTES = 1 << 20
"""Header of a safetensors file, which grows up to 40 times as Python objects; a HiFi-GAN V1 file has 20 kB."""


WORK_FACTOR = 4
"""All arrays ever made, alive or not, may have this many times those bytes: a bfloat16 file needs 5 times its size."""


class Budget:
    """Counts the bytes of arrays that are alive, before they are allocated, and of all that were ever made."""

    def __init__(self, file_size: int) -> None:
        self._file_size = file_size
        self._limit = MEMORY_FACTOR * file_size + TENSOR_ALLOWANCE
        self._used = 0
        self._made = 0

    def take(self, n_bytes: int) -> None:
        """Claim memory.

        Raises:
            CheckpointError: more than the limit would be in use, or the file asks for endless work within it.
        """
        if self._used + n_bytes > self._limit:
            raise CheckpointError(
                f"asks for {self._used + n_bytes} bytes of tensors and has {self._file_size} bytes itself: at most "
                f"{MEMORY_FACTOR} x file size + {TENSOR_ALLOWANCE >> 20} MiB = {self._limit} bytes are given to a file"
            )
        self._used += n_bytes
        self._made += n_bytes
        if self._made > WORK_FACTOR * self._limit:
            raise CheckpointError(
                f"asks for {self._made} bytes of tensors one after another and has {self._file_size} bytes itself: at "
                f"most {WORK_FACTOR * self._limit} bytes are given to a file"
            )

    def give_back(self, n_bytes: int) -> None:
        """Say that memory claimed by `take` is free again."""
        self._used -= n_bytes
