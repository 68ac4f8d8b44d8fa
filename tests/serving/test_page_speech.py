"""The page's text field: shown with voices, heard while it is computed, and what refusals become."""

from __future__ import annotations

import re

import pytest

import hifigan_rt
from browser import WIDTHS, assert_no_overflow
from golden.tiny import tiny_mel
from page_actions import REFUSED, TOKEN, expect, upload, write_speechlike
from running_server import npy, running, wait_for
from voice_files import TEXT

pytestmark = pytest.mark.browser


def speak(page, text=TEXT):
    page.get_by_role("textbox", name="Text to speak").fill(text)
    page.get_by_role("button", name="Speak", exact=True).click()


def test_a_text_is_heard_and_timed(open_page, voice_server, still_voice):
    page = open_page(voice_server.url)
    expect(page.locator("#model option")).to_have_text(["tiny", "other"])
    page.evaluate(
        "() => { const push = StreamPlayer.prototype.push; window.heard = []; "
        "StreamPlayer.prototype.push = function (piece) { heard.push(...piece); push.call(this, piece); } }"
    )
    page.get_by_role("combobox", name="Speaker").select_option("cy")
    page.get_by_role("spinbutton", name="Speed").fill("2")
    speak(page)
    told = page.locator("#speech-status")
    expect(told).to_have_text(re.compile(r"First audio after (\d+ ms|\d+\.\d\d s), \d+\.\d\d s of it in .*"))
    with hifigan_rt.load_voice(still_voice) as voice:
        expected = voice(TEXT, segment_frames=32, length_scale=0.75, speaker="cy")
    assert page.evaluate("heard") == expected.tolist()
    expect(page.locator("#speech-stop")).to_be_hidden()


def test_letters_of_a_text_are_no_keys(open_page, voice_server, tmp_path):
    page = open_page(voice_server.url)
    write_speechlike(tmp_path / "a.wav")
    upload(page, tmp_path / "a.wav")
    page.get_by_role("textbox", name="Text to speak").press("x")
    assert page.evaluate("sound.audible") == 1


def test_stopping_ends_the_servers_work(open_page, voice_server, still_voice):
    def of_voice(name: str, **labels: str) -> float:
        return voice_server.metric(name, model="ann", **labels)

    def ended() -> float:
        return of_voice("hifigan_requests_total", route="/v1/audio/speech", status="200")

    page, before, computed = open_page(voice_server.url), ended(), of_voice("hifigan_audio_seconds_total")
    page.get_by_role("spinbutton", name="Speed").fill("0.25")
    speak(page, TEXT * 400)
    expect(page.locator("#speech-status")).to_contain_text("First audio")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#speech-status")).to_have_text("")
    wait_for(lambda: ended() == before + 1)
    with hifigan_rt.load_voice(still_voice) as voice:
        whole = 400 * len(voice(TEXT, length_scale=6)) / voice.sample_rate
    assert of_voice("hifigan_audio_seconds_total") - computed < whole / 2


def test_without_voices_there_is_no_field(page):
    expect(page.locator("#speech")).to_be_hidden()
    expect(page.locator("#source")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_voices_alone(open_page, still_voice, scheme):
    with running({"ann": lambda: hifigan_rt.load_voice(still_voice)}) as served:
        page = open_page(served.url, color_scheme=scheme)
        expect(page.locator("#speech")).to_be_visible()
        expect(page.locator("#source")).to_be_hidden()
        expect(page.locator("#lead")).to_contain_text("Give it a text")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert_no_overflow(page)
        speak(page)
        expect(page.locator("#speech-status")).to_contain_text("First audio after")


def test_refusals_in_words(open_page, still_voice, slow):
    engine, models = slow
    with (
        running({**models, "ann": lambda: hifigan_rt.load_voice(still_voice)}, max_queued_requests=1) as served,
        engine.held(),
    ):
        page = open_page(served.url, expected=REFUSED)
        speak(page, "a" * 60_000)
        expect(page.locator("#speech-failure")).to_contain_text("This text is too large for the server.")
        thread, _ = served.begin("/v1/synthesize", npy(tiny_mel(20)))
        wait_for(lambda: served.metric("hifigan_queued_requests") == 1)
        speak(page)
        expect(page.locator("#speech-failure")).to_have_text(re.compile(r"The server is busy\. .*Try again in \d+ s.*"))
        engine.release()
        thread.join()


def test_a_token_is_asked_for(open_page, still_voice):
    with running({"ann": lambda: hifigan_rt.load_voice(still_voice)}, bearer_tokens=(TOKEN,)) as served:
        page = open_page(served.url, expected=REFUSED)
        page.locator("#token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        speak(page)
        expect(page.locator("#speech-status")).to_contain_text("First audio after")
        page.evaluate("service.token = 'wrong'")
        speak(page)
        expect(page.locator("#token-error")).to_have_text("This token was refused.")
