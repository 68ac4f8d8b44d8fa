"""Exports, each compared with the reference engine before it gets its name."""
