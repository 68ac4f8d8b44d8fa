"""Engine `cuda` with a small network, and what its tests give it."""

from pathlib import Path

import numpy as np

import tolerances
from golden.seeded import seeded_mel
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights

PRECISIONS = ("float32", "float16")


def load(generator, precision="float32", device="cuda:0", **settings):
    options = EngineOptions(precision=precision, device=device, settings=settings)
    return create_engine("cuda", Weights("small", Path("small.safetensors"), "test", generator), options)


def mels_of(generator, lengths, seed=0):
    bands = generator.graph.num_mels
    return [CheckedMel(seeded_mel(1, bands, frames, seed + frames)[0].astype(np.float32)) for frames in lengths]


def floor(precision):
    return tolerances.CUDA_SMALL_SNR_DB[precision]


def stream_all(engine, streams, mels, rng):
    """Bytes of the samples that streams give, advanced together by pushes of random sizes."""
    taken, parts = [0] * len(mels), [[] for _ in mels]
    while any(at < mel.shape[1] for at, mel in zip(taken, mels, strict=True)):
        which = [index for index in range(len(mels)) if rng.random() < 0.7]
        sizes = [int(rng.integers(0, 6)) for _ in which]
        pushed = [CheckedMel(mels[i][:, taken[i] : taken[i] + size]) for i, size in zip(which, sizes, strict=True)]
        for index, mel, audio in zip(which, pushed, engine.advance([streams[i] for i in which], pushed), strict=True):
            taken[index] += mel.shape[1]
            parts[index].append(audio)
    for stream, own in zip(streams, parts, strict=True):
        pending = stream.pending_samples
        own.append(stream.finish())
        assert len(own[-1]) == pending
    return [np.concatenate(own).tobytes() for own in parts]
