"""Recordings that are damaged, deceive or are none: each with its exact text, then thousands of mutated headers."""

from __future__ import annotations

import math
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import audio_files
from audio_files import wav
from hifigan_rt.audio import read_audio
from hifigan_rt.errors import AudioError
from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib

FORMATS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
MUTATED_FILES = 250
MANY_MUTATED_FILES = 2500
"""Of each format: 1,000 files in a quick run of the suite and 10,000 more in a whole one."""

RATE = audio_files.RATE
TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(2000) / RATE)).astype(np.float32)


DAMAGED = "it is cut short, damaged or of an unusual kind: copy or download it again"
RATE_IS_WRONG = "; if the header alone is wrong, write it anew with the true rate"


def encoded(container: str, subtype: str, samples: np.ndarray = TONE) -> bytes:
    return audio_files.encoded(samples, container, subtype)


def refusal(path: Path, **options) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("samples", [1, 300])
def test_short_wavs_are_read(tmp_path, samples):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(b"\x00\x40" * samples))
    assert read_audio(path).samples.tolist() == [0.5] * samples


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (bytes(range(0x90, 0xA0)), f"is not wav, flac, ogg or mp3: it starts with {bytes(range(0x90, 0x9C))!r}"),
        (wav(b""), "holds no samples: leave it out, or record it anew"),
        (
            wav(bytes(20))[:30],
            f"cannot be decoded (Error in WAV file. No 'data' chunk marker.): {DAMAGED}",
        ),
        *[
            (content, f"cannot be decoded (Format not recognised.): {DAMAGED}")
            for content in (b"RIFF", b"OggS")
        ],
        (
            b"OggS\0\2" + bytes(14),
            f"cannot be decoded (File contains data in an unimplemented format.): {DAMAGED}",
        ),
        (
            encoded("FLAC", "PCM_16")[: len(encoded("FLAC", "PCM_16")) // 2],
            f"cannot be decoded (Error : flac decoder lost sync.): {DAMAGED}",
        ),
        (
            wav(struct.pack("<3f", 0, math.nan, 0), tag=3, bits=32),
            "holds NaN or infinity, the first at sample 1: a recording must be finite numbers",
        ),
        (
            wav(struct.pack("<3f", 0, 0, -math.inf), tag=3, bits=32),
            "holds NaN or infinity, the first at sample 2: a recording must be finite numbers",
        ),
        (
            wav(struct.pack("<d", 1e300), tag=3, bits=64),
            "holds NaN or infinity, the first at sample 0: a recording must be finite numbers",
        ),
        (
            wav(bytes(20000), rate=1000),
            "is longer than 3 s, the limit for 1 channel(s) at 1000 Hz: --max-seconds raises it",
        ),
        (
            wav(bytes(2000), rate=999),
            f"has a sample rate of 999 Hz: it must be from 1000 to 1048576{RATE_IS_WRONG}",
        ),
        (
            wav(bytes(2000), rate=1),
            f"has a sample rate of 1 Hz: it must be from 1000 to 1048576{RATE_IS_WRONG}",
        ),
        (
            wav(bytes(3200 * 200), channels=1000, rate=48000),
            "is longer than 0.006 s, the limit for 1000 channel(s) at 48000 Hz: --max-seconds raises it",
        ),
        (
            wav(bytes(100), rate=0x7FFFFFFF),
            f"has a sample rate of 2147483647 Hz: it must be from 1000 to 1048576{RATE_IS_WRONG}",
        ),
    ],
)  # fmt: skip
def test_refused_files(tmp_path, content, text):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    assert refusal(path, max_seconds=3) == f"audio file {str(path)!r} {text}"


