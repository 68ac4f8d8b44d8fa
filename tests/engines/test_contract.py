"""What every engine promises, for every engine in the registry."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tolerances
from engines.weights_engines import WEIGHTS_ENGINES
from golden.seeded import seeded_mel, seeded_weights
from golden.tiny import TINY, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError, SamplesNotFinite, StreamBroken
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.model.kinds import Weights

CONFIGS = {
    "type 1": TINY.generator,
    "type 2": GeneratorConfig(16, (4, 2), (8, 4), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=7),
    "odd kernel - rate": GeneratorConfig(8, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=5),
}


class Case:
    """One engine with one generator."""

    def __init__(self, engine_name: str, config: GeneratorConfig) -> None:
        graph = build_graph(config)
        self.generator = bind(graph, seeded_weights(graph.weight_shapes(), seed=5))
        self.model = Weights("tiny", Path("tiny.safetensors"), "test", self.generator)
        self.engine = create_engine(engine_name, self.model, EngineOptions(threads=2))

    def mel(self, batch: int, frames: int) -> np.ndarray:
        return seeded_mel(batch, self.generator.graph.num_mels, frames, seed=frames).astype(np.float32)


@pytest.fixture(params=WEIGHTS_ENGINES)
def engine_name(request):
    return request.param


@pytest.fixture
def case(engine_name):
    made = Case(engine_name, CONFIGS["type 1"])
    yield made
    made.engine.close()


@cache
def truths(config: str) -> list[np.ndarray]:
    """Audio `[B, N]` of one or two mels of 1 to 40 frames, the same for each engine."""
    case = Case("reference", CONFIGS[config])
    return [
        np.stack([generate(case.generator, mel) for mel in case.mel(1 + frames % 2, frames)]) for frames in range(1, 41)
    ]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("engine_name", WEIGHTS_ENGINES)
def test_every_length_equals_the_reference(engine_name, config):
    case = Case(engine_name, CONFIGS[config])
    for frames, truth in enumerate(truths(config), 1):
        mel = case.mel(1 + frames % 2, frames)
        audio = case.engine.run(mel)
        assert (audio.dtype, audio.shape) == (np.float32, (len(mel), case.generator.graph.output_length(frames)))
        assert snr_db(truth, audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_batch_is_its_items_one_by_one(case):
    mels = case.mel(5, 23)
    together = case.engine.run(mels)
    for index in range(5):
        alone = case.engine.run(mels[index : index + 1])
        np.testing.assert_allclose(together[index], alone[0], rtol=0, atol=tolerances.BATCH_MAX_ABS)


def test_lengths_in_any_order_leave_no_trace(case):
    first = case.engine.run(case.mel(1, 12))
    for frames in (40, 1, 33, 2):
        case.engine.run(case.mel(2, frames))
    np.testing.assert_array_equal(case.engine.run(case.mel(1, 12)), first)


def test_the_input_is_not_changed_and_the_output_is_owned(case):
    mel = case.mel(2, 9)
    mel.setflags(write=False)
    kept = mel.copy()
    audio = case.engine.run(mel)
    np.testing.assert_array_equal(mel, kept)
    before = audio.copy()
    case.engine.run(case.mel(2, 9) + 1)
    np.testing.assert_array_equal(audio, before)
    audio += 1  # writable


def test_audio_stays_within_one_for_absurd_mels(case):
    audio = case.engine.run(np.full((1, 10, 8), 1e4, np.float32))
    assert np.abs(audio).max() <= 1


def test_samples_that_are_not_finite_are_refused(engine_name, case):
    weights = {name: array.astype(np.float32) * np.float32(1e30) for name, array in case.generator.weights.items()}
    model = replace(case.model, generator=replace(case.generator, weights=weights))
    # Both compute something while they are loaded.
    at_once = {"cuda": "fit float16 in no scale", "torch": "gave samples that are NaN or infinite"}
    if engine_name in at_once:
        with pytest.raises(EngineError, match=at_once[engine_name]):
            create_engine(engine_name, model, EngineOptions())
        return
    with closing(create_engine(engine_name, model, EngineOptions(threads=2))) as engine:
        mel = case.mel(1, 40)
        for compute in (engine.run, lambda mel: engine.run_many([mel[0], mel[0, :, :3]])):
            with pytest.raises(SamplesNotFinite, match="gave samples that are NaN or infinite"):
                compute(mel)
        stream = engine.stream(8, case.generator.graph)
        with pytest.raises(SamplesNotFinite):
            stream.push(mel[0])
        with pytest.raises(StreamBroken):
            stream.push(mel[0])
        stream.reset()
        assert stream.push(mel[0, :, :1]).size == 0
        with pytest.raises(SamplesNotFinite):
            stream.finish()


def test_threads_share_an_engine(case):
    mels = [case.mel(1, frames) for frames in range(1, 25)]
    expected = [case.engine.run(mel) for mel in mels]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for audio, alone in zip(pool.map(case.engine.run, mels), expected, strict=True):
                np.testing.assert_array_equal(audio, alone)


def test_two_engines_of_one_model_do_not_disturb_each_other(engine_name, case):
    other = create_engine(engine_name, case.model, EngineOptions(threads=1))
    mel = case.mel(1, 15)
    audio = case.engine.run(mel)
    other.close()
    np.testing.assert_array_equal(case.engine.run(mel), audio)


def test_closing_while_other_threads_run(engine_name, case):
    """Runs either finish or say that the engine is closed; nothing else."""
    mel = case.mel(2, 40)
    outcomes = []

    def work():
        try:
            while True:
                case.engine.run(mel)
        except EngineError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    case.engine.close()
    for thread in threads:
        thread.join()
    assert outcomes == [f"engine '{engine_name}' is closed: load the model again"] * 3


def test_a_closed_engine_says_so(engine_name, case):
    case.engine.close()
    case.engine.close()
    with pytest.raises(EngineError, match=f"^engine '{engine_name}' is closed: load the model again$"):
        case.engine.run(case.mel(1, 5))


def test_info_names_engine_version_and_threads(engine_name, case):
    info = case.engine.info
    assert info.name == engine_name
    assert info.version[0].isdigit()
    assert info.threads >= 1
    assert info.device
    assert info.precision.partition(" ")[0] in ("float32", "float64")


@pytest.mark.parametrize("name", WEIGHTS_ENGINES)
def test_layers_without_a_bias(name):
    graph = build_graph(replace(TINY.generator, layers_without_bias=("conv_post", "ups.0", "resblocks.1.convs2.0")))
    assert "conv_post.bias" not in graph.weight_shapes()
    weights = {key: array.astype(np.float32) for key, array in seeded_weights(graph.weight_shapes(), 3).items()}
    generator = bind(graph, weights)
    mel = tiny_mel(9)[None]
    engine = create_engine(name, Weights("tiny", Path("tiny"), "test", generator), EngineOptions())
    assert snr_db(generate(generator, mel[0]), engine.run(mel)[0]) >= tolerances.FLOAT32_ENGINE_SNR_DB
    engine.close()
