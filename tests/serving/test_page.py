"""The page at /, as a browser shows it: what is heard, drawn and told, against the engine and the file itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile

from browser import PHONE, WIDTHS, assert_fits_a_phone, assert_no_overflow, contrast
from golden.tiny_speakers import ENGINE, write_speaking
from hifigan_rt import load
from page_actions import RATE, REFUSED, array, expect, hold_still, upload, write_speechlike
from running_server import running, wait_for

pytestmark = pytest.mark.browser


def test_a_file_is_resynthesised_to_the_engines_very_samples(page, clip, vocoder):
    path, samples = clip
    upload(page, path)
    np.testing.assert_array_equal(array(page, "recording.samples"), samples)
    np.testing.assert_array_equal(array(page, "resynthesis.samples"), vocoder(vocoder.mel(samples)))
    expect(page.locator("#source-facts")).to_have_text("clip of mine.wav · 1.00 s · 8,000 Hz mono")
    for figure in ("whole-first", "whole-server"):
        assert re.fullmatch(r"\d+ ms|\d+\.\d\d s", page.locator(f"[data-figure={figure}]").inner_text())
    for figure in ("whole-speed", "whole-computing"):
        assert re.fullmatch(r"\d+\.\d × real time", page.locator(f"[data-figure={figure}]").inner_text())
    assert page.locator("[data-figure=streamed-first]").inner_text() == "–"


def test_the_server_gets_the_samples_that_are_heard_whatever_the_file_was(page, tmp_path, vocoder):
    write_speechlike(tmp_path / "stereo.flac", 0.5, 44100, 2)
    upload(page, tmp_path / "stereo.flac")
    heard = array(page, "recording.samples")
    assert abs(len(heard) - RATE // 2) <= 1
    np.testing.assert_array_equal(array(page, "resynthesis.samples"), vocoder(vocoder.mel(heard)))


def test_a_file_can_be_dropped_anywhere(page, clip):
    content = list(clip[0].read_bytes())
    page.evaluate(
        """content => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(content)], 'dropped.wav'));
          const where = document.querySelector('footer') ?? document.body;
          for (const type of ['dragover', 'drop']) {
            where.dispatchEvent(new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
          }
        }""",
        content,
    )
    expect(page.locator("#source-facts")).to_contain_text("dropped.wav")
    expect(page.locator("#status")).to_contain_text("Done")


def test_another_model_computes_anew(page, clip, other_file):
    path, samples = clip
    upload(page, path)
    first = array(page, "resynthesis.samples")
    page.get_by_role("combobox", name="Model").select_option("other")
    expect(page.locator("#model-facts")).to_have_text("Engine native, float32, 8,000 Hz")
    wait_for(lambda: page.evaluate("resynthesis?.model") == "other")
    with load(other_file) as vocoder:
        np.testing.assert_array_equal(array(page, "resynthesis.samples"), vocoder(vocoder.mel(samples)))
    assert not np.array_equal(array(page, "resynthesis.samples"), first)


def test_playing_pausing_seeking_and_switching(page, tmp_path):
    write_speechlike(tmp_path / "long.wav", 8.0)
    upload(page, tmp_path / "long.wav")
    play = page.get_by_role("button", name="Play", exact=True)
    play.click()
    expect(page.locator("#play")).to_have_text("Pause")
    hold_still(page)
    assert page.evaluate("sound.audible") == 1
    expect(page.get_by_role("radio", name="Resynthesis")).to_be_checked()
    page.keyboard.press("x")
    expect(page.get_by_role("radio", name="Original")).to_be_checked()
    expect(page.locator("#spoken")).to_have_text("Original")
    assert page.evaluate("sound.playing && sound.player.active") == "0"
    expect(page.locator("figure.audible figcaption")).to_contain_text("Original")
    page.get_by_role("radio", name="Resynthesis").check()
    assert page.evaluate("sound.player.active") == "1"
    before = page.evaluate("sound.position")
    hold_still(page)
    assert before < page.evaluate("sound.position") < before + 2
    page.get_by_role("slider", name="Position").fill("5")
    hold_still(page)
    assert 5 <= page.evaluate("sound.position") < 7
    page.locator("figure .spectrum").first.click(position={"x": 2, "y": 20})
    assert page.evaluate("sound.position") < 1
    page.locator("#play").click()
    place = page.evaluate("sound.position")
    hold_still(page)
    assert page.evaluate("sound.position") == place
    page.get_by_label("switches").uncheck()
    page.keyboard.press("x")
    expect(page.get_by_role("radio", name="Resynthesis")).to_be_checked()


def test_streaming_plays_while_it_is_computed_and_hands_over(page, tmp_path, vocoder):
    samples = write_speechlike(tmp_path / "stream.wav", 8.0)
    upload(page, tmp_path / "stream.wav")
    page.get_by_role("button", name="Stream").click()
    expect(page.locator("[data-figure=streamed-buffered]")).to_contain_text("no gaps")
    assert page.evaluate("sound.playing && sound.audible") == 1
    page.keyboard.press("x")
    assert page.evaluate("sound.playing && sound.audible") == 0
    streamed = array(page, "resynthesis.samples")
    np.testing.assert_array_equal(streamed, vocoder(vocoder.mel(samples), segment_frames=32))
    assert re.fullmatch(r"\d+ ms|\d+\.\d\d s", page.locator("[data-figure=streamed-first]").inner_text())
    assert page.locator("[data-figure=whole-first]").inner_text() != "–"


def test_a_stream_is_heard_before_it_is_computed(open_page, slow, tmp_path):
    engine, sources = slow
    write_speechlike(tmp_path / "slow.wav", 8.0)
    with running(sources) as served:
        page = open_page(served.url)
        upload(page, tmp_path / "slow.wav")
        with engine.held(after_blocks=240):  # of 250, each of 32 frames
            page.get_by_role("button", name="Stream").click()
            expect(page.locator("#buffered")).to_contain_text("s buffered")
            hold_still(page)
            heard, there = page.evaluate("[streaming?.position, streaming?.placed / 8000]")
            assert 0 <= heard <= there < 8
            expect(page.get_by_role("radio", name="Original")).to_be_disabled()
            assert page.evaluate("resynthesis") is None
            page.locator("#play").click()  # stops what is heard, not what is computed
        expect(page.locator("#status")).to_contain_text("Done")
        assert not page.evaluate("sound.playing")


# A clock that is rendered instead of heard; SwitchPlayer resumes its own, which an offline one does not allow.
OFFLINE = """
const signal = (seed, length) => Float32Array.from({ length }, (_, i) => Math.sin(i * i * seed) / 2);
const offline = (length, rate) => {
  const context = new OfflineAudioContext(1, length, rate);
  const resume = context.resume.bind(context);
  context.resume = () => context.held && resume();
  return context;
};
"""


def test_pieces_of_any_length_join_without_a_gap_and_hand_over_at_a_sample(page):
    whole, rendered, first, at = page.evaluate(
        f"""async () => {{ {OFFLINE}
          const rate = 22050, whole = signal(0.0137, rate), context = offline(2 * rate, rate);
          const player = new StreamPlayer(context);
          for (let from = 0, n = 1; from < rate; from += n, n = n * 3 % 4099 + 1) {{
            player.push(whole.subarray(from, from + n));
          }}
          player.end();
          const {{ at, place }} = player.meeting();
          const next = new SwitchPlayer(context, {{ 0: bufferOf(whole, rate), 1: bufferOf(signal(0.5, rate), rate) }});
          next.play('0', place, at);
          player.stop(at);
          const rendered = (await context.startRendering()).getChannelData(0);
          return [Array.from(whole), Array.from(rendered), player.first, Math.round(at * rate)];
        }}"""
    )
    whole, rendered = np.array(whole, np.float32), np.array(rendered, np.float32)
    assert first < at < first + len(whole)
    np.testing.assert_array_equal(rendered[first : first + len(whole)], whole)
    assert not rendered[:first].any()
    assert not rendered[first + len(whole) :].any()


def test_switching_goes_on_at_the_very_sample(page):
    one, other, rendered = page.evaluate(
        f"""async () => {{ {OFFLINE}
          const rate = 22050, one = signal(0.0137, rate), other = signal(0.0411, rate), context = offline(rate, rate);
          const player = new SwitchPlayer(context, {{ 0: bufferOf(one, rate), 1: bufferOf(other, rate) }});
          player.play('0', 0, 0);
          context.suspend(0.5).then(() => {{
            player.select('1');
            context.held = true;
            context.resume();
          }});
          return [one, other, (await context.startRendering()).getChannelData(0)].map(part => Array.from(part));
        }}"""
    )
    one, other, rendered = (np.array(part, np.float32) for part in (one, other, rendered))
    switched = np.flatnonzero(rendered != one)[0]
    assert 0.49 < switched / 22050 < 0.51
    fade = int(0.009 * 22050)
    np.testing.assert_array_equal(rendered[switched + fade :], other[switched + fade :])


def test_a_late_piece_is_counted_and_played(page):
    gaps, placed = page.evaluate(
        """async () => {
          const context = new AudioContext({ sampleRate: 8000 }), player = new StreamPlayer(context, { lead: 0.05 });
          const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
          player.push(new Float32Array(800));
          await wait(500);
          player.push(new Float32Array(800));
          player.push(new Float32Array(800));
          player.end();
          await context.close();
          return [player.gaps, player.placed];
        }"""
    )
    assert (gaps, placed) == (1, 2400)


def test_the_microphone_is_recorded(open_page, server):
    page = open_page(server.url, permissions=["microphone"])
    expect(page.locator("#model")).to_be_enabled()
    record = page.get_by_role("button", name="Record")
    record.click()
    expect(page.locator("#record-time")).to_have_text(re.compile(r"(?!0\.[0-2])\d+\.\d s"))
    page.wait_for_timeout(900)
    page.get_by_role("button", name="Stop recording").click()
    expect(page.locator("#source-facts")).to_contain_text("Your recording")
    expect(page.locator("#status")).to_contain_text("Done")
    samples = array(page, "recording.samples")
    assert len(samples) > 0.4 * RATE
    assert np.abs(samples).max() > 0.01  # Chromium's pretended microphone beeps
    expect(page.locator("#source-facts")).not_to_contain_text("almost silent")
    assert page.evaluate("microphone.stream.getTracks().every(track => track.readyState === 'ended')")


def test_a_refused_microphone(page):
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("alert").filter(has_text="microphone was refused")).to_be_visible()
    expect(page.get_by_role("button", name="Record")).to_be_enabled()


def test_a_page_that_may_not_record(page):
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#failure")).to_contain_text("over https")


def test_the_download_is_the_resynthesis_in_16_bits(page, clip, vocoder):
    path, samples = clip
    upload(page, path)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "clip-of-mine-tiny.wav"
    written, rate = soundfile.read(download.value.path(), dtype="int16")
    expected = np.clip(np.rint(vocoder(vocoder.mel(samples)).astype(np.float64) * 32768), -32768, 32767)
    assert rate == RATE
    # A half is rounded up by JavaScript, and to even by NumPy.
    np.testing.assert_allclose(written, expected, atol=1)
    assert np.count_nonzero(written != expected) < len(written) / 1000


def test_pictures_show_a_tone_where_it_is_and_no_difference_to_itself(page):
    tone_row, silent_difference = page.evaluate(
        """() => {
          const rate = 22050, step = 2 * Math.PI * 3000 / rate;
          const tone = Float32Array.from({ length: rate }, (_, i) => Math.sin(step * i) / 2);
          byId('listen').hidden = false;
          pictures.showOriginal(tone, rate, rate);
          pictures.showResynthesis(tone);
          const canvas = track => document.querySelector(`[data-track="${track}"] .spectrum canvas`);
          const column = canvas('0').getContext('2d').getImageData(100, 0, 1, canvas('0').height).data;
          let best = 0;
          for (let row = 0; row < canvas('0').height; row++) {
            const light = row => column[4 * row] + column[4 * row + 1] + column[4 * row + 2];
            if (light(row) > light(best)) best = row;
          }
          const change = canvas('difference'), whole = [0, 0, change.width, change.height];
          const all = change.getContext('2d').getImageData(...whole).data;
          return [(best + 0.5) / canvas('0').height, all.every((value, i) => value === all[i % 4])];
        }"""
    )
    mel = 2595 * np.log10(1 + np.array([3000, 11025]) / 700)
    assert abs(1 - tone_row - mel[0] / mel[1]) < 0.01
    assert silent_difference
    expect(page.locator("#difference-facts")).to_contain_text("0.0 dB")


def test_what_screen_readers_and_keyboards_find(page, clip):
    upload(page, clip[0])
    assert page.locator("html").get_attribute("lang") == "en"
    for role, names in {
        "button": ("Record", "Play", "Stream", "Download"),
        "heading": ("Hear a model", "Recording", "Model", "Listen", "Speed"),
        "radio": ("Original", "Resynthesis"),
        "group": ("What is heard",),
        "combobox": ("Model",),
        "slider": ("Position",),
        "region": ("Recording", "Model", "Listen"),
        "rowheader": ("First audio, in this page",),
        "columnheader": ("Computed whole", "Streamed"),
    }.items():
        for name in names:
            assert page.get_by_role(role, name=name, exact=True).count() == 1, (role, name)
    pictures = [page.locator("[role=img]").nth(i).get_attribute("aria-label") for i in range(5)]
    assert [label.split(",")[0].split(":")[0] for label in pictures] == [
        "Waveform of the original", "Spectrogram of the original", "Waveform of the resynthesis",
        "Spectrogram of the resynthesis", "Resynthesis minus original",
    ]  # fmt: skip
    assert page.locator("[role=status]").count() == 3
    assert page.locator("[role=alert]").count() == 3
    page.evaluate("document.activeElement.blur()")
    order = []
    for _ in range(11):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className || 'radio'"))
        outline = page.evaluate(
            """() => {
              const active = document.activeElement, stands = active.matches('.chooser input, .switch input');
              return getComputedStyle(stands ? active.nextElementSibling : active).outlineStyle;
            }"""
        )
        assert outline in ("solid", "auto"), order[-1]
    assert order[:2] == ["skip", "file"]
    assert order[2:] == [
        "record", "model", "play", "radio", "key-x", "stream", "download", "position", "scroll",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_and_all_text_can_be_read(open_page, server, clip, scheme):
    for width in WIDTHS:
        page = open_page(server.url, viewport={"width": width, "height": 740}, color_scheme=scheme)
        assert_no_overflow(page)
        upload(page, clip[0])
        page.evaluate("fail(new Refusal('internal', 'x'.repeat(300), { requestId: 'y'.repeat(100) }))")
        page.evaluate("byId('token-form').hidden = false")
        assert_no_overflow(page)
        for text in ("--text", "--quiet", "--accent"):
            for back in ("--page", "--raised"):
                assert contrast(page, text, back) >= 4.5
        assert contrast(page, "--accent", "--on-accent") >= 4.5
        assert contrast(page, "--bad", "--bad-back") >= 4.5
        assert contrast(page, "--edge", "--raised") >= 3


def test_a_phone_is_told_of_no_keys(open_page, server, clip):
    page = open_page(server.url, **PHONE)
    assert_fits_a_phone(page)
    upload(page, clip[0])
    assert_fits_a_phone(page)
    assert not page.is_visible("#key-x")


def test_nothing_moves_for_those_who_ask_for_that(open_page, server):
    for motion, moving in (("reduce", False), ("no-preference", True)):
        page = open_page(server.url, reduced_motion=motion)
        duration = page.evaluate("getComputedStyle(byId('record')).transitionDuration")
        assert (duration not in ("0s", "")) == moving


def test_a_model_of_several_speakers_offers_them(open_page, clip, tmp_path):
    path, samples = clip
    voice = load(write_speaking(tmp_path / "voice"), engine=ENGINE)
    with running({"voice": lambda: load(voice.model, engine=ENGINE)}) as served:
        page = open_page(served.url)
        expect(page.locator("#model")).to_be_enabled()
        upload(page, path)
        assert page.locator("#speaker option").all_inner_texts() == ["anna", "Number 1", "bob", "225"]
        mel = voice.mel(samples)
        np.testing.assert_array_equal(array(page, "resynthesis.samples"), voice(mel, speaker="anna"))
        for label, speaker in (("bob", "bob"), ("Number 1", 1)):
            page.locator("#speaker").select_option(label=label)
            wanted = voice(mel, speaker=speaker)
            wait_for(lambda wanted=wanted: np.array_equal(array(page, "resynthesis?.samples ?? []"), wanted))


def test_a_model_that_is_not_loaded_yet_tells_its_speakers_when_it_is(open_page, clip, tmp_path):
    file = write_speaking(tmp_path / "voice")
    with running({"voice": lambda: load(file, engine=ENGINE)}, preload=[]) as served:
        page = open_page(served.url, expected=REFUSED)
        expect(page.locator("#model")).to_be_enabled()
        expect(page.locator("#speaker")).to_be_hidden()
        upload(page, clip[0])
        expect(page.locator("#speaker")).to_have_value("anna")
        assert page.evaluate("resynthesis.samples.length") == RATE
