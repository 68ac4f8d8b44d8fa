"""Measures engines side by side: every candidate in a process of its own, in strict rotation."""
