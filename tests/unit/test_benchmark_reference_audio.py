import numpy as np
import pytest

from golden.seeded import seeded_weights
from golden.tiny import TINY, tiny_generator, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines.reference import generate
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.tools.benchmark import reference_audio as module
from hifigan_rt.tools.benchmark.reference_audio import ReferenceAudio

ODD = GeneratorConfig(8, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=10)
"""Its output has samples beyond T * hop."""


LOUD = 20
"""First of the loudest frames of the first clip."""


@pytest.fixture(params=["even", "odd"])
def generator(request, monkeypatch):
    # So little that the tiny network is compared at its ends.
    monkeypatch.setattr(module, "_MACS_OF_PIECE", 1)
    if request.param == "even":
        return tiny_generator()
    graph = build_graph(ODD)
    return bind(graph, seeded_weights(graph.weight_shapes(), seed=3))


def batch(frames, items=3):
    mel = np.stack([tiny_mel(frames, seed=seed) for seed in range(items)])
    mel[0, :, LOUD : LOUD + 16] += 3.0
    return mel


@pytest.mark.parametrize("frames", [1, 16, 32, 33, 40, 100])
def test_pieces_are_exactly_what_the_whole_clips_hold(generator, frames):
    mel = batch(frames)
    whole = np.stack([generate(generator, item) for item in mel])
    reference = ReferenceAudio(generator)
    computed = reference.compute(mel)
    assert {piece.item for piece, _ in computed} == {0, 2}
    hop = generator.graph.hop_length
    for piece, audio in computed:
        np.testing.assert_allclose(audio, whole[piece.item, piece.start * hop :][: len(audio)], rtol=0, atol=1e-13)
    if frames > 40:
        assert [(piece.item, piece.start) for piece, _ in computed] == [(0, LOUD), (2, frames - 16)]
    assert sum(piece.end - piece.start for piece, _ in computed) == (32 if frames > 32 else 2 * frames)
    end = [(piece, audio) for piece, audio in computed if piece.end == frames and piece.item == 2]
    assert len(end) == 1, "the end of the last clip is compared"
    assert end[0][0].start * hop + len(end[0][1]) == whole.shape[1]


def test_the_ratio_is_that_of_the_pieces(generator):
    mel = batch(100)
    reference = ReferenceAudio(generator)
    whole = np.stack([generate(generator, item) for item in mel])
    noisy = whole + 1e-4 * np.random.default_rng(0).standard_normal(whole.shape)
    ratio = reference.snr_db(reference.compute(mel), noisy.astype(np.float32))
    assert ratio == pytest.approx(snr_db(whole, noisy), abs=1.5)


@pytest.mark.parametrize(("item", "frame"), [(0, LOUD + 8), (2, 99)])
def test_a_fault_in_either_piece_is_seen(generator, item, frame):
    mel = batch(100)
    reference = ReferenceAudio(generator)
    audio = np.stack([generate(generator, item) for item in mel])
    audio[item, frame * generator.graph.hop_length] += 1.0
    assert reference.snr_db(reference.compute(mel), audio) < 40


def test_another_length_has_no_ratio():
    reference = ReferenceAudio(tiny_generator())
    mel = batch(10)
    assert reference.snr_db(reference.compute(mel), np.zeros((3, 79), np.float32)) is None


def test_a_piece_that_cases_share_is_computed_once(generator, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "generate", lambda *arguments: calls.append(1) or generate(*arguments))
    reference = ReferenceAudio(generator)
    long = batch(200)
    for frames in (100, 150, 200):
        reference.compute(long[:, :, :frames])
    assert len(calls) == 1 + 3, "one that all have, three ends"


def test_small_networks_are_compared_whole():
    reference = ReferenceAudio(tiny_generator())
    assert not reference.is_partial(10_000)
    assert TINY.generator.num_mels == 10
