"""Families of checkpoints: how each names its tensors and states its settings."""
