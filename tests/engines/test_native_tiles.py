"""bfloat16 and bfloat16x3 on the tile unit: on the software's tiles everywhere, on AMX where the processor has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tolerances
from bfloat16_network import SLICES, generate_in
from golden.features import FEATURES, feature_conditioning, feature_generator
from golden.seeded import seeded_mel
from hifigan_rt import _native
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import FlowConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.native import ISA_VARIABLE, SOFTWARE_TILES, load_generator
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.graph import LeakyRelu
from hifigan_rt.model.kinds import Weights
from native_generators import V1_LIKE, V1_MODEL, V3_LIKE, make_case, random_case, stream_all

ISAS = (SOFTWARE_TILES, *(isa for isa in _native.supported_isas() if isa == "amx"))
V2_LIKE = replace(V1_LIKE, upsample_initial_channel=32)
WIDE = replace(V1_LIKE, upsample_initial_channel=256)
CONFIGS = {"v1": V1_LIKE, "v2": V2_LIKE, "v3": V3_LIKE}


def load(case, precision, isa=SOFTWARE_TILES, segment_frames=16, threads=1):
    return load_generator(case.generator, isa, segment_frames, threads, {}, precision)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", SLICES)
@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_the_network_with_rounded_operands(isa, precision, name):
    case = make_case(CONFIGS[name], 23)
    audio = load(case, precision, isa).run(case.mel[None])[0]
    assert snr_db(generate_in(precision, case.generator, case.mel), audio) >= tolerances.TILES_ROUNDED_SNR_DB[precision]
    assert snr_db(case.truth(), audio) >= tolerances.TILES_SNR_DB[precision]


@pytest.mark.parametrize("precision", SLICES)
@pytest.mark.parametrize("seed", range(400, 412))
def test_random_generators(precision, seed):
    case = random_case(seed)
    audio = load(case, precision, segment_frames=1 + seed % 7).run(case.mel[None])[0]
    assert snr_db(generate_in(precision, case.generator, case.mel), audio) >= tolerances.TILES_ROUNDED_SNR_DB[precision]


@pytest.mark.parametrize("precision", SLICES)
@pytest.mark.parametrize("name", FEATURES)
def test_what_a_network_can_have_beyond_the_originals(precision, name):
    generator = feature_generator(FEATURES[name])
    mels = seeded_mel(2, generator.graph.num_mels, generator.graph.least_frames + 12, 3).astype(np.float32)
    vectors = ConditioningRule.of_generator(generator).check(feature_conditioning(generator, 2), 2)
    core = load_generator(generator, SOFTWARE_TILES, 5, 1, {}, precision)
    for index, mel in enumerate(mels):
        vector = None if vectors is None else vectors[index]
        audio = core.run(mel[None], None if vector is None else vector[None])[0]
        expected = generate_in(precision, generator, mel, vector)
        assert snr_db(expected, audio) >= tolerances.TILES_ROUNDED_SNR_DB[precision]
        streamed = stream_all(core, mel, 5, [2, 3], None if vector is None else vector[None])
        np.testing.assert_array_equal(streamed, audio)


@pytest.mark.parametrize("slopes", [(0.1, 0.0), (0.0, 0.0), (0.3, 0.2), (1e-4, 1e-4)])
def test_values_before_an_activation_that_cannot_be_taken_back_are_kept(slopes):
    case = make_case(V1_LIKE, 20)
    graph = case.generator.graph
    layers = tuple(
        replace(layer, activation=LeakyRelu(slopes[int(layer.name.split(".")[1]) % 2]))
        if ".convs1." in layer.name
        else layer
        for layer in graph.layers
    )
    case = replace(case, generator=replace(case.generator, graph=replace(graph, layers=layers)))
    for precision in SLICES:
        core = load(case, precision, threads=2)
        audio = core.run(case.mel[None])[0]
        assert snr_db(case.truth(), audio) >= tolerances.TILES_SNR_DB[precision]
        expected = generate_in(precision, case.generator, case.mel)
        assert snr_db(expected, audio) >= tolerances.TILES_ROUNDED_SNR_DB[precision]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", SLICES)
@pytest.mark.parametrize("name", ["v1", "v3"])
@pytest.mark.parametrize("segment", [1, 4])
def test_a_stream_equals_the_whole_whatever_the_threads_and_pushes(isa, precision, name, segment):
    case = make_case(CONFIGS[name], 9)
    whole = load(case, precision, isa, segment).run(case.mel[None])[0]
    core = load(case, precision, isa, segment, threads=3)
    np.testing.assert_array_equal(core.run(case.mel[None])[0], whole)
    for pushes in ([1], [7]):
        np.testing.assert_array_equal(stream_all(core, case.mel, segment, pushes), whole)
    for audio in core.run(np.repeat(case.mel[None], 3, axis=0)):
        np.testing.assert_array_equal(audio, whole)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", SLICES)
def test_threads_that_share_the_columns_of_wide_layers_change_no_bit(isa, precision):
    """Few rows of 128 and 64 channels; the sum of the last block is replaced by narrower numbers."""
    case = make_case(WIDE, 3)
    whole = load(case, precision, isa).run(case.mel[None])[0]
    assert snr_db(case.truth(), whole) >= tolerances.TILES_SNR_DB[precision]
    for threads in (2, 3, 4):
        for _ in range(5):
            np.testing.assert_array_equal(load(case, precision, isa, threads=threads).run(case.mel[None])[0], whole)


@pytest.mark.amx
@pytest.mark.parametrize("precision", SLICES)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_softwares_bits_are_those_of_amx(precision, name):
    case = make_case(CONFIGS[name], 40)
    audios = [load(case, precision, isa, threads=2).run(case.mel[None])[0] for isa in ISAS]
    np.testing.assert_array_equal(*audios)


def test_numbers_too_small_for_a_product_are_zeros():
    case = make_case(V1_LIKE, 12)
    tiny = np.full_like(case.mel, 1e-39)
    core = load(case, "bfloat16x3")
    np.testing.assert_array_equal(core.run(tiny[None]), core.run(np.zeros_like(tiny)[None]))


def test_formats_stand_in_the_plan():
    core = load(make_case(V1_LIKE, 1), "bfloat16")
    formats = {entry["layer"]: entry["format"] for entry in core.plan()}
    assert formats.pop("conv_pre") == formats.pop("ups.0") == "bfloat16x3"
    assert formats.pop("conv_post") == "float32"
    assert set(formats.values()) == {"bfloat16"}
    sizes = [load(make_case(V1_LIKE, 1), precision).weight_bytes for precision in SLICES]
    assert 1.8 < sizes[1] / sizes[0] < 2.0


def test_the_engine_says_its_precision(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, SOFTWARE_TILES)
    engine = create_engine("native", V1_MODEL, EngineOptions(threads=1, precision="bfloat16"))
    assert (engine.info.precision, engine.info.device) == ("bfloat16", "cpu (amx-software)")
    mel = seeded_mel(1, 80, 20, 5).astype(np.float32)
    assert snr_db(generate(V1_MODEL.generator, mel[0]), engine.run(mel)[0]) >= tolerances.TILES_SNR_DB["bfloat16"]
    assert {row.format for row in engine.measured_plan(1)} == {"bfloat16", "bfloat16x3", "float32"}


def test_software_tiles_have_no_float32(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, SOFTWARE_TILES)
    with pytest.raises(EngineUnavailable, match="'amx-software' has no float32: ask for precision bfloat16"):
        create_engine("native", V1_MODEL, EngineOptions())
    with pytest.raises(ValueError, match="amx-software in float32 is not supported"):
        _native.measure_multiply_adds(SOFTWARE_TILES, 1, 0.001)
    ceilings = [_native.measure_multiply_adds(SOFTWARE_TILES, 1, 0.001, precision) for precision in SLICES]
    assert 2 < ceilings[0] / ceilings[1] < 4.5  # three products for one


@pytest.mark.parametrize("precision", SLICES)
@pytest.mark.parametrize("isa", [isa for isa in _native.supported_isas() if isa != "amx"])
def test_without_a_tile_unit_it_is_refused_with_the_reason(monkeypatch, precision, isa):
    monkeypatch.setenv(ISA_VARIABLE, isa)
    text = "needs the tile unit of Intel's servers since 2023 .AMX., and .*Without it float32, the default, is the fast"
    with pytest.raises(PrecisionUnavailable, match=text):
        create_engine("native", V1_MODEL, EngineOptions(precision=precision))


def test_flows_are_refused(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, SOFTWARE_TILES)
    config = replace(V1_LIKE, num_mels=4, input_kind="latent", flow=FlowConfig(3, couplings=2, layers=1))
    case = make_case(config, 9)
    voice = Weights("a voice", Path("none"), "none", case.generator)
    with pytest.raises(PrecisionUnavailable, match="a voice, which has a flow, in float32 alone"):
        create_engine("native", voice, EngineOptions(precision="bfloat16"))
    with pytest.raises(EngineError, match="a flow is computed in float32 alone"):
        load(case, "bfloat16")


def test_other_precisions_and_transforms_are_refused(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, SOFTWARE_TILES)
    with pytest.raises(PrecisionUnavailable, match="it has float32, bfloat16, bfloat16x3"):
        create_engine("native", V1_MODEL, EngineOptions(precision="float16"))
    with pytest.raises(EngineError, match="cannot be computed by fft16 on amx-software"):
        create_engine(
            "native",
            V1_MODEL,
            EngineOptions(precision="bfloat16", settings={"plan": {"resblocks.0.convs1.0": "fft16"}}),
        )
