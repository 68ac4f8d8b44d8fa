"""`hifigan speak`, with the options that users of Piper type."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

import hifigan_rt
from cli.running import command, error_of, hifigan
from fake_tools import put_on_path
from hifigan_rt.audio import to_pcm16
from voice_files import SYMBOLS, tiny_voice


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def pcm(path):
    with hifigan_rt.load_voice(path) as voice:
        yield lambda text, **how: to_pcm16(voice(text, **{"seed": 1} | how))[0]


def speak(path, *arguments, status=0, **options):
    return hifigan("speak", "--voice", str(path), "--seed", "1", *arguments, status=status, **options)


def test_a_text_into_a_file(path, pcm, tmp_path):
    out = tmp_path / "out.wav"
    done = speak(path, "aa a", "aaa", "-o", str(out))
    audio, rate = soundfile.read(out, dtype="int16")
    np.testing.assert_array_equal(audio, pcm("aa a aaa"))
    assert rate == 16000
    assert done.stdout == f"{out}: {len(audio) / rate:.2f} s of audio\n"
    assert f"voice '{path}' on native" in done.stderr
    assert "licence: not stated" in done.stderr
    assert "exists already: --overwrite" in error_of(speak(path, "a", "-o", str(out), status=1))
    speak(path, "a", "-f", str(out), "--overwrite")
    np.testing.assert_array_equal(soundfile.read(out, dtype="int16")[0], pcm("a"))


def test_pipers_options_mean_what_they_mean_there(path, pcm, tmp_path):
    out = tmp_path / "out.flac"
    hifigan(
        "speak", "-m", str(path), "-c", f"{path}.json", "--output_file", str(out), "-s", "2", "--length_scale", "2",
        "--noise-scale", "0.1", "--noise_w", "0.2", "--sentence_silence", "0.1", "--volume", "0.5", "--no-normalize",
        "--seed", "7", "aa\n\na",
    )  # fmt: skip
    how = {"speaker": 2, "length_scale": 2, "noise_scale": 0.1, "noise_w_scale": 0.2, "sentence_silence": 0.1}
    expected = pcm("aa\n\na", **how, volume=0.5, seed=7)
    np.testing.assert_array_equal(soundfile.read(out, dtype="int16")[0], expected)


def test_lines_of_standard_input_are_streamed(path, pcm):
    lines = b"\xef\xbb\xbfaa\n\n  \na\xc3\xa4a\n"
    with subprocess.Popen(
        command("speak", "--voice", str(path), "--seed", "1", "--output-raw"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdin.write(lines)
        process.stdin.flush()
        first = pcm("aa").astype("<i2").tobytes()
        assert process.stdout.read(len(first)) == first  # while standard input is still open
        process.stdin.close()
        # communicate() would lose what the read above has buffered of the second line.
        rest, told = process.stdout.read(), process.stderr.read()
    expected = pcm("aaa")
    assert rest == expected.astype("<i2").tobytes()
    assert b"warning: line 4 of standard input: symbols that the voice does not have were left out" in told
    assert process.returncode == 0


def test_a_wav_on_standard_output(path, pcm):
    content = speak(path, "aa", "-o", "-").stdout.encode("utf-8", "surrogateescape")
    riff, size, wave = struct.unpack("<4sI4s", content[:12])
    assert (riff, size, wave) == (b"RIFF", 0xFFFFFFFF, b"WAVE")
    np.testing.assert_array_equal(np.frombuffer(content[44:], "<i2"), pcm("aa"))


def test_files_of_text_and_a_folder_of_results(path, pcm, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"aa\nxyz\n\xff\na\n")
    folder = tmp_path / "out"
    done = speak(path, "-i", str(text), "--output-dir", str(folder), status=1)
    assert sorted(file.name for file in folder.iterdir()) == ["0001.wav", "0004.wav"]
    np.testing.assert_array_equal(soundfile.read(folder / "0004.wav", dtype="int16")[0], pcm("a"))
    assert f"failed: 'line 2 of {text}': nothing of the text can be spoken" in done.stderr
    assert f"failed: 'line 3 of {text}': the line is not UTF-8" in done.stderr


@pytest.mark.espeak
def test_a_line_that_ends_espeak_ng_ends_no_other(tmp_path, monkeypatch):
    """As some texts do; where espeak-ng works for none, the first line ends the run."""
    voice = tiny_voice(
        tmp_path, phoneme_type="espeak", espeak={"voice": "en-us"}, phoneme_id_map=SYMBOLS | {"e": [3], "o": [3]}
    )
    pipe = 'while IFS= read -r line; do case "$line" in *Boom*) exit;; esac; echo "$line"; done'
    put_on_path(tmp_path / "bin", {"espeak-ng": f'{pipe} | {shutil.which("espeak-ng")} "$@"'}, monkeypatch)
    lines, folder, out = "hey\nBoom\nhey. Boom.\nso\n", tmp_path / "out", tmp_path / "out.wav"
    told = speak(voice, "-d", str(folder), status=1, input=lines).stderr
    assert sorted(file.name for file in folder.iterdir()) == ["0001.wav", "0004.wav"]
    for number in (2, 3):
        assert f"failed: 'line {number} of standard input': the program espeak-ng" in told
    speak(voice, "-o", str(out), status=1, input="hey\nBoom\nso\n")
    assert soundfile.info(out).frames == sum(soundfile.info(file).frames for file in folder.iterdir())
    out.unlink()
    assert "its process ended with status 0" in error_of(speak(voice, "-o", str(out), "hey. Boom.", status=1))
    assert not out.exists()  # it would have half of the text
    put_on_path(tmp_path / "bin", {"espeak-ng": "exit 1"}, monkeypatch)
    told = error_of(speak(voice, "-d", str(folder), "--overwrite", status=1, input=lines))
    assert told.endswith("failed: its process ended with status 1")


def test_a_text_that_the_locale_does_not_know(path, pcm, tmp_path):
    """Its bytes went as spaces, without a word."""
    out, locale = tmp_path / "out.wav", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = speak(path, "a\xe4a".encode(), "-o", str(out), env=os.environ | locale)
    assert "(U+0308)\n" in done.stderr  # two dots, which are all that is left out
    np.testing.assert_array_equal(soundfile.read(out, dtype="int16")[0], pcm("aaa"))
    done = speak(path, b"a\xffa", "-o", str(tmp_path / "none.wav"), status=1)
    assert "failed: 'text': the text is not UTF-8 (invalid start byte): convert it" in done.stderr
    assert not (tmp_path / "none.wav").exists()


def test_a_voice_by_its_name(path, tmp_path):
    speak("voice", "--data-dir", str(path.parent), "a", "-o", str(tmp_path / "out.wav"))
    assert "'voice' is neither a file" in error_of(speak("voice", "a", "-o", str(tmp_path / "x.wav"), status=1))


def test_a_speakers_name_that_is_the_number_of_another_is_told(tmp_path):
    """As in voices of LibriTTS-R and MLS, whose names are numbers: Piper takes numbers alone."""
    path = tiny_voice(tmp_path, speaker_id_map={"2": 0, "1": 1, "17": 2})
    done = speak(path, "a", "-s", "2", "-o", str(tmp_path / "two.wav"))
    assert "warning: --speaker 2 is taken as a name, that of number 0; number 2 has the name '17'" in done.stderr
    for speaker in ("1", "17", "0"):
        done = speak(path, "a", "-s", speaker, "-o", str(tmp_path / f"{speaker}.wav"))
        assert "warning" not in done.stderr


def test_phonemes_in_place_of_text(path, pcm, tmp_path):
    speak(path, "--phonemes", "aa a", "-o", str(tmp_path / "out.wav"))
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="int16")[0], pcm("aa a"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a",), "no output is named"),
        (("a", "-o", "x.wav", "--output-raw"), "--output and --output-raw: give one of them"),
        (("a", "-o", "-", "-d", "folder"), "--output and --output-dir: give one of them"),
        (("a", "-i", "text.txt", "-o", "-"), "a text and --input-file are both given"),
        (("a", "-o", "-", "--length-scale", "fast"), "'fast' is not a valid float"),
        (("a", "-o", "-", "--noise-scale", "nan"), "--noise-scale is nan: give a finite number"),
    ],
)
def test_commands_that_make_no_sense(path, arguments, told):
    assert told in error_of(speak(path, *arguments, status=2))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", "-o", "OUT"), "the text is empty"),
        (("xyz", "-o", "OUT"), "nothing of the text can be spoken"),
        (("a", "-o", "OUT", "--length-scale", "0"), "length_scale=0.0 must be a number from 0.05 to 20"),
        (("a", "-o", "OUT", "--speaker", "9"), "speaker='9' is not known"),
        (("-i", "absent.txt", "-o", "OUT"), "text 'absent.txt' cannot be read: No such file"),
        (("-i", "/", "-o", "OUT"), "text '/' cannot be read: Is a directory"),
        (("a", "-o", "OUT.mp3"), "audio is written as .wav or .flac"),
    ],
)
def test_what_cannot_be_spoken_writes_nothing(path, tmp_path, arguments, told):
    out = str(tmp_path / "out.wav")
    done = speak(path, *(argument.replace("OUT", out) for argument in arguments), status=1)
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_text_at_all(path, tmp_path):
    done = speak(path, "-o", "-", "-i", "/dev/null", status=1)
    assert "no text came" in error_of(done)


def test_who_reads_leaves(path):
    read, write = os.pipe()
    with subprocess.Popen(
        command("speak", "--voice", str(path), "--output-raw", "aaa a aa\n\n" * 5000), stdout=write,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(write)
        os.read(read, 100)
        os.close(read)
        assert process.wait(60) == 1
        assert b"Traceback" not in process.stderr.read()
