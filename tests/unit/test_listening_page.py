"""The page of a listening test in a browser, taken by keyboard from the first screen to the score."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from browser import PHONE, WIDTHS, assert_fits_a_phone, assert_no_overflow, contrast, until
from hifigan_rt.tools.listening.collecting import Collector
from hifigan_rt.tools.listening.making import Request, make
from hifigan_rt.tools.listening.material import from_folders
from hifigan_rt.tools.listening.reading import read_all
from hifigan_rt.tools.listening.schedule import schedule, seed_of
from hifigan_rt.tools.listening.scoring import score
from listening_tests import write_folders

pytestmark = pytest.mark.browser


@pytest.fixture
def place(tmp_path):
    write_folders(tmp_path, seconds=0.5)
    return tmp_path


def made(place, mode, **changes):
    folders = {"glowing": place / "glowing"}
    result = make(from_folders(folders, place / "ref", None, 0), Request(mode, "A test", 3, **changes))
    (place / "test.html").write_bytes(result.page)
    return result.key


def heading(page):
    return page.inner_text("h1")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def leave(page, title):
    """Enter, and wait for the next screen."""
    press(page, "Enter")
    until(page, f"document.querySelector('h1').innerText !== {json.dumps(title)}")


def refuse(page, text):
    """Enter does not go on."""
    title = heading(page)
    press(page, "Enter")
    until(page, f"document.getElementById('alert').innerText.includes({json.dumps(text)})")
    assert heading(page) == title


def come_back(page):
    """Load the page again, until its progress is there: a browser under load may hand it to its next process later."""
    kept = "[Object.entries(localStorage), document.getElementById('status').textContent]"
    before = page.evaluate(kept)
    for _ in range(40):
        page.reload()
        if heading(page) == "Welcome back":
            return
        time.sleep(0.25)
    raise AssertionError(f"the progress is lost, {heading(page)!r}: kept are {page.evaluate(kept)}, not {before}")


def begin(page):
    refuse(page, "Choose what you listen with")
    press(page, "h")
    leave(page, "Listening test")
    refuse(page, "Play the recording first")
    press(page, "p")
    until(page, "view.unheard.length === 0")
    leave(page, "Set the volume")


def heard(page, key, name):
    press(page, key)
    until(page, f"!view.unheard.includes({json.dumps(name)})")


def take_mos(page, number):
    if number == 0:
        press(page, "4")
        refuse(page, "Listen to the recording to its end first")
    press(page, "Space")
    until(page, "view.whole")
    press(page, str(1 + number % 5))


def take_mushra(page, number):
    names = page.evaluate("[view.reference, ...view.order]")
    if number == 0:
        refuse(page, "Listen first to Reference, A, B, C, D")
    for key, name in zip("rabcd", names, strict=True):
        heard(page, key, name)
    if number == 0:
        refuse(page, "Rate A, B, C, D")
    for index, key in enumerate("abcd"):
        press(page, key, "Home", *["PageUp"] * 2 * index, "ArrowRight")


def take_abx(page, number):
    for key in "abx":
        heard(page, key, key.upper())
    if number == 0:
        refuse(page, "Choose which one X is")
    press(page, "Space", "1" if number % 2 else "2")


TAKES = {"mos": take_mos, "mushra": take_mushra, "abx": take_abx}


def take(page, mode, on_trial=lambda page, number: page):
    """From the first screen to the last; `on_trial` may do something once a trial is answered."""
    begin(page)
    number = 0
    while (title := heading(page)) != "Thank you":
        if title.startswith(("Practice", "Trial")):
            TAKES[mode](page, number)
            number += 1
            on_trial(page, number)
        leave(page, title)
    return number


@pytest.mark.parametrize("mode", ["mos", "mushra", "abx"])
def test_a_whole_test_by_keyboard(place, open_page, mode):
    key = made(place, mode, **({"repeats": 2} if mode == "abx" else {}))
    page = open_page(f"file://{place}/test.html#listener=L07", accept_downloads=True)

    def reload_once(page, number):
        # In the middle of a trial whose answer is given and not yet sent.
        if number == (5 if mode == "mos" else 2):
            before = page.evaluate("[state.index, state.answers.length, view.answer()]")
            come_back(page)
            leave(page, "Welcome back")
            assert page.evaluate("[state.index, state.answers.length, view.answer()]") == before

    take(page, mode, reload_once)
    with page.expect_download() as download:
        page.focus("#download")
        press(page, "Enter")
    (place / "answers").mkdir()
    file = place / "answers" / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == f"{key.definition.test_id}-L07.json"

    read = read_all([file], key.definition)
    assert read.rejected == read.notes == []
    answers = read.submissions[0].answers
    # The page's order is Python's, to the last X: otherwise the file had been rejected.
    assert [answer.trial for answer in answers] == list(schedule(key.definition, "L07"))
    if mode == "mushra":
        for answer in answers:
            assert [answer.ratings[name] for name in answer.trial.order] == [1, 21, 41, 61]
    result = score(read.submissions, [], key, keep_screened=True)
    assert result.listeners == 1


def test_answers_go_to_the_server_and_the_next_listener_can_begin(place, open_page):
    key = made(place, "mos", rows_per_listener=1)
    with Collector(place / "test.html", place / "answers") as collector:
        thread = threading.Thread(target=collector.serve)
        thread.start()
        try:
            page = open_page(collector.url)
            take(page, "mos")
            until(page, "document.getElementById('sent').innerText.includes('have been sent')")
            page.click("text=Another listener")
            assert heading(page) == "Listening test"
        finally:
            collector.stop()
            thread.join()
    read = read_all([place / "answers"], key.definition)
    assert read.rejected == read.notes == []
    assert read.submissions[0].listener.startswith("L")


def test_each_listener_has_a_progress_of_their_own(place, open_page):
    made(place, "mos")
    url = f"file://{place}/test.html"
    page = open_page(f"{url}#listener=L07")
    begin(page)
    assert page.evaluate("state.listener") == "L07"
    page.goto("about:blank")
    page.goto(f"{url}#listener=L08")
    assert heading(page) == "Listening test"
    assert page.input_value("#listener") == "L08"
    begin(page)
    # The same page, another address: as when a link is clicked.
    with page.expect_event("load"):
        page.evaluate("void (location.hash = 'listener=L07')")
    come_back(page)  # at the blank page the browser may have begun another process
    assert "L07" in page.inner_text("#screen")
    page.click("text=Another listener")
    assert heading(page) == "Listening test"
    assert page.input_value("#listener") == ""
    # Who types a code goes on with it.
    page.fill("#listener", "L08")
    press(page, "Tab", "h")
    page.click("text=Begin")
    until(page, "document.querySelector('h1').innerText === 'Welcome back'")
    assert page.evaluate("state.listener") == "L08"


def test_a_tab_that_was_left_behind_writes_over_nothing(place, open_page):
    made(place, "mos")
    page = open_page(f"file://{place}/test.html#listener=L07")
    begin(page)
    other = page.context.new_page()
    other.goto(page.url)
    come_back(other)
    leave(other, "Welcome back")
    with page.expect_navigation():
        other.evaluate("keep({ index: 1 })")
    come_back(page)
    assert page.evaluate("state.index") == other.evaluate("state.index") == 1


def test_the_beginning_twice_is_not_the_whole(place, open_page):
    write_folders(place, seconds=2.5)  # so that a slow machine stops it before it ends
    made(place, "mos")
    page = open_page(f"file://{place}/test.html#listener=L07")
    begin(page)
    for _ in range(2):
        press(page, "Space")
        until(page, "view.player.position > 0.55 * view.player.duration")
        press(page, "Space")
    assert page.evaluate("view.heard(view.player.active) > view.player.duration")
    press(page, "4")
    refuse(page, "Listen to the recording to its end first")
    press(page, "Space")
    until(page, "view.whole")


def test_a_server_that_is_gone_loses_nothing(place, open_page):
    key = made(place, "mos", rows_per_listener=1)
    collector = Collector(place / "test.html", place / "answers")
    thread = threading.Thread(target=collector.serve)
    thread.start()
    page = open_page(collector.url, expected=("ERR_CONNECTION_REFUSED",))
    collector.stop()
    thread.join()
    collector.close()
    take(page, "mos")
    until(page, "document.getElementById('sent').innerText.includes('could not be sent')")
    page.click("text=Another listener")
    until(page, "document.getElementById('alert').innerText.includes('download it first')")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(place / "result.json")
    assert read_all([place / "result.json"], key.definition).rejected == []


def test_switching_is_at_the_sample(place, open_page):
    made(place, "abx")
    page = open_page(f"file://{place}/test.html")
    # Two ramps that count samples, up and down: what is heard after a switch tells from which place.
    output = page.evaluate("""async () => {
      const rate = 48000, length = 24000;
      const context = new OfflineAudioContext(1, 14400, rate);
      context.resume_ = context.resume.bind(context);
      context.resume = () => {};
      const buffers = {};
      for (const [name, sign] of [["A", 1], ["B", -1]]) {
        buffers[name] = context.createBuffer(1, length, rate);
        buffers[name].getChannelData(0).set(Float32Array.from({length}, (_, index) => sign * (index + 1) / length));
      }
      const player = new SwitchPlayer(context, buffers);
      player.play("A", 0, 0);
      context.suspend(4800 / rate).then(() => { player.select("B"); context.resume_(); });
      context.suspend(9600 / rate).then(() => { player.select("A"); context.resume_(); });
      return Array.from((await context.startRendering()).getChannelData(0));
    }""")
    output = np.array(output)
    # The audio clock halts at blocks of 128 samples, and a switch fades for 8 ms, 384 samples.
    ramp = (np.arange(14400) + 1) / 24000
    assert np.allclose(output[:4800], ramp[:4800], atol=1e-6)
    assert np.allclose(output[4800 + 512 : 9600], -ramp[4800 + 512 : 9600], atol=1e-6)
    assert np.allclose(output[9600 + 512 :], ramp[9600 + 512 :], atol=1e-6)
    assert np.abs(np.diff(output)).max() < 0.01  # and never clicks


def test_the_page_computes_the_same_orders(place, open_page):
    for mode in ("mos", "mushra", "abx"):
        key = made(place, mode)
        page = open_page(f"file://{place}/test.html")
        for listener in ("L1", "a.b-c_d", "Z" * 40):
            assert page.evaluate("name => seedOf(definition.test_id, name)", listener) == seed_of(
                key.definition.test_id, listener
            )
            theirs = page.evaluate("name => scheduleOf(definition, name)", listener)
            ours = [{"order": list(trial.order), "x": trial.x} for trial in schedule(key.definition, listener)]
            assert theirs == ours


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_reads_at_every_width(place, open_page, scheme):
    made(place, "mushra")
    page = open_page(f"file://{place}/test.html", color_scheme=scheme)
    for screen in ("welcome", "volume", "trial"):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert_no_overflow(page)
        if screen == "welcome":
            begin(page)
    for one, other in (("--ink", "--paper"), ("--soft", "--paper"), ("--accent", "--on-accent"), ("--warn", "--paper")):
        assert contrast(page, one, other) >= 4.5


@pytest.mark.parametrize("mode", ["mos", "mushra", "abx"])
def test_a_phone_is_told_of_no_keys(place, open_page, mode):
    made(place, mode)
    page = open_page(f"file://{place}/test.html", **PHONE)
    assert_fits_a_phone(page)
    page.locator("label.choice").first.tap()
    page.locator("button.main").tap()
    until(page, "document.querySelector('h1').innerText === 'Set the volume'")
    assert_fits_a_phone(page)
    page.get_by_role("button", name="Play").tap()
    until(page, "view.unheard.length === 0")
    page.locator("button.main").tap()
    until(page, "document.querySelector('h1').innerText !== 'Set the volume'")
    assert_fits_a_phone(page)
    assert ("If you hear no difference, guess." in page.inner_text("main")) == (mode == "abx")


def test_screen_readers_get_names_and_news(place, open_page):
    made(place, "mushra")
    page = open_page(f"file://{place}/test.html")
    begin(page)
    assert page.evaluate("document.activeElement.tagName") == "H1"
    tree = page.locator("main").aria_snapshot()
    assert 'slider "Rating of A, 0 bad to 100 excellent"' in tree
    assert 'button "Play A"' in tree
    assert page.get_attribute("input[type=range]", "aria-valuetext") == "not rated yet"
    assert page.get_attribute("#alert", "role") == "alert"
    press(page, "a")
    assert page.get_by_role("button", name="Play A").get_attribute("aria-pressed") == "true"
    named = "(entry) => entry.ariaLabel || entry.textContent || entry.labels?.length"
    assert page.evaluate(f"[...document.querySelectorAll('button, input')].every({named})")


def test_without_storage_it_says_so_and_works(place, open_page):
    made(place, "mos", rows_per_listener=1)
    page = open_page(f"file://{place}/test.html")
    page.evaluate("void (Storage.prototype.setItem = () => { throw new Error('full'); })")
    press(page, "h")
    leave(page, "Listening test")
    page.evaluate("keep({})")
    assert "keeps no progress" in page.inner_text("#status")
