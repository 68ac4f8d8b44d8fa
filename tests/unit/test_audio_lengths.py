"""Counts in containers that contradict the file: never silent, too small or too large; and no word about right ones."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_files import (
    FLOATS,
    RATE,
    SAMPLES,
    TO_THE_END,
    VALUES,
    chunk,
    encoded,
    flac_with_total,
    read_bytes,
    wav,
)
from hifigan_rt.audio import read_audio, write_audio
from hifigan_rt.audio.lengths import examine_length
from hifigan_rt.audio.lengths.pieces import FilePart, pieced_file
from hifigan_rt.errors import AudioError

DATA = VALUES.tobytes()
BYTES = len(DATA)

LIST = chunk(b"LIST", b"INFOISFT\x06\0\0\0abcde\0")
ID3 = chunk(b"id3 ", b"ID3\4\0\0\0\0\0\1a")


def states(stated: int, there: int = BYTES, why: str = "the length is wrong") -> str:
    return f"its header states {stated} bytes of samples and {there} follow: {why}; {TO_THE_END}"


def promises(stated: int, there: int = BYTES) -> str:
    return f"its header promises {stated} bytes of samples and {there} are there: the file is cut short"


UNFINISHED = states(0, why="the recording program did not finish it")


@pytest.mark.parametrize("after", [b"", LIST + ID3], ids=["", "chunks"])
@pytest.mark.parametrize("magic", [b"RIFF", b"RIFX"])
@pytest.mark.parametrize(
    ("stated", "note"),
    [
        (BYTES, None), (0, UNFINISHED), (1000, states(1000)), (BYTES - 2, states(BYTES - 2)),
        (BYTES - 1, states(BYTES - 1)), (BYTES + 2, promises(BYTES + 2)), (90_000, promises(90_000)),
        (0x90000000, promises(0x90000000)), (0x7FFF0000, None), (0x80000000, None), (0xFFFFFFFF, None),
    ],
)  # fmt: skip
def test_bytes_of_samples_in_a_wav(magic, stated, note, after):
    data = DATA if magic == b"RIFF" else VALUES.astype(">i2").tobytes()
    if magic == b"RIFX":
        after = b"".join(chunk(kind, b"12345678", ">") for kind in (b"LIST", b"bext") if after)
    recording = read_bytes(wav(data, claimed=stated, magic=magic, after=after))
    assert (recording.note, len(recording.samples)) == (note, SAMPLES)
    assert np.array_equal(recording.samples, FLOATS)


ALL = (BYTES + 72, BYTES, SAMPLES)


@pytest.mark.parametrize(
    ("stated", "counts", "note"),
    [
        (0xFFFFFFFF, ALL, None),
        (BYTES, ALL, None),
        (0xFFFFFFFF, (ALL[0], BYTES, 0), None),
        (0xFFFFFFFF, (ALL[0], 0, SAMPLES), UNFINISHED),
        (0xFFFFFFFF, (ALL[0], 1000, 500), states(1000)),
        (0xFFFFFFFF, (ALL[0], BYTES + 8, SAMPLES), promises(BYTES + 8)),
        (0xFFFFFFFF, (ALL[0], BYTES + (1 << 32), SAMPLES), promises(BYTES + (1 << 32))),
        (0xFFFFFFFF, ((1 << 64) - 1,) * 3, promises((1 << 64) - 1)),
        (0xFFFFFFFF, (ALL[0], BYTES, 5), f"its chunk ds64 states 5 samples and {SAMPLES} are there"),
        (0xFFFFFFFF, (0, BYTES, SAMPLES),
         f"its header states 0 bytes in all and {ALL[0]} are there; the samples are as long as stated"),
        (1000, ALL, f"its header states both 1000 and {BYTES} bytes of samples: {BYTES} are there"),
        (BYTES, (ALL[0], 1000, 500), f"its header states both {BYTES} and 1000 bytes of samples: {BYTES} are there"),
        (BYTES, (0, 0, 0), f"its header states both {BYTES} and 0 bytes of samples: {BYTES} are there"),
        (BYTES, None, None),
        (0xFFFFFFFF, None, None),
        (1000, None, states(1000)),
    ],
)  # fmt: skip
def test_counts_in_an_rf64(stated, counts, note):
    recording = read_bytes(wav(DATA, claimed=stated, magic=b"RF64", riff=0xFFFFFFFF, counts=counts))
    assert (recording.note, len(recording.samples)) == (note, SAMPLES)
    assert np.array_equal(recording.samples, FLOATS)


@pytest.mark.parametrize(
    ("riff", "is_told"),
    [(0, True), (8, True), (1000, True), (BYTES + 27, True), (BYTES + 45, True), (1 << 30, True),
     (BYTES + 36, False), (BYTES + 44, False), (0xFFFFFFFF, False), (0x7FFFF024, False)],
)  # fmt: skip
def test_bytes_of_a_whole_wav(riff, is_told):
    """Some writers count the 8 bytes before the count."""
    recording = read_bytes(wav(DATA, riff=riff))
    text = f"its header states {riff} bytes in all and {BYTES + 36} are there; the samples are as long as stated"
    assert recording.note == (text if is_told else None)
    assert np.array_equal(recording.samples, FLOATS)


@pytest.mark.parametrize(
    ("stated", "is_told"), [(SAMPLES, False), (0, True), (SAMPLES - 1, True), (SAMPLES + 1, True), (1 << 31, True)]
)
def test_samples_of_a_chunk_fact(stated, is_told):
    recording = read_bytes(wav(DATA, before=chunk(b"fact", struct.pack("<I", stated))))
    assert recording.note == (f"its chunk fact states {stated} samples and {SAMPLES} are there" if is_told else None)
    assert np.array_equal(recording.samples, FLOATS)


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_24", "ULAW", "ALAW"])
def test_compressed_wavs(subtype):
    content = encoded(FLOATS[:16_001], "WAV", subtype, 8000)
    whole = read_bytes(content)
    assert whole.note is None
    data, fact = content.find(b"data") + 4, content.find(b"fact") + 8
    stored = struct.unpack_from("<I", content, data)[0]
    for stated in (0, stored // 3, stored - 16, stored + 16, 3 * stored):
        recording = read_bytes(content[:data] + struct.pack("<I", stated) + content[data + 4 :])
        assert f"{stated} bytes of samples" in recording.note
        # The byte that fills an odd number up may be decoded too.
        assert 0 <= len(recording.samples) - len(whole.samples) <= 320
    for stated in (0, 8000, 40_000):
        recording = read_bytes(content[:fact] + struct.pack("<I", stated) + content[fact + 4 :])
        assert recording.note == f"its chunk fact states {stated} samples and {len(whole.samples)} are there"


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"block": 4}, "its header states 4 bytes a sample, and 1 channel(s) of 16 bits take 2"),
        ({"block": 0}, "its header states 0 bytes a sample, and 1 channel(s) of 16 bits take 2"),
        ({"bytes_a_second": 1}, "its header states 1 bytes a second, and 22050 Hz of 2 bytes take 44100"),
    ],
)
def test_counts_of_a_wavs_format(fields, note):
    recording = read_bytes(wav(DATA, **fields))
    assert (recording.note, len(recording.samples)) == (note, SAMPLES)


@pytest.mark.parametrize("claimed", [None, 0xFFFFFFFF])
def test_chunks_that_lack_their_byte_of_padding_are_no_samples(claimed):
    unpadded = chunk(b"LIST", b"INFOISFT\x05\0\0\0abcde")[:-1]
    recording = read_bytes(wav(DATA, claimed=claimed, after=unpadded + chunk(b"bext", bytes(50))))
    assert (recording.note, np.array_equal(recording.samples, FLOATS)) == (None, True)


@pytest.mark.parametrize("before", [b"", LIST])
@pytest.mark.parametrize("samples", [0, 100, 2 * SAMPLES])
def test_a_second_chunk_of_samples_is_refused(before, samples):
    """Of a longer one libsndfile gave the samples, in place of the first one's."""
    with pytest.raises(AudioError) as caught:
        read_bytes(wav(DATA, after=before + chunk(b"data", bytes(2 * samples))))
    assert str(caught.value) == (
        f"the audio stream: a second chunk of samples begins at byte {44 + BYTES + len(before)}: write the one that is "
        "meant alone"
    )


