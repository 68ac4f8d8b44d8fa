"""The native engine against float64, on every instruction set that this machine has."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import tolerances
from hifigan_rt import _native
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import EngineError
from native_generators import ALGORITHMS, ISAS, V1_LIKE, V3_LIKE, make_case, random_case


@pytest.mark.parametrize("seed", range(30))
def test_random_generators_equal_the_reference(seed):
    case = random_case(seed)
    truth = case.truth()
    rng = np.random.default_rng(seed)
    for isa in ISAS:
        audio = case.load(isa, segment_frames=int(rng.integers(1, 50))).run(case.mel[None])[0]
        assert audio.shape == truth.shape
        assert snr_db(truth, audio) >= tolerances.NATIVE_SMALL_SNR_DB, isa


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_equals_the_reference(isa, algorithm):
    for config, frames in itertools.product((V1_LIKE, V3_LIKE), (1, 23)):
        case = make_case(config, frames)
        engine = case.load(isa, 8, every=algorithm)
        used = {layer["algorithm"] for layer in engine.plan() if layer["layer"].startswith("resblocks")}
        assert used <= {algorithm, "direct"}
        if algorithm in {"fft8", "fft16", "fft32", "fft64"}:
            assert algorithm in used
        assert snr_db(case.truth(), engine.run(case.mel[None])[0]) >= tolerances.NATIVE_SMALL_SNR_DB


@pytest.mark.parametrize("seed", range(100, 106))
def test_every_algorithm_on_random_generators(seed):
    case = random_case(seed)
    truth = case.truth()
    for isa, algorithm in itertools.product(ISAS, ALGORITHMS):
        audio = case.load(isa, 12, every=algorithm).run(case.mel[None])[0]
        assert snr_db(truth, audio) >= tolerances.NATIVE_SMALL_SNR_DB, (isa, algorithm)


@pytest.mark.parametrize("channels", [*range(1, 10), 15, 17, 24, 33])
def test_any_number_of_channels(channels):
    config = V3_LIKE.__class__(2 * channels, (3,), (6,), "1", (3, 7), ((1, 2), (3, 1)), num_mels=channels)
    case = make_case(config, 11)
    for isa in ISAS:
        assert snr_db(case.truth(), case.load(isa).run(case.mel[None])[0]) >= tolerances.NATIVE_SMALL_SNR_DB


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17, 40])
def test_lengths_around_a_segment(frames):
    case = make_case(V1_LIKE, frames)
    truth = case.truth()
    for segment in (1, 16, 64):
        assert snr_db(truth, case.load(segment_frames=segment).run(case.mel[None])[0]) >= tolerances.NATIVE_SMALL_SNR_DB


@pytest.mark.parametrize("isa", ISAS)
def test_bits_depend_on_neither_threads_nor_batch_nor_other_items(isa):
    case = make_case(V1_LIKE, 37)
    rng = np.random.default_rng(1)
    mels = [np.ascontiguousarray(case.mel[:, :n]) for n in (37, 5, 20, 1, 36)]
    single = case.load(isa)
    alone = [single.run(mel[None])[0] for mel in mels]
    for threads in (1, 2, 3):
        engine = case.load(isa, threads=threads)
        for expected, audio in zip(alone, engine.run_many(mels), strict=True):
            np.testing.assert_array_equal(audio, expected)
        for copies in (1, 4):
            batch = engine.run(np.repeat(case.mel[None], copies, axis=0))
            for audio in batch:
                np.testing.assert_array_equal(audio, alone[0])
        np.testing.assert_array_equal(engine.run(mels[2][None] + 0 * rng.random())[0], alone[2])


@pytest.mark.parametrize("isa", ISAS)
def test_threads_share_the_channels_of_few_rows(isa):
    """So few frames that threads share columns of weights, in equal parts or not, beside parts of the rows."""
    wide = GeneratorConfig(208, (4, 2), (8, 4), "1", (3, 7), ((1, 3), (1, 3)), num_mels=80)
    case = make_case(wide, 9)
    mels = [np.ascontiguousarray(case.mel[:, :n]) for n in (1, 3, 9)]
    single = case.load(isa)
    alone = [single.run(mel[None])[0] for mel in mels]
    assert snr_db(case.truth(), alone[-1]) >= tolerances.NATIVE_SMALL_SNR_DB
    for threads in (2, 3, 4, 6, 12):
        engine = case.load(isa, threads=threads)
        for mel, expected in zip(mels, alone, strict=True):
            np.testing.assert_array_equal(engine.run(mel[None])[0], expected)


@pytest.mark.parametrize("isa", ISAS)
def test_threads_share_the_channels_of_layers_that_no_second_cache_keeps(isa):
    """256 channels, 5 MB of weights a layer: threads share columns up to more rows than of others."""
    case = make_case(GeneratorConfig(512, (4,), (8,), "1", (7,), ((1, 3),), num_mels=8), 140)
    single, *shared = (case.load(isa, segment_frames=140, threads=threads) for threads in (1, 2, 3))
    for frames in (60, 100, 140):
        mel = np.ascontiguousarray(case.mel[None, :, :frames])
        expected = single.run(mel)[0]
        for engine in shared:
            np.testing.assert_array_equal(engine.run(mel)[0], expected)


def test_bits_do_not_depend_on_what_follows():
    """Whatever a stream has emitted stays: samples that frames determine do not change with the frames behind them."""
    case = make_case(V1_LIKE, 48)
    engine = case.load(segment_frames=16)
    whole, part = engine.run(case.mel[None])[0], engine.run(np.ascontiguousarray(case.mel[None, :, :32]))[0]
    graph = case.generator.graph
    determined = 32 * graph.hop_length + graph.receptive_field.first_sample
    np.testing.assert_array_equal(whole[:determined], part[:determined])


def test_instruction_sets_agree():
    case = make_case(V1_LIKE, 33)
    outputs = [case.load(isa).run(case.mel[None])[0] for isa in ISAS]
    for one, other in itertools.combinations(outputs, 2):
        assert snr_db(one, other) >= tolerances.NATIVE_SMALL_SNR_DB


@pytest.mark.parametrize("level", [-11.5, 2.5])
def test_silence_and_loudness(level):
    case = make_case(V1_LIKE, 20)
    mel = np.full_like(case.mel, level)
    truth = case.__class__(case.generator, mel).truth()
    for isa in ISAS:
        assert snr_db(truth, case.load(isa).run(mel[None])[0]) >= tolerances.NATIVE_SMALL_SNR_DB


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_impossible_values_neither_crash_nor_stay(value):
    case = make_case(V1_LIKE, 30)
    mel = case.mel.copy()
    mel[3, 10] = value
    for isa in ISAS:
        engine = case.load(isa)
        engine.run(mel[None])
        # Nothing of it may be left in a buffer.
        expected = case.load(isa).run(case.mel[None])
        np.testing.assert_array_equal(engine.run(case.mel[None]), expected)


def test_nan_comes_out_as_nan():
    case = make_case(V1_LIKE, 30)
    mel = case.mel.copy()
    mel[3, 10] = np.nan
    for isa in ISAS:
        start = 10 * case.generator.graph.hop_length
        assert np.isnan(case.load(isa).run(mel[None])[0, start : start + 8]).all()


def test_denormals_are_flushed_and_the_caller_keeps_its_mode():
    case = make_case(V1_LIKE, 20)
    tiny = np.float32(1e-40)
    assert tiny * np.float32(1) > 0
    quiet = {name: array * np.float32(1e-39) for name, array in case.generator.weights.items()}
    engine = case.__class__(case.generator.__class__(case.generator.graph, quiet), case.mel).load(threads=2)
    assert not engine.run(case.mel[None]).any()
    assert np.array([tiny])[0] * np.float32(1) > 0


def test_a_plan_is_a_pure_function():
    case = make_case(V1_LIKE, 4)
    plans = [case.load(threads=threads, segment_frames=32).plan() for threads in (1, 2, 3)]
    assert plans[0] == plans[1] == plans[2] == case.load(segment_frames=8).plan_for(32)


def test_the_last_layer_is_taken_through_blocks_as_the_stage_before_it():
    *_, before, last = make_case(V1_LIKE, 4).load(segment_frames=2000).plan()
    assert last["rows"] == before["rows"] == 2000 * 256
    assert last["block_rows"] == before["block_rows"] < 100_000


def test_a_layer_can_be_forced_by_name():
    case = make_case(V1_LIKE, 4)
    engine = case.load(**{"resblocks.1.convs1.0": "fft16"}, every="direct")
    chosen = {layer["layer"]: layer["algorithm"] for layer in engine.plan()}
    assert [name for name, algorithm in chosen.items() if algorithm != "direct"] == ["resblocks.1.convs1.0"]


def upsamplings(plan):
    return {layer["layer"]: layer for layer in plan if layer["kind"] == "conv_transpose"}


@pytest.mark.parametrize("isa", ISAS)
def test_upsamplings_of_two_taps_take_two_thirds_of_the_products_where_rows_are_enough(isa):
    engine, direct = (make_case(V1_LIKE, 4).load(isa, 24, **plan) for plan in ({}, {"every": "direct"}))
    for name, layer in upsamplings(engine.plan()).items():
        assert layer["algorithm"] == "winograd"
        products = upsamplings(direct.plan())[name]["products"]
        assert upsamplings(direct.plan())[name]["algorithm"] == "direct"
        assert products * 2 / 3 <= layer["products"] < products * 0.7
    few = upsamplings(engine.plan_for(1))
    assert [layer["algorithm"] for layer in few.values()] == ["direct", "direct", "winograd", "winograd"]


@pytest.mark.parametrize("isa", ISAS)
def test_what_comes_before_the_first_upsampling_is_direct_unless_forced(isa):
    case = make_case(V1_LIKE, 4)
    first, *others = [layer["algorithm"] for layer in case.load(isa, 64).plan() if layer["kind"] == "conv"]
    assert first == "direct"
    assert set(others) - {"direct"}
    assert case.load(isa, 64, conv_pre="fft8").plan()[0]["algorithm"] == "fft8"


def test_upsamplings_of_one_or_three_taps_are_direct_and_any_can_be_forced():
    config = replace(V1_LIKE, upsample_rates=(4, 3, 4), upsample_kernel_sizes=(4, 9, 7))
    case = make_case(config, 30)
    chosen = [layer["algorithm"] for layer in upsamplings(case.load(segment_frames=64).plan()).values()]
    assert chosen == ["direct", "direct", "winograd"]
    audio = {
        name: case.load(segment_frames=64, **{"ups.2": name}).run(case.mel[None])[0] for name in ("winograd", "direct")
    }
    assert not np.array_equal(audio["winograd"], audio["direct"])
    with pytest.raises(
        EngineError, match=r"ups.1 with kernel 9 and rate 3 cannot be computed by winograd on .*: choose direct$"
    ):
        case.load(**{"ups.1": "winograd"})


def test_isas_of_this_machine_have_kernels():
    assert ISAS[0] == "generic"
    assert _native.supported_isas() == list(ISAS)