@pytest.mark.parametrize(
    ("file_name", "content", "text"),
    [
        (
            "take 1.m4a",
            b"\0\0\0\x18ftypM4A \0\0\2\0",
            "is an MPEG-4 recording (AAC or ALAC), not wav, flac, ogg or mp3: "
            "ffmpeg -i 'take 1.m4a' 'take 1.wav' converts it",
        ),
        (
            "x.wav",
            b"NIST_1A\n   1024\n",
            "is a NIST SPHERE recording, not wav, flac, ogg or mp3: ffmpeg -i x.wav x-converted.wav converts it",
        ),
        (
            "a\nb.aiff",
            b"FORM\0\0\1\0AIFFCOMM",
            "is an AIFF recording, not wav, flac, ogg or mp3: ffmpeg -i recording.aiff recording.wav converts it",
        ),
        (
            "mel",
            b"\x93NUMPY\1\0v\0{'",
            "is a NumPy array, not wav, flac, ogg or mp3: if it holds a mel, name it mel.npy",
        ),
        ("a.npy", b"\x93NUMPY\1\0v\0{'", "is a NumPy array, not wav, flac, ogg or mp3"),
        ("x.wav", b"RIFF1234WEBPVP8 ", "is a picture, not wav, flac, ogg or mp3"),
        ("x.wav", b"\x1f\x8b\x08\0", "is compressed with gzip, not wav, flac, ogg or mp3: unpack it first"),
        ("x.wav", b"Entry not found", "is a text ('Entry not found'), not wav, flac, ogg or mp3"),
        (
            "x.wav",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "is a git-LFS pointer, not the file itself: run 'git lfs pull', or download the file from its page",
        ),
        (
            "x.mp3",
            b"ID3\4\0\0\0\0\0\2ab\xff\xf1\x5c\x40\x12",
            "is an AAC recording, not wav, flac, ogg or mp3: ffmpeg -i x.mp3 x.wav converts it",
        ),
        (
            "x.ogg",
            b"OggS\0\2" + bytes(20) + b"\1\x50Speex   1.2.1" + bytes(67),
            "cannot be decoded (File contains data in an unimplemented format.): it is an Ogg recording (Speex), and "
            "of Ogg Vorbis and Opus are read: ffmpeg -i x.ogg x.wav converts it",
        ),
    ],
)
def test_what_is_something_else_is_named_with_the_way_out(tmp_path, file_name, content, text):
    path = tmp_path / file_name
    path.write_bytes(content)
    assert refusal(path) == f"audio file {str(path)!r} {text}"


@pytest.mark.parametrize("bits", [12, 20, 32])
def test_a_flac_of_bits_that_are_not_read_is_not_called_damaged(tmp_path, bits):
    content = bytearray(encoded("FLAC", "PCM_16"))
    field = int.from_bytes(content[20:22]) & ~0x01F0 | bits - 1 << 4
    content[20:22] = field.to_bytes(2)
    path = tmp_path / "take.flac"
    for before in (b"", b"ID3\4\0\0\0\0\0\2ab"):
        path.write_bytes(before + content)
        assert refusal(path).endswith(
            f"it is a FLAC of {bits} bits, and those of 8, 16 and 24 are read: ffmpeg -i take.flac take.wav converts it"
        )


