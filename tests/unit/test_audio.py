"""Decoding and conversion of recordings, against exact integers and soundfile."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import soundfile

import tolerances
from audio_files import RATE, encoded
from hifigan_rt.audio import (
    Recording,
    decoding,
    open_audio_writer,
    prepare,
    read_audio,
    resample,
    to_mono,
    to_pcm16,
    to_pcm24,
    write_audio,
)
from hifigan_rt.audio.conversion import convert_blocks
from hifigan_rt.audio.decoding import open_recording
from hifigan_rt.config import PRESETS
from hifigan_rt.errors import AudioError, SampleRateMismatch
from hifigan_rt.mel.analysis import MelAnalysis, compute_mel
from hifigan_rt.tools.evaluation.metrics import Signal, compute

TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


class OfAnotherLibrary:
    """An object that gives an array."""

    def __array__(self, dtype=None, copy=None):
        return TONE


def write_pieces(path, *pieces):
    with open_audio_writer(path, RATE) as writer:
        for piece in pieces:
            writer.write(piece)


NO_AUDIO = {
    "None": (None, "the audio is a NoneType: pass a NumPy array of float32"),
    "a name": ("a.wav", "the audio is text, 'a.wav': pass an array; hifigan_rt.audio.read_audio reads that of a file"),
    "a dict": ({"audio": TONE}, "the audio is a dict with the keys 'audio': pass one of its arrays"),
    "a generator": ((x for x in TONE), "the audio is a generator, which gives its items once: pass list(...) of it"),
    "uneven rows": ([[0.0], [0.0, 1.0]], "the audio, a list, cannot be made an array"),
    "masked samples": (np.ma.array(TONE, mask=TONE > 0.39), "the audio has "),
}


@pytest.mark.parametrize("name", NO_AUDIO)
def test_what_is_no_array_is_told_as_such(tmp_path, name):
    audio, text = NO_AUDIO[name]
    assert PRESETS["v1"].mel is not None
    for take in (
        lambda: compute_mel(audio, PRESETS["v1"].mel),
        lambda: write_audio(tmp_path / "a.wav", audio, RATE),
        lambda: write_audio(io.BytesIO(), audio, RATE),
        lambda: to_pcm16(audio),
        lambda: to_pcm24(audio),
        lambda: to_mono(audio),
        lambda: resample(audio, 44100, RATE),
        lambda: write_pieces(tmp_path / "a.wav", TONE, audio),
        lambda: MelAnalysis(PRESETS["v1"].mel).push(audio),
        lambda: Signal(audio, RATE),
    ):
        with pytest.raises(AudioError) as caught:
            take()
        assert str(caught.value).startswith(text)
    assert os.listdir(tmp_path) == []


def test_arrays_of_other_libraries_are_taken(tmp_path):
    write_audio(tmp_path / "a.wav", TONE, RATE)
    for number, audio in enumerate((OfAnotherLibrary(), TONE.tolist(), memoryview(TONE))):
        write_audio(tmp_path / f"{number}.wav", audio, RATE)
        write_pieces(tmp_path / f"pieces-{number}.wav", audio)
        for name in (f"{number}.wav", f"pieces-{number}.wav"):
            assert (tmp_path / name).read_bytes() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.torch
def test_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    tone = torch.from_numpy(TONE)
    assert write_audio(tmp_path / "a.wav", tone, RATE) == 0
    assert write_audio(tmp_path / "b.wav", tone.clone().requires_grad_(), RATE) == 0
    assert compute(["snr"], Signal(tone, RATE), Signal(0.9 * tone, RATE)).results["snr"].value == pytest.approx(20)
    with pytest.raises(AudioError, match=r"the audio, a Tensor, .*: pass audio\.detach\(\)\.float\(\)\.cpu\(\)"):
        write_audio(tmp_path / "c.wav", tone.bfloat16(), RATE)


@pytest.mark.parametrize(
    ("subtype", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 32), ("FLOAT", 0), ("DOUBLE", 0)]
)
def test_wav_of_every_width(tmp_path, subtype, bits):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(TONE, "WAV", subtype))
    recording = read_audio(path)
    step = 2.0 ** (1 - bits) if bits else 0
    # libsndfile scales by full scale - 1 when it writes floats as integers, hence one step more than rounding.
    assert np.abs(recording.samples - TONE).max() <= 2 * step
    assert recording.samples.dtype == np.float32
    assert (recording.sample_rate, recording.encoding, recording.note) == (RATE, f"WAV {subtype}", None)
    assert recording.channels == 1
    assert recording.seconds == 1


def test_integers_are_divided_by_their_full_scale(tmp_path):
    values = np.array([-32768, -1, 0, 1, 16384, 32767], np.int16)
    (tmp_path / "a.wav").write_bytes(encoded(values, "WAV", "PCM_16"))
    assert np.array_equal(read_audio(tmp_path / "a.wav").samples, values.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("container", "subtype", "rate"),
    [("FLAC", "PCM_16", RATE), ("OGG", "VORBIS", RATE), ("OGG", "OPUS", 24000), ("MP3", "MPEG_LAYER_III", RATE),
     ("RF64", "PCM_16", RATE)],
)  # fmt: skip
def test_other_containers(tmp_path, container, subtype, rate):
    noisy = np.tile(TONE, 13) + np.random.default_rng(0).uniform(-0.1, 0.1, 13 * RATE).astype(np.float32)
    content = encoded(noisy, container, subtype, rate)
    path = tmp_path / "anything"
    path.write_bytes(content)
    recording = read_audio(path)
    # One read without a seek is the truth: soundfile.read seeks first, which changes what an mp3 decodes to.
    with soundfile.SoundFile(io.BytesIO(content)) as reader:
        assert np.array_equal(recording.samples, reader.read(dtype="float32"))
    assert np.array_equal(read_audio(io.BytesIO(content)).samples, recording.samples)
    assert len(recording.samples) == len(noisy)
    assert recording.note is None


@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_are_the_recording(tmp_path, monkeypatch, channels):
    monkeypatch.setattr(decoding, "_BLOCK_VALUES", 3000)
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(np.stack([TONE] * channels, axis=1), "WAV", "PCM_16")[:-100])
    whole = read_audio(path)
    with open_recording(path) as reader:
        assert (reader.sample_rate, reader.channels, reader.encoding) == (RATE, channels, "WAV PCM_16")
        blocks = list(reader.blocks())
        assert reader.note == whole.note != ""
    assert max(block.size for block in blocks) == 3000
    assert np.array_equal(np.concatenate(blocks, axis=-1), whole.samples)


def test_streams(tmp_path):
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    content = encoded(TONE, "WAV", "PCM_16")
    positioned = io.BytesIO(content)
    positioned.seek(100)
    for stream in (positioned, Pipe(content)):
        assert len(read_audio(stream).samples) == RATE
    with pytest.raises(AudioError) as caught:
        read_audio(Pipe(content), max_seconds=0.1)
    assert str(caught.value) == "the audio stream has more than 38400 bytes, the limit for 0.1 s of audio"


@pytest.mark.parametrize("max_seconds", [1e6, 1e15, 1e308])
def test_a_limit_beyond_all_memory_takes_none(tmp_path, max_seconds):
    path = tmp_path / "tone.wav"
    path.write_bytes(encoded(TONE, "WAV", "PCM_16"))
    assert len(read_audio(path, max_seconds).samples) == RATE
    ending, beginning = os.pipe()
    os.write(beginning, path.read_bytes())
    os.close(beginning)
    with os.fdopen(ending, "rb") as stream:
        assert len(read_audio(stream, max_seconds).samples) == RATE


def test_channels():
    stereo = np.stack([TONE, 0.5 * TONE], axis=1)
    recording = read_audio(io.BytesIO(encoded(stereo, "WAV", "FLOAT")))
    assert recording.channels == 2
    assert recording.seconds == 1
    assert np.array_equal(recording.samples, stereo.T)
    assert recording.samples.flags.c_contiguous
    mixed = stereo.astype(np.float64).mean(axis=1).astype(np.float32)
    assert np.array_equal(prepare(recording, RATE, resample_allowed=False, mono_allowed=True), mixed)
    assert to_mono(TONE) is TONE
    with pytest.raises(AudioError) as caught:
        prepare(recording, RATE, resample_allowed=True, mono_allowed=False)
    assert str(caught.value) == "the recording has 2 channels, and one is taken: --mono averages them"
    with pytest.raises(AudioError, match=r": mono=True averages them$"):
        prepare(recording, RATE, resample_allowed=True, mono_allowed=False, leave="{}=True")


def test_other_sample_rates():
    recording = Recording(np.repeat(TONE, 2), 44100, "WAV PCM_16")
    with pytest.raises(SampleRateMismatch) as caught:
        prepare(recording, RATE, resample_allowed=False, mono_allowed=False)
    assert str(caught.value) == (
        "the recording has 44100 Hz and the model 22050 Hz: --resample converts it "
        "(its 44100 samples would become about 22050)"
    )
    assert prepare(recording, RATE, resample_allowed=True, mono_allowed=False).shape == (22050,)
    assert prepare(recording, 44100, resample_allowed=False, mono_allowed=False) is recording.samples


@pytest.mark.parametrize("from_hz", [8000, 16000, 44100, 48000])
def test_resampled_tone_is_the_tone(from_hz):
    source = (0.4 * np.sin(2 * np.pi * 440 * np.arange(from_hz) / from_hz)).astype(np.float32)
    result = resample(source, from_hz, RATE)
    assert result.dtype == np.float32
    assert len(result) == RATE
    # The ends of the tone are steps, which ring.
    assert np.abs(result[2000:-2000] - TONE[2000:-2000]).max() <= tolerances.RESAMPLED_TONE


@pytest.mark.parametrize("from_hz", [1000, 8000, 22050, 44100, 47999, 192000])
@pytest.mark.parametrize("channels", [1, 2, 11])
def test_blocks_are_converted_to_the_bits_of_the_whole(from_hz, channels):
    samples = np.random.default_rng(from_hz).uniform(-1, 1, (channels, 20_011)).astype(np.float32)
    whole = resample(to_mono(samples), from_hz, RATE)
    for size in (1000, 7001):
        blocks = [samples[:, start : start + size] for start in range(0, 20_011, size)]
        assert np.array_equal(np.concatenate(list(convert_blocks(blocks, from_hz, RATE))), whole)


@pytest.mark.parametrize("dtype", ["float16", ">f4", "longdouble"])
def test_resampling_takes_any_float(dtype):
    halves = np.round(1024 * TONE) / 1024  # which float16 holds
    given = halves.astype(dtype)
    np.testing.assert_array_equal(resample(given, RATE, 44100), resample(halves.astype(np.float32), RATE, 44100))


def test_resampling_refuses_what_is_no_row_of_floats():
    stereo = np.stack([TONE, TONE])
    for audio, shown in ((stereo, r"\[2, 22050\] and dtype float32"), (np.arange(9), r"\[9\] and dtype int64")):
        with pytest.raises(AudioError, match=rf"audio of shape {shown} is not one row of floats \[N\]: .*to_mono"):
            resample(audio, RATE, 44100)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_resampling_a_few_samples(samples):
    assert len(resample(np.ones(samples, np.float32), 22050, 44100)) == 2 * samples
