"""Ascend's toolchain: converts a generator to .om files with the vendor's compiler."""
