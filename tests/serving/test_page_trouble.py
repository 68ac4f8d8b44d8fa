"""The page in trouble: files that are none, servers that refuse, break off or want a token, work that is cancelled."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile

from hifigan_rt.errors import EngineError
from page_actions import RATE, REFUSED, TOKEN, array, expect, upload, write_speechlike
from running_server import running, wait_for

pytestmark = pytest.mark.browser


def test_a_file_that_is_no_audio(page, tmp_path):
    for name, content, text in (("notes.txt", b"no sound " * 99, "can decode"), ("empty.wav", b"", "is empty")):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        expect(page.locator("#failure")).to_contain_text(text)
        expect(page.locator("#listen")).to_be_hidden()


def test_a_recording_that_the_server_does_not_take(open_page, server, tmp_path):
    page = open_page(server.url, expected=REFUSED)
    soundfile.write(tmp_path / "blip.wav", np.zeros(4), RATE)
    page.set_input_files("#file", tmp_path / "blip.wav")
    expect(page.locator("#failure")).to_contain_text(re.compile(r"4 samples.*\(request \w+\)"))
    expect(page.locator("#source-facts")).to_contain_text("almost silent")
    expect(page.locator("#retry")).to_be_hidden()


def test_a_recording_that_is_too_large(open_page, sources, tmp_path):
    write_speechlike(tmp_path / "large.wav", 200)
    with running(sources, max_body_bytes=1 << 20) as served:
        page = open_page(served.url, expected=REFUSED)
        page.set_input_files("#file", tmp_path / "large.wav")
        expect(page.locator("#failure")).to_contain_text("too large")
        expect(page.locator("#retry")).to_be_hidden()
        expect(page.locator("#play")).to_be_enabled()  # the original


def test_a_busy_server_says_when_to_try_again(open_page, sources, clip):
    with running(sources, max_concurrent_requests=1) as served:
        page = open_page(served.url, expected=REFUSED)
        expect(page.locator("#model")).to_be_enabled()
        with served.connect() as other:
            other.sendall(b"POST /v1/synthesize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
            wait_for(lambda: served.context.active == 1)
            page.set_input_files("#file", clip[0])
            expect(page.locator("#failure")).to_contain_text("The server is busy. 1 requests are being answered")
            assert page.get_by_role("alert").filter(has_text="busy").count() == 1
        again = page.get_by_role("button", name="Try again", exact=True)
        again.click()
        expect(page.locator("#status")).to_contain_text("Done")
        expect(page.locator("#failure")).to_be_hidden()


def test_retry_after_is_counted_down(page, clip):
    upload(page, clip[0])
    page.evaluate("fail(new Refusal('queue_full', 'it is full', { retryAfter: 2 }))")
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_disabled()
    expect(again).to_have_text("Try again in 2 s")
    expect(again).to_have_text("Try again in 1 s")
    expect(again).to_be_enabled()
    expect(page.locator("#failure")).to_have_text("The server is busy. It is full")


def test_a_server_that_is_gone(open_page, sources, clip):
    with running(sources) as served:
        page = open_page(served.url, expected=REFUSED)
        upload(page, clip[0])
    page.get_by_role("button", name="Stream").click()
    expect(page.locator("#failure")).to_contain_text("cannot be reached")
    expect(page.get_by_role("button", name="Try again")).to_be_enabled()
    page.get_by_role("radio", name="Original").check()
    page.locator("#play").click()  # what is there can still be heard
    expect(page.locator("#play")).to_have_text("Pause")


def test_a_server_that_goes_while_it_answers(open_page, slow, tmp_path):
    engine, sources = slow
    write_speechlike(tmp_path / "slow.wav", 4.0)
    with running(sources, grace_seconds=0.0) as served:
        page = open_page(served.url, expected=REFUSED)
        upload(page, tmp_path / "slow.wav")
        engine.seconds_per_block = 0.2
        page.get_by_role("button", name="Stream").click()
        expect(page.locator("#buffered")).to_be_visible()
    expect(page.locator("#failure")).to_contain_text("the connection ended after")
    assert not page.evaluate("Boolean(streaming) || sound.playing")


def test_an_engine_that_fails(open_page, slow, clip):
    engine, sources = slow
    with running(sources) as served:
        page = open_page(served.url, expected=REFUSED)
        expect(page.locator("#model")).to_be_enabled()
        engine.failure = EngineError("out of order")
        page.set_input_files("#file", clip[0])
        expect(page.locator("#failure")).to_contain_text("The engine failed")
        engine.failure = None
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#status")).to_contain_text("Done")


def test_cancelling_ends_the_servers_work(open_page, slow, tmp_path):
    engine, sources = slow
    write_speechlike(tmp_path / "slow.wav", 20.0)
    with running(sources) as served:
        page = open_page(served.url)
        expect(page.locator("#model")).to_be_enabled()
        warm_up = engine.frames
        with engine.held():
            page.set_input_files("#file", tmp_path / "slow.wav")
            expect(page.get_by_role("progressbar", name="Resynthesis")).to_be_visible()
            wait_for(lambda: served.metric("hifigan_queued_requests") == 1)
            page.get_by_role("button", name="Cancel").click()
            expect(page.locator("#status")).to_have_text("Cancelled.")
            expect(page.locator("#play")).to_be_focused()
            wait_for(lambda: served.context.active == 0)
        wait_for(lambda: served.metric("hifigan_queued_requests") == 0)
        assert engine.frames <= warm_up + 256
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#status")).to_contain_text("Done")


def test_a_token_is_asked_for(open_page, sources, clip):
    with running(sources, bearer_tokens=(TOKEN,)) as served:
        page = open_page(served.url, expected=REFUSED)
        token = page.get_by_label("Token", exact=True)
        expect(token).to_be_focused()
        token.press_sequentially("x-wrong")
        token.press("Enter")
        expect(page.locator("#token-error")).to_have_text("This token was refused.")
        token.fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        expect(token).to_be_hidden()
        upload(page, clip[0])
        kept = page.evaluate("[{ ...localStorage }, { ...sessionStorage }, document.cookie]")
        assert kept == [{}, {}, ""]


def test_a_recording_waits_for_the_token(open_page, sources, clip):
    with running(sources, bearer_tokens=(TOKEN,)) as served:
        page = open_page(served.url, expected=REFUSED)
        page.set_input_files("#file", clip[0])
        expect(page.locator("#source-facts")).to_contain_text("clip of mine.wav")
        page.get_by_label("Token", exact=True).fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("Done")


def test_a_model_that_was_not_loaded_yet_tells_its_rate_with_the_answer(open_page, sources, clip):
    with running(sources, preload=()) as served:
        page = open_page(served.url)
        expect(page.locator("#model-facts")).to_have_text("Loaded when it is first used")
        upload(page, clip[0])
        expect(page.locator("#source-facts")).to_contain_text("8,000 Hz")
        expect(page.locator("#model-facts")).to_have_text("Engine native, float32, 8,000 Hz")
        np.testing.assert_array_equal(array(page, "recording.samples"), clip[1])
        page.get_by_role("button", name="Stream").click()
        expect(page.locator("[data-figure=streamed-buffered]")).to_contain_text("no gaps")