@pytest.mark.parametrize("second", [wav(DATA), wav(DATA, magic=b"RIFX"), b"RF64" + wav(DATA)[4:]])
def test_a_wav_behind_another_is_refused(second):
    with pytest.raises(AudioError, match=f"a second WAV begins at byte {44 + BYTES}: write the one that is"):
        read_bytes(wav(DATA) + second)


def test_a_wav_whose_width_is_not_known_is_refused():
    with pytest.raises(AudioError) as caught:
        read_bytes(wav(DATA, bits=24, block=4, bytes_a_second=4 * RATE))
    assert str(caught.value) == (
        "the audio stream: its header states 4 bytes a sample, and 1 channel(s) of 24 bits take 3: the number of "
        "samples is not known"
    )


@pytest.mark.parametrize(("stated", "why"), [("modulo", "lengths beyond 4 GiB do not fit into a WAV"), ("open", None)])
def test_a_wav_beyond_4_gib(tmp_path, stated, why):
    """Sparse, so that it takes no disk; one channel of doubles at the highest rate keeps the samples few."""
    path, n = tmp_path / "big.wav", (1 << 32) + 8000
    claimed = n % (1 << 32) if stated == "modulo" else 0xFFFFFFFF
    with path.open("wb") as file:
        file.write(wav(b"", rate=48000, channels=2, claimed=claimed))
        file.truncate(44 + n)
    with pytest.raises(AudioError, match="is longer than 3600 s"):
        read_audio(path)
    with path.open("rb", buffering=0) as file:
        finding = examine_length(file)
        assert finding.samples == n // 4
        assert finding.note == (None if why is None else states(8000, n, why))
        with soundfile.SoundFile(finding.sources[0]) as reader:
            assert (reader.frames, reader.format) == (n // 4, "RF64")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stated", [0, 1, 4096, -1, +1, 1 << 20, (1 << 36) - 1])
def test_samples_of_a_flac(stated, channels):
    """Small numbers are meant relatively; 0 says in FLAC that the number is not known."""
    there = SAMPLES // channels
    total = there + stated if abs(stated) == 1 else stated
    values = VALUES.reshape(-1, channels)
    recording = read_bytes(flac_with_total(encoded(values, "FLAC", "PCM_16"), total))
    assert np.array_equal(recording.samples, values.T.squeeze() / np.float32(32768))
    if total == 0:
        assert recording.note is None
    elif total > there:
        assert recording.note == f"its header promises {total} samples and {there} are there: the file is cut short"
    else:
        assert recording.note == f"its header states {total} samples and {there} are there; {TO_THE_END}"


@pytest.mark.parametrize("total", [SAMPLES, 500])
def test_a_tag_behind_a_flac(total):
    content = flac_with_total(encoded(VALUES, "FLAC", "PCM_16"), total)
    recording = read_bytes(content + b"TAG" + bytes(125))
    assert (len(recording.samples), recording.note is None) == (SAMPLES, total == SAMPLES)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_tag_before_any_container(tmp_path, container, subtype):
    content = encoded(VALUES, container, subtype)
    path = tmp_path / "a"
    path.write_bytes(b"ID3\4\0\0\0\0\0\4abcd" + content)
    for tagged in (read_audio(path), read_bytes(path.read_bytes())):
        assert (tagged.note, np.array_equal(tagged.samples, read_bytes(content).samples)) == (None, True)
    if container == "WAV":
        path.write_bytes(b"ID3\4\0\0\0\0\0\4abcd" + wav(DATA, claimed=1000))
        assert read_audio(path).note == states(1000)
        assert np.array_equal(read_audio(path).samples, FLOATS)


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_a_second_tag_with_a_picture_before_any_container(container, subtype):
    content = encoded(VALUES, container, subtype)
    picture = b"ID3\3\0\0\0\6\0\0" + b"\xff" * (6 << 14)
    tagged = read_bytes(b"ID3\4\0\0\0\0\0\4abcd" + picture + content)
    assert (tagged.note, np.array_equal(tagged.samples, read_bytes(content).samples)) == (None, True)


def test_a_flac_cut_at_a_frame():
    content = encoded(VALUES, "FLAC", "PCM_16")
    frames = [i for i in range(len(content)) if content[i : i + 2] == b"\xff\xf8" and content[i + 2] >> 4 == 12]
    recording = read_bytes(content[: frames[2]])
    assert len(recording.samples) == 2 * 4096
    assert recording.note == f"its header promises {SAMPLES} samples and 8192 are there: the file is cut short"


@pytest.mark.parametrize(
    "content",
    [
        wav(DATA, after=LIST), wav(DATA, after=ID3), wav(DATA, before=LIST),
        wav(DATA, before=chunk(b"JUNK", bytes(28))),
        wav(DATA, after=chunk(b"bext", bytes(602)) + LIST), wav(DATA, after=b"TAG" + bytes(125)),
        wav(DATA, after=b"TAG" + bytes(125), riff=BYTES + 36), wav(DATA, after=bytes(6), riff=BYTES + 36),
        wav(DATA, after=bytes(4096), riff=BYTES + 36),
        wav(DATA[:-1] + b"\0", bits=8), wav(DATA[:-1], bits=8, after=b"\0"), wav(DATA[:-1], bits=8),
        wav(DATA[:-1], bits=8, after=LIST), wav(DATA[: 3 * 6001], bits=24, after=b"\0" + LIST),
        wav(DATA, channels=2, before=chunk(b"fact", struct.pack("<I", SAMPLES))),
        wav(DATA, claimed=0xFFFFFFFF, riff=0xFFFFFFFF), wav(DATA, claimed=0x7FFFF000, riff=0x7FFFF024),
        wav(DATA, tag=3, bits=32, before=chunk(b"fact", struct.pack("<I", SAMPLES // 2))),
    ],
)  # fmt: skip
def test_valid_wavs_get_no_note(content):
    if b"WAVE" in content and content[20] == 3:
        content = content.replace(DATA, np.linspace(-1, 1, SAMPLES // 2, dtype="<f4").tobytes())
    assert read_bytes(content).note is None


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [1, 2, 3, 101])
def test_wavs_of_the_standard_library_get_no_note(tmp_path, width, samples):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, width, RATE, 0, "NONE", ""))
        file.writeframes(bytes(width * samples))
    assert (read_audio(path).note, len(read_audio(path).samples)) == (None, samples)


@pytest.mark.parametrize("encoding", ["pcm16", "pcm24", "float"])
@pytest.mark.parametrize("samples", [1, 2, 3, 1000])
def test_our_own_files_get_no_note(tmp_path, encoding, samples):
    for suffix in (".wav", ".flac")[: 1 if encoding == "float" else 2]:
        path = tmp_path / f"a{suffix}"
        write_audio(path, FLOATS[:samples], RATE, encoding)
        assert (read_audio(path).note, len(read_audio(path).samples)) == (None, samples)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("samples", [1, 100, 1000, 1024, 4000])
def test_short_oggs_get_no_note(subtype, samples):
    recording = read_bytes(encoded(FLOATS[:samples], "OGG", subtype, 24000))
    assert (recording.note, len(recording.samples)) == (None, samples)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [500, SAMPLES])
def test_mp3s_get_no_note(rate, samples):
    recording = read_bytes(encoded(FLOATS[:samples], "MP3", "MPEG_LAYER_III", rate))
    assert (recording.note, len(recording.samples)) == (None, samples)


def test_files_on_disk_and_streams_give_the_same(tmp_path):
    path: Path = tmp_path / "a.wav"
    path.write_bytes(wav(DATA, claimed=1000))
    assert np.array_equal(read_audio(path).samples, FLOATS)
    assert read_audio(path).note == states(1000)


def test_pieces_of_a_file():
    file = pieced_file(io.BytesIO(b"0123456789"), b"ab", FilePart(3, 6), b"", FilePart(0, 0), b"c")
    assert file.read() == b"ab345c"
    for start in range(8):
        for length in range(8):
            file.seek(start)
            assert file.read(length) == b"ab345c"[start : start + length]
    assert file.seek(-2, io.SEEK_END) == 4
    assert file.read(9) == b"5c"