def test_what_is_no_file(tmp_path):
    folder = tmp_path / "x.wav"
    folder.mkdir()
    assert refusal(folder) == f"audio file {str(folder)!r} is a directory: name a wav, flac, ogg or mp3 file"
    missing = tmp_path / "missing.wav"
    assert refusal(missing) == f"audio file {str(missing)!r} cannot be read: No such file or directory"
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    assert refusal(pipe) == f"audio file {str(pipe)!r} is no regular file: name a wav, flac, ogg or mp3 file"
    # Python's own words, which differ between its versions.
    assert re.fullmatch(r"audio file 'a\\x00b' cannot be read: .*embedded null.*", refusal(Path("a\0b")))
    for seconds in (0, -1, math.nan, math.inf):
        assert refusal(missing, max_seconds=seconds) == f"max_seconds={seconds} must be a finite number above 0"


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(bytes(100)))
    path.chmod(0)
    program = (
        "import sys; from hifigan_rt.audio import read_audio; from hifigan_rt.errors import AudioError\n"
        "try: read_audio(sys.argv[1])\n"
        "except AudioError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    if os.geteuid() == 0:
        # Rights do not bind root unless it gives these capabilities up.
        dropped = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"audio file {str(path)!r} cannot be read: Permission denied\n"


def test_what_is_cut_short_is_read_with_a_note(tmp_path):
    path = tmp_path / "x.wav"
    cases = [
        (wav(bytes(1000), claimed=4000), 500, "its header promises 4000 bytes of samples and 1000 are there: "),
        (encoded("RF64", "PCM_16")[:-2000], 1000, "its header promises 4000 bytes of samples and 2000 are there: "),
    ]
    for content, samples, note in cases:
        path.write_bytes(content)
        recording = read_audio(path)
        assert len(recording.samples) == samples
        assert recording.note == note + "the file is cut short"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * RATE)
    for container, subtype, kind in (("OGG", "VORBIS", "its last page is incomplete"), ("MP3", "MPEG_LAYER_III", "")):
        whole = encoded(container, subtype, noise)
        path.write_bytes(whole[: len(whole) * 2 // 3])
        recording = read_audio(path)
        assert 5 * RATE < len(recording.samples) < 7 * RATE
        expected = kind or f"its header promises {10 * RATE} samples and {len(recording.samples)} are there"
        assert recording.note == f"{expected}: the file is cut short"


@pytest.mark.parametrize("claimed", [0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_left_open_by_a_streaming_writer_is_no_damage(tmp_path, claimed):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(bytes(1000), claimed=claimed))
    recording = read_audio(path)
    assert len(recording.samples) == 500
    assert recording.note is None


def test_a_bomb_is_given_up_at_the_limit(tmp_path):
    path = tmp_path / "bomb.flac"
    silence = np.zeros(30_000_000, np.int16)
    soundfile.write(path, silence, RATE, format="FLAC", subtype="PCM_16")
    program = (
        "import sys, numpy, soundfile\n"
        "from hifigan_rt.audio import read_audio\n"
        "from hifigan_rt.errors import AudioError\n"
        "from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib\n"
        "before = peak_memory_mib()\n"
        "content = bytearray(open(sys.argv[1], 'rb').read())\n"
        # Total samples unknown: the 36 bits at the end of byte 21 of STREAMINFO become 0, so only decoding tells.
        "content[21] &= 0xF0; content[22:26] = bytes(4)\n"
        "open(sys.argv[1], 'wb').write(content)\n"
        "try: read_audio(sys.argv[1], max_seconds=10)\n"
        "except AudioError as error: print(str(error)[-60:])\n"
        "print(peak_memory_mib() - before)\n"
    )
    assert path.stat().st_size < 1_000_000
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    text, grown_mib = done.stdout.splitlines()
    assert text.endswith("1 channel(s) at 22050 Hz: --max-seconds raises it")
    assert float(grown_mib) < 20


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_mutated_files_raise_nothing_but_audio_errors(tmp_path, container, subtype, capfd):
    read_mutated_files(tmp_path, container, subtype, MUTATED_FILES)
    # libmpg123 talks to the process's standard error; it is no part of the result.
    capfd.readouterr()


@pytest.mark.long
@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_many_mutated_files_raise_nothing_but_audio_errors(tmp_path, container, subtype, capfd):
    read_mutated_files(tmp_path, container, subtype, MANY_MUTATED_FILES)
    capfd.readouterr()


def read_mutated_files(tmp_path: Path, container: str, subtype: str, count: int) -> None:
    whole = encoded(container, subtype)
    path = tmp_path / "x.wav"
    head = min(len(whole), 120)
    values = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before_mib = peak_memory_mib()

    @settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        edits=st.lists(st.tuples(st.integers(0, head - 1), values), max_size=8),
        anywhere=st.lists(st.tuples(st.integers(0, len(whole) - 1), values), max_size=3),
        keep=st.one_of(st.just(len(whole)), st.integers(0, len(whole))),
    )
    def run(edits, anywhere, keep):
        content = bytearray(whole)
        for position, value in edits + anywhere:
            content[position] = value
        path.write_bytes(content[:keep])
        try:
            recording = read_audio(path, max_seconds=100)
        except AudioError:
            return
        assert recording.samples.dtype == np.float32
        assert recording.samples.size > 0
        assert np.isfinite(recording.samples).all()

    run()
    # A hundred seconds at 96,000 values are 38 MB.
    assert peak_memory_mib() - before_mib < 120
