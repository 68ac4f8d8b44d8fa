"""Encoders: pieces of any size give what the whole gives, and decoders get back what went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from hifigan_rt.audio import read_audio, to_pcm16, write_audio
from hifigan_rt.audio.formats import FORMATS, encode_whole, encoded_rate, stream_encoder
from hifigan_rt.errors import OutputError

RATE = 22050


def content_of(name: str, audio: np.ndarray, rate: int) -> bytes:
    return b"".join(encode_whole(name, audio, rate).parts)


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_whole_answers_have_the_bytes_of_files(name):
    audio = np.random.default_rng(0).uniform(-1.1, 1.1, 200_001).astype(np.float32)
    file = io.BytesIO()
    clipped = write_audio(file, audio, RATE, "pcm16", name)
    whole = encode_whole(name, audio, RATE)
    assert len(whole.parts) > 2
    assert b"".join(whole.parts) == file.getvalue()
    assert whole.clipped == clipped


def signal(samples: int, seed: int = 0) -> np.ndarray:
    time = np.arange(samples) / RATE
    noise = 0.02 * np.random.default_rng(seed).standard_normal(samples)
    return (0.4 * np.sin(2 * np.pi * 220 * time) + noise).astype(np.float32)


def streamed(name: str, audio: np.ndarray, sizes: list[int], *, told: bool = True, rate: int = RATE) -> bytes:
    encoder = stream_encoder(name, rate, len(audio) if told else None)
    parts, at = [encoder.start()], 0
    while at < len(audio):
        size = sizes[len(parts) % len(sizes)]
        parts.append(encoder.encode(audio[at : at + size]))
        at += size
    parts.append(encoder.finish())
    encoder.close()
    return b"".join(parts)


@pytest.mark.parametrize("sizes", [[1, 7, 500], [4096], [8192, 3], [100_000]])
@pytest.mark.parametrize("name", ["wav", "pcm16", "float32"])
def test_pieces_are_the_whole_byte_for_byte(name, sizes):
    audio = signal(20_000)
    assert streamed(name, audio, sizes) == content_of(name, audio, RATE)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("name", ["wav", "flac"])
@pytest.mark.parametrize("samples", [1, 4095, 4096, 4097, 20_000])
def test_lossless_streams_decode_to_the_rounded_samples(name, samples, told):
    audio = signal(samples)
    recording = read_audio(io.BytesIO(streamed(name, audio, [1000, 1], told=told)))
    assert (recording.sample_rate, recording.note) == (RATE, None)
    assert np.array_equal(np.rint(recording.samples * 32768), to_pcm16(audio)[0])


def test_a_flac_whose_length_is_told_has_it_in_its_header():
    content = streamed("flac", signal(70_001), [8192])
    assert soundfile.info(io.BytesIO(content)).frames == 70_001


@pytest.mark.parametrize(("rate", "opus_rate"), [(8000, 8000), (16000, 16000), (22050, 24000), (24000, 24000),
                                                 (44100, 48000), (48000, 48000), (96000, 48000)])  # fmt: skip
def test_opus_is_resampled_to_the_next_rate_that_it_has(rate, opus_rate):
    assert encoded_rate("opus", rate) == opus_rate
    audio = signal(rate)
    whole = encode_whole("opus", audio, rate)
    assert whole.sample_rate == opus_rate
    for content in (b"".join(whole.parts), streamed("opus", audio, [700, 8192], rate=rate)):
        recording = read_audio(io.BytesIO(content))
        assert (recording.sample_rate, recording.note) == (opus_rate, None)
        assert abs(len(recording.samples) - opus_rate) <= 1


def test_streamed_opus_is_the_whole_one_to_the_ear():
    audio = signal(3 * RATE)
    whole = read_audio(io.BytesIO(content_of("opus", audio, RATE))).samples
    pieces = read_audio(io.BytesIO(streamed("opus", audio, [8192]))).samples
    assert len(whole) == len(pieces)
    # The same encoder got the same samples; pages differ, which decoding does not see.
    assert np.array_equal(whole, pieces)
    assert (
        np.corrcoef(whole[:24000], np.interp(np.arange(24000) / 24000, np.arange(RATE) / RATE, audio[:RATE]))[0, 1]
        > 0.9
    )


@pytest.mark.parametrize("name", ["flac", "opus"])
def test_bytes_leave_with_every_few_pieces(name):
    encoder = stream_encoder(name, RATE)
    audio = signal(10 * 8192)
    sent = [len(encoder.encode(audio[at : at + 8192])) for at in range(0, len(audio), 8192)]
    encoder.close()
    assert min(sent[1:]) > 0


@pytest.mark.parametrize("name", FORMATS)
def test_clipped_samples_are_counted(name):
    audio = signal(9000)
    audio[[5, 6000]] = 1.5, -2.0
    counted = 0 if name == "float32" else 2
    assert encode_whole(name, audio, RATE).clipped == counted
    encoder = stream_encoder(name, RATE)
    encoder.encode(audio[:5000])
    encoder.encode(audio[5000:])
    encoder.finish()
    assert encoder.clipped == counted


def test_a_rate_that_flac_cannot_hold():
    with pytest.raises(OutputError, match="flac"):
        stream_encoder("flac", 1 << 21)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("sizes", [[500], [4096], [1_000_000]])
def test_streamed_mp3_is_decoded_to_its_end_by_others_too(rate, sizes):
    audio = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    content = streamed("mp3", audio, sizes, rate=rate)
    recording = read_audio(io.BytesIO(content))
    # No frame states the encoder's delay, and what fills the last frame.
    assert len(audio) <= len(recording.samples) < len(audio) + 3 * 1152
    assert (recording.sample_rate, recording.note) == (rate, None)
    assert len(soundfile.read(io.BytesIO(content))[0]) == len(recording.samples)
