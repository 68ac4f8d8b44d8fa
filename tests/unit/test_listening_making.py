"""The page of a listening test: blind, loudness-matched, balanced; and the order that each listener gets."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import json
import re
from collections import Counter

import numpy as np
import pytest
import scipy.signal
import soundfile

import tolerances
from hifigan_rt.errors import DatasetError, EvaluationError
from hifigan_rt.tools.evaluation.metrics.loudness import integrated_loudness_lufs
from hifigan_rt.tools.listening.definition import NO_HASH, read_key, read_page, write_key
from hifigan_rt.tools.listening.making import Request, make
from hifigan_rt.tools.listening.material import from_folders
from hifigan_rt.tools.listening.schedule import RandomNumbers, schedule, seed_of
from hifigan_rt.tools.listening.stimuli import anchors, low_pass
from listening_tests import RATE, key_of, voiced, write_folders

SYSTEMS = ("glowing", "droning")


def material(place, *, reference=True, **changes):
    folders = {name: place / name for name in SYSTEMS}
    return from_folders(folders, place / "ref" if reference else None, changes.get("count"), 0)


def made(place, mode, **changes):
    return make(material(place), Request(mode, "A <test> & more", 7, **changes))


def audio_of(page: bytes) -> dict[str, bytes]:
    text = re.search(rb'id="audio">(.*?)</script>', page, re.DOTALL)[1]
    return {name: base64.b64decode(uri.split(",")[1]) for name, uri in json.loads(text).items()}


@pytest.mark.parametrize("mode", ["mos", "mushra", "abx"])
def test_page_names_no_system_and_no_file(tmp_path, mode):
    write_folders(tmp_path)
    page = made(tmp_path, mode).page
    for audio in audio_of(page).values():
        assert not [name for name in (*SYSTEMS, "clip", "libsndfile-tag") if name.encode() in audio]
    # Around the audio, whose base64 may spell anything.
    text = re.sub(rb'id="audio">.*?</script>', b"", page, flags=re.DOTALL).decode()
    assert not re.findall("|".join((*SYSTEMS, "clip0", "clip1", str(tmp_path))), text)
    assert "A &lt;test&gt; &amp; more" in text
    assert "<test>" not in text
    assert not re.findall(r"https?://", text)


def test_equal_recordings_have_unequal_bytes(tmp_path):
    write_folders(tmp_path)
    result = made(tmp_path, "mushra")
    audio = audio_of(result.page)
    assert len(set(audio.values())) == len(audio) == 2 * (2 + 2 + 2)
    assert {clip.reference for clip in result.key.definition.clips} < set(audio)
    assert list(audio) == sorted(audio)


def test_all_are_equally_loud_and_long(tmp_path):
    write_folders(tmp_path)
    result = made(tmp_path, "mushra")
    lengths = {}
    for name, content in audio_of(result.page).items():
        samples, rate = soundfile.read(io.BytesIO(content))
        assert integrated_loudness_lufs(samples, rate) == pytest.approx(
            result.key.loudness_lufs, abs=tolerances.LOUDNESS_LU
        )
        assert np.abs(samples).max() < 10 ** (-0.9 / 20)
        lengths.setdefault(result.key.stimuli[name].clip, set()).add(len(samples))
    assert all(len(found) == 1 for found in lengths.values())


def test_page_and_key_come_back(tmp_path):
    write_folders(tmp_path)
    result = made(tmp_path, "mos")
    (tmp_path / "test.html").write_bytes(result.page)
    content, definition = read_page(tmp_path / "test.html")
    assert (content, definition) == (result.page, result.key.definition)
    unhashed = content.replace(definition.page_sha256.encode(), NO_HASH.encode())
    assert hashlib.sha256(unhashed).hexdigest() == definition.page_sha256
    write_key(result.key, tmp_path / "key.json")
    assert read_key(tmp_path / "key.json") == result.key


def test_seed_decides(tmp_path):
    write_folders(tmp_path)
    first, second = made(tmp_path, "mos"), made(tmp_path, "mos")
    assert first.page == second.page
    other = make(material(tmp_path), Request("mos", "x", 8))
    assert not set(other.key.stimuli) & set(first.key.stimuli)


@pytest.mark.parametrize(
    ("mode", "changes", "text"),
    [
        ("mushra", {"reference": False}, "give their folder with --reference"),
        ("mos", {"repeats": 3}, "repeats=3 is for abx"),
    ],
)
def test_what_cannot_be_made(tmp_path, mode, changes, text):
    write_folders(tmp_path)
    reference = changes.pop("reference", True)
    with pytest.raises(EvaluationError, match=text):
        make(material(tmp_path, reference=reference), Request(mode, "x", 0, **changes))


def test_abx_needs_two_and_mushra_takes_twelve(tmp_path):
    write_folders(tmp_path)
    one = from_folders({"glowing": tmp_path / "glowing"}, None, None, 0)
    with pytest.raises(EvaluationError, match="there is one: name another"):
        make(one, Request("abx", "x", 0))
    many = from_folders({f"s{index}": tmp_path / "glowing" for index in range(10)}, tmp_path / "ref", None, 0)
    with pytest.raises(EvaluationError, match="more than the 12 signals"):
        make(many, Request("mushra", "x", 0))


def test_material_tells_what_it_leaves_out(tmp_path):
    write_folders(tmp_path, clips=6)
    soundfile.write(tmp_path / "ref" / "clip1.wav", np.zeros(RATE), RATE)  # silent
    soundfile.write(tmp_path / "glowing" / "clip1.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "droning" / "clip1.wav", np.zeros(RATE), RATE)
    (tmp_path / "glowing" / "clip2.wav").unlink()
    (tmp_path / "glowing" / "clip0.wav").write_bytes((tmp_path / "ref" / "clip0.wav").read_bytes())
    soundfile.write(tmp_path / "droning" / "clip3.wav", voiced(3, 2), RATE)  # another recording
    soundfile.write(tmp_path / "glowing" / "clip4.wav", np.tile(voiced(4, 0.6, 16000)[:, None], 2), 16000)
    (tmp_path / "droning" / "clip5.wav").write_bytes(b"no audio")
    (tmp_path / "droning" / "clip5.m4a").touch()
    (tmp_path / "glowing" / "clip4.wav").rename(tmp_path / "glowing" / "clip4.WAVE")
    soundfile.write(tmp_path / "glowing" / "extra.wav", voiced(0, 1), RATE)
    found = material(tmp_path)
    assert list(found.clips) == ["clip0", "clip1", "clip4"]
    notes = " | ".join((*found.notes, *make(found, Request("mos", "x", 0)).key.notes))
    for text in (
        "clip 'clip2' is left out: glowing: no file for clip",
        "clip 'clip3' is left out: droning is 1.40 s longer than",
        "clip 'clip5' is left out: audio file",
        "1 recording was resampled from 16000 to 22050 Hz",
        "1 recording was averaged from 2 channels to one",
        "droning: left out: 1 x .m4a",
        "glowing: 1 file belongs to no clip, the first is 'extra'",
        "clip 'clip1' is left out: reference is shorter than 0.4 s or below -70 LUFS",
    ):
        assert text in notes
    # Of those that the test uses: the silent one is none.
    assert "reference and glowing are the same sample by sample in 1 of 2 clips" in notes
    assert notes.count("the same sample by sample") == 1


def test_a_recording_that_is_too_long_is_told_no_option_of_other_commands(tmp_path):
    write_folders(tmp_path, clips=2)
    soundfile.write(tmp_path / "ref" / "clip1.wav", np.full(61 * RATE, 0.1), RATE)
    (note,) = material(tmp_path).notes
    assert note.endswith(f"is longer than 60 s, the limit for 1 channel(s) at {RATE} Hz: cut it")


def test_one_recording_that_makes_all_quiet_is_named(tmp_path):
    write_folders(tmp_path, clips=2)
    assert not any("LUFS" in note for note in made(tmp_path, "mos").key.notes)
    clicking = 0.02 * voiced(1, 2)
    clicking[1000] = 0.9
    soundfile.write(
        tmp_path / "droning" / "clip1.wav", clicking[: len(soundfile.read(tmp_path / "ref/clip1.wav")[0])], RATE
    )
    key = made(tmp_path, "mos").key
    (note,) = (note for note in key.notes if "LUFS" in note)
    assert note.startswith("'clip1/droning' peaks so far above its loudness")
    assert f"are {-23 - key.loudness_lufs:.0f} dB below -23 LUFS" in note


def test_names_and_folders_that_do_not_do(tmp_path):
    write_folders(tmp_path)
    with pytest.raises(EvaluationError, match="a system is named 'reference'"):
        from_folders({"reference": tmp_path / "glowing"}, None, None, 0)
    with pytest.raises(DatasetError, match="is no folder"):
        from_folders({"x": tmp_path / "absent"}, None, None, 0)
    soundfile.write(tmp_path / "short.wav", np.ones(1000) / 2, RATE)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "short.wav").rename(tmp_path / "tiny" / "a.wav")
    with pytest.raises(EvaluationError, match=r"no clip can be used: .* shorter than 0\.4 s"):
        make(from_folders({"x": tmp_path / "tiny"}, None, None, 0), Request("mos", "x", 0))


def test_rates_at_which_loudness_is_not_defined(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "clip.wav", voiced(0, 1.0, 2000), 2000)
    with pytest.raises(EvaluationError, match="a: it has 2000 Hz, and loudness cannot be matched below 4000"):
        from_folders({"a": tmp_path / "a", "b": tmp_path / "b"}, None, None, 0)


@pytest.mark.parametrize("name", ["anchor 3.5 kHz", "anchor 7 kHz", "open reference"])
def test_no_system_is_named_as_what_mushra_adds(tmp_path, name):
    write_folders(tmp_path)
    heard = from_folders({name: tmp_path / "glowing"}, tmp_path / "ref", None, 0)
    with pytest.raises(EvaluationError, match=f"a system is named '{name}', as what MUSHRA adds itself"):
        make(heard, Request("mushra", "x", 0))
    make(heard, Request("mos", "x", 0))


def test_anchors_keep_to_the_standard():
    impulse = np.zeros(RATE)
    impulse[RATE // 2] = 1
    frequencies, response = scipy.signal.freqz(low_pass(impulse, RATE, 3500.0), worN=8192, fs=RATE)
    level = 20 * np.log10(np.abs(response) + 1e-12)
    # ITU-R BS.1534-3, the low anchor: 0.1 dB up to 3.5 kHz, 25 dB down at 4 kHz, 50 dB at 4.5 kHz.
    assert np.abs(level[frequencies <= 3500]).max() < 0.1
    assert level[frequencies >= 4000].max() < -25
    assert level[frequencies >= 4500].max() < -50
    # Without delay: the reference and the anchor are in step.
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    middle = slice(2000, -2000)
    assert np.abs(low_pass(tone, RATE, 3500.0) - tone)[middle].max() < 0.02
    assert list(anchors(tone, 8000)) == []
    assert list(anchors(tone, 16000)) == ["anchor 3.5 kHz", "anchor 7 kHz"]


def test_mulberry32_by_its_published_form():
    # Computed with the author's JavaScript.
    numbers = RandomNumbers(0)
    assert [numbers.next() for _ in range(3)] == [1144304738, 1416247, 958946056]
    # FNV-1a of "a/" + "b", worked through by hand in 32 bits.
    state = 0x811C9DC5
    for byte in b"a/b":
        state = (state ^ byte) * 16777619 % 2**32
    assert seed_of("a", "b") == state


def test_mos_is_balanced_and_each_stimulus_comes_once():
    key = key_of("mos", ("v1", "v2", "v3"), 12)
    for listener in ("L1", "L2", "L3"):
        trials = [trial.order[0] for trial in schedule(key.definition, listener)]
        assert sorted(trials) == sorted(key.definition.stimuli)
        # In each block of three every system comes once, of three different clips, and no clip twice in a row.
        for start in range(0, len(trials), 3):
            block = [key.stimuli[name] for name in trials[start : start + 3]]
            assert len({entry.system for entry in block}) == len({entry.clip for entry in block}) == 3
        clips = [key.stimuli[name].clip for name in trials]
        assert all(first != second for first, second in itertools.pairwise(clips))


def test_part_of_the_rows_is_balanced_too():
    key = key_of("mos", ("v1", "v2", "v3"), 12, rows=4)
    counts = Counter(key.stimuli[trial.order[0]].system for trial in schedule(key.definition, "L1"))
    assert set(counts.values()) == {4}


def test_listeners_differ_and_sides_are_balanced():
    key = key_of("abx", ("v1", "v3"), 10, repeats=2)
    orders = {schedule(key.definition, f"L{index}") for index in range(50)}
    assert len(orders) == 50
    for trials in orders:
        assert sum(trial.order[0].startswith("v1") for trial in trials) == 10
    is_a = [trial.x == trial.order[0] for trials in orders for trial in trials]
    # X is a coin: 1000 tosses, four standard deviations.
    assert abs(sum(is_a) - 500) < 4 * 1000**0.5 / 2
    positions = Counter(
        trials.index(next(t for t in trials if key.definition.rows[0][0] in t.order)) for trials in orders
    )
    assert len(positions) > 5


def test_mushra_positions_vary():
    key = key_of("mushra", ("reference", "v1", "anchor 3.5 kHz"), 4)
    places = Counter(
        trial.order.index(next(name for name in trial.order if name.startswith("ref")))
        for index in range(60)
        for trial in schedule(key.definition, f"L{index}")
    )
    assert set(places) == {0, 1, 2}
    assert min(places.values()) > 50


@pytest.mark.parametrize("content", [b"", b"<html>", b'<script type="application/json" id="definition">{}</script>'])
def test_other_pages(tmp_path, content):
    (tmp_path / "page.html").write_bytes(content)
    with pytest.raises(DatasetError, match="is no page of a listening test"):
        read_page(tmp_path / "page.html")


def test_keys_changed_by_hand(tmp_path):
    key = key_of("mos", ("v1", "v3"), 2)
    write_key(dataclasses.replace(key, stimuli=dict(list(key.stimuli.items())[1:])), tmp_path / "key.json")
    with pytest.raises(DatasetError, match="changed by hand"):
        read_key(tmp_path / "key.json")
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(DatasetError, match="is no result of 'hifigan listen make'"):
        read_key(tmp_path / "key.json")
