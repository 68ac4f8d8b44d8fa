"""Spreads work over the machines of a Ray cluster."""

from hifigan_rt.tools.cluster.dataset import synthesize_dataset

__all__ = ["synthesize_dataset"]
