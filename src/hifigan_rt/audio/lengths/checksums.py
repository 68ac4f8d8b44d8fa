"""Tables of the checksums that containers keep, which the standard library lacks."""

from __future__ import annotations


def checksum_table(polynomial: int, bits: int) -> list[int]:
    """Remainder of every byte by a polynomial over GF(2) of degree `bits`, highest bit first."""
    table = []
    for value in range(256):
        remainder = value << bits - 8
        for _ in range(8):
            remainder = remainder << 1 ^ (polynomial if remainder >> bits - 1 & 1 else 0)
        table.append(remainder & (1 << bits) - 1)
    return table
