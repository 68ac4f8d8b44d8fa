"""Turns a generator into files that other runtimes read, and tells what such a file holds."""
