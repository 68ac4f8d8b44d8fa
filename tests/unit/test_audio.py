"""Decoding, conversion and encoding of recordings, against exact integers and soundfile."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

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
from hifigan_rt.audio import encoding as encoding_module
from hifigan_rt.audio.conversion import convert_blocks
from hifigan_rt.audio.decoding import open_recording
from hifigan_rt.config import PRESETS
from hifigan_rt.errors import AudioError, OutputError, SampleRateMismatch
from hifigan_rt.mel.analysis import compute_mel

TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


class OfAnotherLibrary:
    """An object that gives an array."""

    def __array__(self, dtype=None, copy=None):
        return TONE


NO_AUDIO = {
    "None": (None, "the audio is a NoneType: pass a NumPy array of float32"),
    "a name": ("a.wav", "the audio is text, 'a.wav': pass an array; hifigan_rt.audio.read_audio reads that of a file"),
    "a dict": ({"audio": TONE}, "the audio is a dict with the keys 'audio': pass one of its arrays"),
    "a generator": ((x for x in TONE), "the audio is a generator, which gives its items once: pass list(...) of it"),
    "uneven rows": ([[0.0], [0.0, 1.0]], "the audio, a list, cannot be made an array"),
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
    ):
        with pytest.raises(AudioError) as caught:
            take()
        assert str(caught.value).startswith(text)
    assert os.listdir(tmp_path) == []


def test_arrays_of_other_libraries_are_taken(tmp_path):
    write_audio(tmp_path / "a.wav", TONE, RATE)
    for number, audio in enumerate((OfAnotherLibrary(), TONE.tolist(), memoryview(TONE))):
        write_audio(tmp_path / f"{number}.wav", audio, RATE)
        assert (tmp_path / f"{number}.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.torch
def test_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    tone = torch.from_numpy(TONE)
    assert write_audio(tmp_path / "a.wav", tone, RATE) == 0
    for unfit in (tone.clone().requires_grad_(), tone.bfloat16()):
        with pytest.raises(AudioError, match=r"the audio, a Tensor, .*: pass audio\.detach\(\)\.float\(\)\.cpu\(\)"):
            write_audio(tmp_path / "b.wav", unfit, RATE)


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
    assert str(caught.value) == "the recording has 2 channels and the model takes one: --mono averages them"


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


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_resampling_a_few_samples(samples):
    assert len(resample(np.ones(samples, np.float32), 22050, 44100)) == 2 * samples


@pytest.mark.parametrize(("convert", "bits"), [(to_pcm16, 16), (to_pcm24, 24)])
def test_pcm_rounds_to_nearest_and_clips(convert, bits):
    full = 2 ** (bits - 1)
    steps = np.array([0, 0.4, 0.6, -0.4, -0.6, 1.4, 100.25, full - 1, -full])
    pcm, clipped = convert((steps / full).astype(np.float32))
    assert pcm.tolist() == [0, 0, 1, 0, -1, 1, 100, full - 1, -full]
    assert clipped == 0
    pcm, clipped = convert(np.array([1.0, -1.0, 1.5, -1.5, 3e38, -3e38, 0.0], np.float32))
    assert pcm.tolist() == [full - 1, -full, full - 1, -full, full - 1, -full, 0]
    assert clipped == 5
    assert pcm.dtype == (np.int16 if bits == 16 else np.int32)


@pytest.mark.parametrize("convert", [to_pcm16, to_pcm24])
@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (np.array([0, np.nan, np.inf]), "audio holds 2 values that are NaN or infinite, the first at sample 1: "
         "nothing was written"),
        (np.zeros((1, 5)), "audio of shape [1, 5] and dtype float64 is not one row of floats [N]"),
        (np.zeros(5, np.int16), "audio of shape [5] and dtype int16 is not one row of floats [N]"),
    ],
)  # fmt: skip
def test_pcm_refuses(convert, audio, text):
    with pytest.raises(AudioError) as caught:
        convert(audio)
    assert str(caught.value) == text


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
@pytest.mark.parametrize("encoding", ["pcm16", "pcm24"])
def test_integers_come_back_bit_for_bit(tmp_path, suffix, encoding):
    bits = int(encoding[3:])
    full = 2 ** (bits - 1)
    values = np.concatenate([[-full, full - 1, 0, -1, 1], np.random.default_rng(1).integers(-full, full, 3001)])
    path = tmp_path / f"a{suffix}"
    assert write_audio(path, (values / full).astype(np.float32), RATE, encoding) == 0
    stored, rate = soundfile.read(path, dtype="int32")
    assert rate == RATE
    assert np.array_equal(stored >> (32 - bits), values)
    assert np.array_equal(read_audio(path).samples, (values / full).astype(np.float32))
    assert soundfile.info(path).subtype == f"PCM_{bits}"


def test_float_wav_keeps_every_value(tmp_path):
    audio = np.array([0.1, -3.5, 1e-40, 1.0, 2.0, -0.0], np.float32)
    path = tmp_path / "a.wav"
    assert write_audio(path, audio, RATE, "float") == 0
    assert np.array_equal(read_audio(path).samples.view(np.int32), audio.view(np.int32))
    assert soundfile.info(path).subtype == "FLOAT"


@pytest.mark.parametrize("encoding", ["pcm16", "pcm24", "float"])
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 1000])
def test_wav_bytes_equal_libsndfile_but_for_its_time_stamp(encoding, samples):
    subtype = {"pcm16": "PCM_16", "pcm24": "PCM_24", "float": "FLOAT"}[encoding]
    audio = TONE[1 : samples + 1]
    target = io.BytesIO()
    write_audio(target, audio, RATE, encoding)
    content = target.getvalue()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert len(content) % 2 == 0
    if encoding != "float" and samples:
        integers = (to_pcm16(audio)[0].astype(np.int32) << 16) if encoding == "pcm16" else to_pcm24(audio)[0] << 8
        assert content == encoded(integers, "WAV", subtype)
    data, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert (len(data), rate) == (samples, RATE)


def test_writing_counts_what_it_clips(tmp_path):
    audio = np.array([0.0, 1.0, -1.0, 1.1, -1.1], np.float32)
    for name in ("a.wav", "a.flac"):
        assert write_audio(tmp_path / name, audio, RATE) == 3
        stored, _ = soundfile.read(tmp_path / name, dtype="int16")
        assert stored.tolist() == [0, 32767, -32768, 32767, -32768]


def test_write_to_a_pipe():
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data)
            return len(data)

    pipe, plain = Pipe(), io.BytesIO()
    write_audio(pipe, TONE, RATE)
    write_audio(plain, TONE, RATE)
    assert pipe.content == plain.getvalue()
    flac = io.BytesIO()
    write_audio(flac, TONE, RATE, container="flac")
    assert flac.getvalue().startswith(b"fLaC")


@pytest.mark.parametrize(
    ("name", "encoding", "text"),
    [
        ("a.ogg", "pcm16", "'a.ogg' has the suffix '.ogg', and audio is written as .wav or .flac"),
        ("a", "pcm16", "'a' has the suffix '', and audio is written as .wav or .flac"),
        ("a.flac", "float", "encoding='float' does not go into flac: choose pcm24, or write wav"),
        ("a.wav", "mp3", "encoding='mp3' must be 'pcm16', 'pcm24' or 'float'"),
    ],
)
def test_refused_outputs(tmp_path, monkeypatch, name, encoding, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError) as caught:
        write_audio(name, TONE, RATE, encoding)
    assert str(caught.value) == text
    assert list(tmp_path.iterdir()) == []


def test_a_refused_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(AudioError):
        write_audio(path, np.array([np.nan]), RATE)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.wav"]


def test_a_full_disk_is_an_output_error():
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full, which Linux has")
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OutputError) as caught:
        write_audio(full, TONE, RATE)
    assert str(caught.value) == "the audio stream could not be written: No space left on device"


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("encoding", ["pcm16", "pcm24", "float"])
def test_pieces_make_the_bytes_of_the_whole(tmp_path, name, encoding):
    if name == "a.flac" and encoding == "float":
        encoding = "pcm16"
    audio = np.tile(1.3 * TONE, 5)[:100_001]
    clipped = write_audio(tmp_path / name, audio, RATE, encoding)
    with open_audio_writer(tmp_path / f"pieces-{name}", RATE, encoding) as writer:
        for start in range(0, len(audio), 777):
            writer.write(audio[start : start + 777])
    assert (writer.samples, writer.clipped) == (len(audio), clipped)
    assert (tmp_path / f"pieces-{name}").read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_piece_that_is_no_audio_leaves_nothing(tmp_path, name):
    with (
        pytest.raises(AudioError, match="the first at sample 22050"),
        open_audio_writer(tmp_path / name, RATE) as writer,
    ):
        writer.write(TONE)
        writer.write(np.array([np.nan]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_disk_that_fills_up_is_an_output_error(tmp_path, monkeypatch, name):
    full = io.FileIO("/dev/full", "wb")
    monkeypatch.setattr(encoding_module, "atomic_writer", lambda _: contextlib.nullcontext(full))
    with pytest.raises(OSError, match="No space left"), full, open_audio_writer(tmp_path / name, RATE) as writer:
        for _ in range(20):
            writer.write(TONE)


def test_what_no_wav_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding_module, "MAX_WAV_BYTES", 100_000)
    with pytest.raises(OutputError, match=r"100038 bytes do not fit into a wav \(at most 100000\): write flac"):
        write_audio(tmp_path / "a.wav", np.zeros(50_001, np.float32), RATE)
    with pytest.raises(OutputError, match="do not fit"), open_audio_writer(tmp_path / "a.wav", RATE) as writer:
        for _ in range(3):
            writer.write(TONE)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\xff")
    for suffix in (".wav", ".flac"):
        assert write_audio(name + suffix, TONE, RATE) == 0
        assert len(read_audio(name + suffix).samples) == RATE
        assert len(read_audio(Path(name + suffix)).samples) == RATE
    with pytest.raises(AudioError) as caught:
        read_audio(name)
    str(caught.value).encode("utf-8")


def test_equal_audio_gives_equal_files(tmp_path):
    for encoding in ("pcm16", "pcm24", "float"):
        contents = []
        for i in range(2):
            write_audio(tmp_path / f"{i}.wav", TONE, RATE, encoding)
            contents.append((tmp_path / f"{i}.wav").read_bytes())
        assert contents[0] == contents[1]
