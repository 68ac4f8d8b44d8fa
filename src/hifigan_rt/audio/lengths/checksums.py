"""Checksums that containers keep, which the standard library lacks."""

from __future__ import annotations

from collections.abc import Callable


def checksum(polynomial: int, bits: int) -> Callable[[bytes | bytearray], int]:
    """Make what gives the remainder of bytes by a polynomial over GF(2) of degree `bits`, highest bit first."""
    table, mask, shift = [], (1 << bits) - 1, bits - 8
    for value in range(256):
        remainder = value << shift
        for _ in range(8):
            remainder = remainder << 1 ^ (polynomial if remainder >> bits - 1 & 1 else 0)
        table.append(remainder & mask)

    def compute(data: bytes | bytearray) -> int:
        value = 0
        for byte in data:
            value = (value << 8 & mask) ^ table[value >> shift ^ byte]
        return value

    return compute
