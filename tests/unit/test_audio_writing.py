"""Encoding and writing of audio, against exact integers and soundfile."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_files import RATE, encoded
from hifigan_rt.audio import encoding as encoding_module
from hifigan_rt.audio import (
    open_audio_writer,
    read_audio,
    to_pcm16,
    to_pcm24,
    write_audio,
)
from hifigan_rt.errors import AudioError, OutputError

TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


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
        (np.array([0, np.nan, np.inf, 1e300]), "audio holds 3 values that are NaN, infinite or beyond float32, the "
         "first at sample 1: nothing was written"),
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
    if encoding == "float":
        assert content[12:58] == b"fmt " + struct.pack("<IHHIIHHH", 18, 3, 1, RATE, 4 * RATE, 4, 32, 0) + (
            b"fact" + struct.pack("<II", 4, samples) + b"data" + struct.pack("<I", 4 * samples)
        )
    data, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert (len(data), rate) == (samples, RATE)


def test_writing_counts_what_it_clips(tmp_path):
    audio = np.array([0.0, 1.0, -1.0, 1.1, -1.1], np.float32)
    for name in ("a.wav", "a.flac"):
        assert write_audio(tmp_path / name, audio, RATE) == 3
        stored, _ = soundfile.read(tmp_path / name, dtype="int16")
        assert stored.tolist() == [0, 32767, -32768, 32767, -32768]


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_write_to_a_stream_that_takes_a_part_or_returns_nothing(container):
    class Pipe(io.RawIOBase):
        content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data[:1000])
            return min(len(data), 1000)

    class Silent:
        content = b""

        def write(self, data):
            self.content += bytes(data)
            assert len(self.content) < 100_000

    plain = io.BytesIO()
    write_audio(plain, TONE, RATE, container=container)
    assert np.array_equal(soundfile.read(io.BytesIO(plain.getvalue()), dtype="int16")[0], to_pcm16(TONE)[0])
    for target in (Pipe(), Silent()):
        write_audio(target, TONE, RATE, container=container)
        assert target.content == plain.getvalue()


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


def test_what_float32_does_not_hold_is_not_written_as_infinity():
    target = io.BytesIO()
    with pytest.raises(AudioError, match="holds 1 values that are NaN, infinite or beyond float32"):
        write_audio(target, np.array([0, 1e300]), RATE, "float")
    assert not target.getvalue()


@pytest.mark.parametrize("container", ["wav", "flac"])
@pytest.mark.parametrize("rate", [22050.0, 0, -1, 1 << 31, True, "22050", None])
def test_what_is_no_sample_rate_is_refused(rate, container):
    with pytest.raises(OutputError) as caught:
        write_audio(io.BytesIO(), TONE, rate, container=container)
    assert str(caught.value) == f"sample_rate={rate!r} must be a whole number of Hz from 1 to 1048576"


@pytest.mark.parametrize(
    ("rate", "holds"),
    [(65535, True), (65536, False), (65540, True), (88201, False), (655350, True), (655360, False), (705600, False)],
)
def test_flac_holds_the_rates_of_its_frame_header(rate, holds):
    # RFC 9639, 9.1.2: 16 bits of Hz, or of tens of Hz.
    content = io.BytesIO()
    if holds:
        write_audio(content, TONE, rate, container="flac")
        assert soundfile.info(io.BytesIO(content.getvalue())).samplerate == rate
        return
    with pytest.raises(OutputError) as caught:
        write_audio(content, TONE, rate, container="flac")
    assert str(caught.value) == (
        f"sample_rate={rate} does not go into flac, which holds whole Hz up to 65535 and tens of Hz up to 655350: "
        "choose wav, or another rate"
    )


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
