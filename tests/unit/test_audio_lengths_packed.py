"""Counts in Ogg and MP3 that contradict the file: never silent, too small or too large."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from audio_files import (
    FLOATS,
    RATE,
    SAMPLES,
    TO_THE_END,
    encoded,
    mp3_count_position,
    mp3_with_count,
    ogg_page_with,
    ogg_pages,
    ogg_position,
    ogg_with_position,
    read_bytes,
    wav,
)
from hifigan_rt.errors import AudioError

OGGS = {"VORBIS": (RATE, ""), "OPUS": (24000, " at 48000 Hz")}


@pytest.mark.parametrize("subtype", OGGS)
def test_positions_of_an_ogg(subtype):
    rate, unit = OGGS[subtype]
    content = encoded(np.tile(FLOATS, 3), "OGG", subtype, rate)
    whole = read_bytes(content)
    assert (whole.note, len(whole.samples)) == (None, 3 * SAMPLES)
    pages = ogg_pages(content)
    right = ogg_position(pages[-1])
    for position in (0, -1, 1000, ogg_position(pages[-2]) - 100, right - 3000):
        recording = read_bytes(ogg_with_position(content, position))
        assert recording.note.startswith(f"its last page states {position} samples{unit} and ")
        assert recording.note.endswith(f" are there; {TO_THE_END}")
        assert np.array_equal(recording.samples[: 3 * SAMPLES], whole.samples)
        assert len(recording.samples) < 3 * SAMPLES + 1024
    for position in (right + 1000, right + 100_000, 1 << 40, 1 << 62):
        recording = read_bytes(ogg_with_position(content, position))
        assert recording.note.startswith(f"its last page promises {position} samples{unit} and ")
        assert np.array_equal(recording.samples[: 3 * SAMPLES], whole.samples)
    # What encoders add to the last packet is cut off by the position, so that a little less is right.
    assert read_bytes(ogg_with_position(content, right - 20)).note is None


@pytest.mark.parametrize("subtype", OGGS)
def test_pages_of_an_ogg(subtype):
    content = encoded(np.tile(FLOATS, 3), "OGG", subtype, OGGS[subtype][0])
    whole, pages = read_bytes(content), ogg_pages(content)
    again = b"".join(ogg_page_with(page, serial=77) for page in pages)
    chained = read_bytes(content + again)
    assert chained.note is None
    assert np.array_equal(chained.samples, np.concatenate([whole.samples] * 2))
    assert read_bytes(b"".join(pages[:3] + pages[4:])).note == "1 of its pages are missing"
    open_end = b"".join(
        [*pages[:-1], ogg_page_with(pages[-1], flags=0, serial=int.from_bytes(pages[-1][14:18], "little"))]
    )
    assert read_bytes(open_end).note == "its last page is not marked as the end: the file is cut short"
    assert len(read_bytes(open_end).samples) == 3 * SAMPLES
    # Cut out of a longer stream: positions begin above 0.
    serial = int.from_bytes(pages[0][14:18], "little")
    later = [ogg_page_with(page, position=ogg_position(page) + 50_000, serial=serial) for page in pages[2:]]
    assert (read_bytes(b"".join(pages[:2] + later)).note, len(read_bytes(b"".join(pages[:2] + later)).samples)) == (
        None,
        3 * SAMPLES,
    )


@pytest.mark.parametrize("left_out", range(4))
def test_chained_opus_whose_parts_end_between_samples(left_out):
    """Opus counts at 48 kHz and is decoded to less; half a sample of each part is none, and nothing is missing."""
    content = encoded(FLOATS, "OGG", "OPUS", 16000)
    content = ogg_with_position(content, ogg_position(ogg_pages(content)[-1]) - left_out)
    again = b"".join(ogg_page_with(page, serial=77) for page in ogg_pages(content))
    part, chained = read_bytes(content), read_bytes(content + again)
    assert (chained.note, len(chained.samples)) == (None, 2 * len(part.samples))
    cut = b"".join(ogg_pages(content)[:-1])
    assert read_bytes(content + again[: len(cut)]).note is not None


@pytest.mark.parametrize("subtype", OGGS)
@pytest.mark.parametrize("flags", [0, 4], ids=["open", "ended"])
def test_an_empty_recording_among_chained_oggs_ends_nothing(subtype, flags):
    """Of a stream that begins anew without sound, what follows was left out, in silence."""
    content = encoded(np.tile(FLOATS, 3), "OGG", subtype, OGGS[subtype][0])
    pages, whole = ogg_pages(content), read_bytes(content)
    empty = ogg_page_with(pages[0], serial=76) + ogg_page_with(pages[1], serial=76, flags=flags)
    again = b"".join(ogg_page_with(page, serial=77) for page in pages)
    for chained, parts in ((content + empty + again, 2), (empty + content, 1)):
        recording = read_bytes(chained)
        assert (recording.note, len(recording.samples)) == (None, parts * len(whole.samples))
        assert np.array_equal(recording.samples[-len(whole.samples) :], whole.samples)
    at_the_end = read_bytes(content + empty)
    assert len(at_the_end.samples) == len(whole.samples)
    assert at_the_end.note == (None if flags else "its last page is not marked as the end: the file is cut short")


def test_what_is_not_read_behind_an_ogg_is_told():
    content = encoded(FLOATS, "OGG", "VORBIS")
    first, *others = ogg_pages(content)
    other = ogg_page_with(first.replace(b"\x01vorbis", b"\x7fFLAC__"), serial=77)
    other += b"".join(ogg_page_with(page, serial=77) for page in others)
    recording = read_bytes(content + other)
    assert len(recording.samples) == SAMPLES
    assert recording.note == f"what begins at its byte {len(content)} is neither Vorbis nor Opus, and was not read"
    beside = read_bytes(first + ogg_page_with(first, serial=77) + b"".join(others) + content)
    assert beside.note == "it holds 2 streams side by side: the first was read"


def test_chained_oggs_of_different_rates_are_refused():
    first, second = (encoded(FLOATS, "OGG", "VORBIS", rate) for rate in (RATE, 16000))
    with pytest.raises(AudioError) as caught:
        read_bytes(first + b"".join(ogg_page_with(page, serial=77) for page in ogg_pages(second)))
    assert str(caught.value) == (
        f"the audio stream goes on after {SAMPLES} samples with 1 channel(s) at 16000 Hz instead of 1 at 22050 Hz: "
        "cut it in two"
    )


@pytest.fixture(scope="module")
def mp3() -> bytes:
    return encoded(np.tile(FLOATS, 3), "MP3", "MPEG_LAYER_III")


def test_frames_of_an_mp3(mp3, capfd):
    whole = read_bytes(mp3)
    assert (whole.note, len(whole.samples)) == (None, 3 * SAMPLES)
    at = mp3_count_position(mp3)
    frames = int.from_bytes(mp3[at : at + 4], "big")
    name = mp3[at - 8 : at - 4].decode()
    for stated in (0, 1, frames // 2, frames - 1):
        recording = read_bytes(mp3_with_count(mp3, stated))
        assert recording.note == f"its {name} header states {stated} frames and {frames} are there; {TO_THE_END}"
        assert np.array_equal(recording.samples, whole.samples)
    for stated in (frames + 1, 2 * frames, 1 << 31, (1 << 32) - 1):
        recording = read_bytes(mp3_with_count(mp3, stated))
        assert recording.note.startswith("its header promises ")
        assert recording.note.endswith(f" samples and {len(recording.samples)} are there: the file is cut short")
        assert np.array_equal(recording.samples[: 3 * SAMPLES], whole.samples)
    for stated in (0, len(mp3) // 2, 2 * len(mp3)):
        recording = read_bytes(mp3[: at + 4] + struct.pack(">I", stated) + mp3[at + 8 :])
        assert recording.note.startswith(f"its {name} header states {stated} bytes and ")
        assert np.array_equal(recording.samples, whole.samples)
    assert (
        read_bytes(mp3 + mp3).note
        == f"its {name} header states {frames} frames and {2 * frames + 1} are there; {TO_THE_END}"
    )
    assert len(read_bytes(mp3 + mp3).samples) > 6 * SAMPLES
    # libmpg123 talks to the process's standard error.
    capfd.readouterr()


@pytest.mark.parametrize(
    ("rate", "channels"), [(RATE, 2), (44100, 1), (8000, 1)], ids=["more channels", "a higher rate", "a lower rate"]
)
def test_an_mp3_behind_one_of_another_kind_is_refused(mp3, rate, channels, capfd):
    """The decoder stopped there, and the rest was left out in silence."""
    other = encoded(np.tile(FLOATS, (channels, 3)).T, "MP3", "MPEG_LAYER_III", rate)
    kinds = f"{channels} channel(s) at {rate} Hz in layer 3", f"1 channel(s) at {RATE} Hz in layer 3"
    for first, second, (is_second, is_first) in ((mp3, other, kinds), (other, mp3, kinds[::-1])):
        for between in (b"", b"TAG" + bytes(125), b"ID3\4\0\0\0\0\0\4abcd"):
            start = len(first) + len(between)
            with pytest.raises(AudioError) as caught:
                read_bytes(first + between + second)
            assert str(caught.value) == (
                f"the audio stream: from byte {start} on it has {is_second}, and before "
                f"{is_first.replace(' channel(s)', '')}: cut it in two"
            )
    assert capfd.readouterr().err == ""


def test_an_mp3_of_variable_rate_without_a_count(mp3, capfd):
    """libsndfile estimates by the first frames, and reads no more than that."""
    whole = read_bytes(mp3)
    at = mp3_count_position(mp3)
    frames = int.from_bytes(mp3[at : at + 4], "big")
    bare = mp3[: at - 8] + bytes(4) + mp3[at - 4 :]
    for content, extra in ((bare, 1), (mp3[: at - 1] + b"\0" + bytes(180) + mp3[at + 180 :], 0)):
        recording = read_bytes(content)
        assert (recording.note, len(recording.samples)) == (None, (frames + extra) * 576)
        start = len(recording.samples) - frames * 576 + 1105
        assert np.abs(recording.samples[start : start + 3 * SAMPLES] - whole.samples).max() < 1e-6
    cut = read_bytes(bare[:-20])
    assert (cut.note, len(cut.samples)) == ("its last frame is incomplete: the file is cut short", frames * 576)
    capfd.readouterr()


@pytest.mark.parametrize("ends", [(4095, 0), (0, 4095), (4095, 4095)])
def test_absurd_ends_of_an_mp3(mp3, ends):
    at = mp3.find(b"LAME") + 21
    packed = (ends[0] << 12 | ends[1]).to_bytes(3, "big")
    note = read_bytes(mp3[:at] + packed + mp3[at + 3 :]).note
    assert f"states {ends[0]} samples of delay and {ends[1]} of padding, more than encoders add" in note


JUNK = b"\xff\xfb\0\0"
"""A header of a free bit rate that no frame follows: mpg123 writes four lines for each."""


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\0\0"])
def test_junk_that_looks_like_mpeg_is_refused_before_it_is_decoded(tag, capfd):
    for content in (tag + JUNK * 32_000, tag + wav(JUNK * 1000, tag=0x55)):
        with pytest.raises(AudioError, match=r"no frames of MPEG audio begin within .* is damaged, or has a free bit"):
            read_bytes(content)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("where", ["before", "between", "behind", "behind too few", "in a wav"])
def test_junk_beside_the_frames_of_an_mp3_is_not_decoded(mp3, where, capfd):
    junk, whole = JUNK * 2000, read_bytes(mp3)
    third = mp3.find(mp3[:2], len(mp3) // 3)  # a frame's beginning
    frames = int.from_bytes(mp3[mp3_count_position(mp3) :][:4], "big")
    content = {
        "before": junk + mp3,
        "between": mp3[:third] + junk + mp3[third:],
        "behind": mp3 + junk,
        "behind too few": mp3_with_count(mp3, frames + 99) + junk,
        "in a wav": wav(junk + mp3, tag=0x55),
    }[where]
    recording = read_bytes(content)
    assert np.array_equal(recording.samples[: 3 * SAMPLES], whole.samples)
    # mpg123 compares the stated bytes with the file's, once.
    assert len(capfd.readouterr().err) < 200


def test_an_mp3_with_junk_in_many_places_is_refused(mp3, capfd):
    for content, rule in (
        ((mp3 + JUNK) * 257, "1024 bytes in 256 places"),
        ((mp3 + JUNK * 10_000) * 8, "280000 bytes in 7 places"),
    ):
        with pytest.raises(AudioError, match=f"{rule} .*: at most 262144 and 255 are passed over; it is damaged"):
            read_bytes(content)
    assert capfd.readouterr().err == ""
