"""Exports a model and proves the export: a file takes its name only after it computed what the reference computes.

This room is above both `export` and `ascend`, which build the files, and `engines`, which run them.
"""
