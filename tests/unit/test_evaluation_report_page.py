"""The report in a browser, opened from disk as people do: heard, switched, sorted, filtered, printed, by keyboard."""

from __future__ import annotations

import dataclasses
import shutil
import time

import numpy as np
import pytest

import evaluation_records
from browser import PHONE, WIDTHS, assert_fits_a_phone, assert_no_overflow, until
from hifigan_rt.audio import write_audio
from hifigan_rt.tools.evaluation.report import write_report
from report_files import result_of, tone, write_sound
from tolerances import SWITCHED_MAX_ABS

pytestmark = pytest.mark.browser

HOSTILE = ["<script>document.title='taken'</script>", '"><img src=x onerror="document.title=1">', "n" * 300]


@pytest.fixture
def shown(tmp_path, open_page):
    """Writes a report with sound and opens it; `expected` as `open_page` takes them."""

    def show(result, seconds=1.0, **options):
        write_sound(result, tmp_path, seconds)
        page = open_page(write_report(result, tmp_path).as_uri(), **options)
        if result.clips:
            until(page, "document.getElementById('listen').dataset.ready === '0'")
        return page

    return show


def names(page):
    return page.evaluate("[...body.rows].filter(row => !row.hidden).map(row => row.cells[0].innerText.split('\\n')[0])")


def ready(page, index):
    until(page, f"document.getElementById('listen').dataset.ready === '{index}'")


@pytest.mark.parametrize("width", [1024, 1100, 1400])
def test_means_of_two_systems_stand_in_columns_that_fit(shown, width):
    page = shown(result_of(["a", "b", "c"], ["one", "two"]), viewport={"width": width, "height": 900})
    table = "document.querySelector('[aria-label=\"Table of means\"]')"
    assert page.evaluate(f"{table}.scrollWidth") <= page.evaluate(f"{table}.clientWidth")
    ends = f"""[...{table}.querySelectorAll('tbody tr')].map(row =>
        [...row.querySelectorAll('.mean')].map(mean => Math.round(mean.getBoundingClientRect().right)))"""
    first, *others = page.evaluate(ends)
    assert others, "a row with a remark, of clips without a value, among them"
    assert "without a value" in page.inner_text("#summary")
    assert all(abs(one - other) <= 1 for row in others for one, other in zip(first, row, strict=True))


def test_every_signal_gets_its_pictures(shown):
    page = shown(result_of(["a", "b"], ["one", "two"]))
    titles = page.locator(".picture h3").all_inner_texts()
    assert titles[:3] == ["Recording", "one", "two"]
    assert [title.split(":")[0] for title in titles[3:5]] == ["one minus recording", "two minus recording"]
    assert titles[5:] == ["Pitch (F0)"]
    # The tone of 200 Hz is the brightest row of the recording's picture, that of 300 Hz of the second system's.
    for picture, hz in ((0, 200), (2, 300)):
        share = page.evaluate(f"""(() => {{
            const canvas = document.querySelectorAll('.plot canvas')[{picture}], context = canvas.getContext('2d');
            const column = context.getImageData(canvas.width >> 1, 0, 1, canvas.height).data;
            const sums = Array.from({{ length: canvas.height }}, (_, y) => column[4 * y] + column[4 * y + 1]);
            const best = sums.indexOf(Math.max(...sums));
            return 1 - best / canvas.height;
        }})()""")
        assert share == pytest.approx(2595 * np.log10(1 + hz / 700) / (2595 * np.log10(1 + 11025 / 700)), abs=0.03)
    assert page.locator(".plot.pitch path").count() == 3
    assert page.locator("#clip-metrics tbody tr").count() == 2


def test_switching_keeps_the_position_to_the_sample(shown):
    page = shown(result_of(["a"], ["one", "two"]))
    rendered, at = page.evaluate("""async () => {
        const clock = new OfflineAudioContext(1, 19845, 22050);  // ends before the clip, which would stop by itself
        clock.resume_ = clock.resume.bind(clock);
        clock.resume = () => {};
        sound.clock = clock;
        sound.hear(0);
        sound.play(0, 0);
        let at = 0;
        clock.suspend(0.4).then(() => { at = clock.currentTime; sound.hear(2); clock.resume_(); });
        const buffer = await clock.startRendering();
        return [Array.from(buffer.getChannelData(0)), at];
    }""")
    switch = round(at * 22050)
    heard = np.array(rendered)
    faded = switch + round(0.008 * 22050) + 128
    assert np.abs(heard[:switch] - tone(0)[:switch]).max() < SWITCHED_MAX_ABS
    assert np.abs(heard[faded:] - tone(2)[faded : len(heard)]).max() < SWITCHED_MAX_ABS
    assert np.abs(heard[faded:] - tone(1)[faded : len(heard)]).max() > 0.1


def test_playing_by_keyboard(shown):
    page = shown(result_of(["a", "b"], ["one", "two"]), seconds=3.0)
    page.keyboard.press("Space")
    until(page, "sound.playing && sound.position > 0.2")
    assert page.inner_text("#play") == "Stop"
    before = page.evaluate("sound.position")
    page.keyboard.press("3")
    assert page.evaluate("[sound.audible, sound.playing, document.querySelector('#tracks :checked').value]") == [
        2,
        True,
        "2",
    ]
    assert before <= page.evaluate("sound.position") < 3
    assert page.locator(".picture.audible h3").all_inner_texts() == ["two"]
    page.keyboard.press("9")  # there is no such signal
    assert page.evaluate("sound.audible") == 2
    page.keyboard.press("Space")
    assert not page.evaluate("sound.playing")
    stopped = page.evaluate("sound.position")
    assert stopped > 0.2
    page.keyboard.press("ArrowRight")
    assert page.evaluate("sound.position") == pytest.approx(min(stopped + 1, 3), abs=0.01)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("sound.position") == pytest.approx(max(0, stopped - 1), abs=0.01)
    page.keyboard.press("n")
    ready(page, 1)
    assert page.inner_text("#clip-name") == "b"
    assert page.evaluate("[sound.audible, sound.position]") == [2, 0]
    page.keyboard.press("p")
    ready(page, 0)


def test_the_end_repeat_and_seeking(shown):
    page = shown(result_of(["a"]), seconds=0.6)
    # Looked at from within: on a busy machine the sound is over before a second look from outside.
    look = "const look = () => sound.position > 0 ? done(true) : setTimeout(look, 5); look()"
    page.evaluate(f"() => {{ window.moved = new Promise(done => {{ {look} }}); }}")
    page.click("#play")
    assert page.evaluate("moved")
    until(page, "!sound.playing")
    assert page.evaluate("sound.position") == 0
    page.check("#loop")
    page.click("#play")
    time.sleep(0.9)
    assert page.evaluate("sound.playing")
    page.uncheck("#loop")
    until(page, "!sound.playing")
    plot = page.locator(".plot").first
    box = plot.bounding_box()
    plot.click(position={"x": box["width"] * 0.75, "y": 5})
    assert page.evaluate("sound.position") == pytest.approx(0.45, abs=0.01)
    page.locator("#position").fill("0.2")
    assert page.evaluate("sound.position") == pytest.approx(0.2)
    assert page.get_attribute("#position", "aria-valuetext") == "0.2 of 0.6 seconds"


def test_sorting(shown):
    page = shown(result_of([f"clip {index}" for index in (10, 9, 2, 1)]))
    head = page.locator("#clip-table th", has_text="Clip").first
    head.locator("button").press("Enter")
    assert names(page) == ["clip 1", "clip 2", "clip 9", "clip 10"]
    assert head.get_attribute("aria-sort") == "ascending"
    stoi = page.locator("th[data-key=stoi]")
    stoi.locator("button").click()
    assert names(page) == ["clip 10", "clip 9", "clip 2", "clip 1"]
    assert [stoi.get_attribute("aria-sort"), head.get_attribute("aria-sort")] == ["ascending", "none"]
    stoi.locator("button").click()
    assert names(page) == ["clip 1", "clip 2", "clip 9", "clip 10"]
    snr = page.locator("th[data-key=snr] button")
    snr.click()  # infinite on the first, nothing on the second
    assert names(page) == ["clip 2", "clip 1", "clip 10", "clip 9"]
    snr.click()
    assert names(page) == ["clip 10", "clip 1", "clip 2", "clip 9"]


def test_filtering(shown):
    page = shown(evaluation_records.result())
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    for typed, found in (
        ("SUB", ["sub/c", "sub/c"]),
        ("stoi<0.96", ["b"]),
        ("stoi < 0.96", ["b"]),
        ("stoi>=0.97 sub", ["sub/c"]),
        ("sub stoi >\u22121", ["sub/c"]),
        ("snr>1000", ["a"]),
        ("failed", ["sub/c"]),
        ("unknown<1", []),
        ("stoi<", []),
    ):
        page.fill("#filter", typed)
        assert names(page) == found, typed
        assert page.inner_text("#count") == f"{len(found)} of 6 rows."
    page.fill("#filter", "")
    page.select_option("#system", label="bfloat16")
    assert names(page) == ["a", "b", "sub/c"]


def test_going_through_the_table(shown):
    page = shown(result_of(["a", "b", "c"]))
    page.locator("#clip-table tbody button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # there is no fourth
    assert page.evaluate("document.activeElement.innerText") == "c"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    ready(page, 1)
    assert page.evaluate("document.activeElement.id") == "listen-title"
    assert page.evaluate("sound.audible") == 1
    assert page.evaluate("[...body.rows].map(row => row.className)") == ["", "current", ""]
    page.keyboard.press("Space")
    assert page.evaluate("sound.playing")
    page.locator("[data-open]").first.click()
    ready(page, 0)
    assert not page.evaluate("sound.playing")


def test_columns(shown):
    page = shown(evaluation_records.result())
    page.locator("summary", has_text="Columns").click()
    page.locator("[data-column='1']").uncheck()
    assert not page.locator("th[data-key=snr]").is_visible()
    assert page.locator("#clip-table tbody tr").first.locator("td:visible").count() == 3
    page.locator("[data-column='1']").check()
    assert page.locator("th[data-key=snr]").is_visible()


def test_clips_beside_the_page(shown, tmp_path):
    page = shown(result_of([f"clip {index}" for index in range(22)]), expected=("ERR_FILE_NOT_FOUND",))
    last = page.evaluate("DATA.clips.findLastIndex(clip => clip.script)")
    page.evaluate(f"open({last})")
    ready(page, last)
    assert page.locator(".plot canvas").count() == 3
    assert page.evaluate("sound.duration") == 1
    shutil.rmtree(tmp_path / "clips")
    page.evaluate("open(0)")
    ready(page, 0)
    page.evaluate(f"open({last})")
    ready(page, last)
    assert "is not beside this page" in page.inner_text("#message")
    assert page.is_disabled("#play")
    assert page.locator("#clip-metrics tbody tr").count() == 2
    page.keyboard.press("n")  # goes on with the next
    until(page, "sound.duration === 1")


def test_what_is_missing_is_told(shown):
    result = evaluation_records.result()
    clips = (
        *result.clips[:1],
        dataclasses.replace(result.clips[1], reference=None, problem="cannot be decoded"),
        result.clips[2],
    )
    page = shown(dataclasses.replace(result, clips=clips))
    page.keyboard.press("n")
    ready(page, 1)
    assert page.evaluate("[...document.querySelectorAll('[name=track]')].map(radio => radio.disabled)") == [
        True,
        False,
        False,
    ]
    assert page.locator(".picture").count() == 3  # no recording, no differences
    assert "Recording: cannot be decoded" in page.inner_text("#clip-notes")
    page.keyboard.press("n")
    ready(page, 2)
    assert "bfloat16: no file for it in 'made'" in page.inner_text("#clip-notes")
    assert "the reference is digital silence" in page.inner_text("#clip-metrics")
    page.keyboard.press("1")
    assert page.evaluate("sound.audible") == 0


@pytest.mark.parametrize("count", [0, 1], ids=["no clip", "one clip"])
def test_few_clips(shown, count):
    page = shown(result_of(["alone"][:count]) if count else empty())
    assert page.is_disabled("#play") == (count == 0)
    for key in ("Space", "1", "n", "ArrowRight", "Enter"):
        page.keyboard.press(key)


def empty():
    return dataclasses.replace(result_of(["a"]), clips=(), scores=(), summaries=())


def test_names_are_only_names(shown):
    page = shown(result_of([*HOSTILE, "d"], HOSTILE, notes=tuple(HOSTILE)), viewport={"width": 360, "height": 800})
    for index, name in enumerate(HOSTILE):
        page.evaluate(f"open({index})")
        ready(page, index)
        assert page.evaluate("byId('clip-name').textContent") == name
    assert page.title().startswith("Evaluation of <script>")
    assert page.locator("img").count() == 0
    assert_no_overflow(page)


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_window(shown, width):
    result = evaluation_records.result()
    page = shown(result, viewport={"width": width, "height": 800})
    assert_no_overflow(page)
    for summary in page.locator("summary").all():
        summary.click()
    assert_no_overflow(page)
    # A name in a table takes a few lines, not a letter in each.
    heights = page.evaluate("[...document.querySelectorAll('.summary .metric')].map(name => name.offsetHeight)")
    assert max(heights) < 100


def test_a_phone_shows_names_whole_and_tells_of_no_keys(shown):
    systems = ["a system whose name is long", "another system whose name is long"]
    page = shown(result_of(["a_clip_" * 6, "another_clip_" * 6], systems), **PHONE)
    assert_fits_a_phone(page)
    title = page.locator(".picture h3").nth(3)
    assert title.inner_text() == f"{systems[0]} minus recording: orange has more, blue less, up to 24 dB"
    page.locator("#tracks label").nth(1).tap()
    assert page.evaluate("sound.audible") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_says_so(shown, scheme):
    """By a shadow at its right: at the end of the table there is none, nor where it fits."""

    def shaded(table):
        table.evaluate("table => table.scrollIntoView({ block: 'end', behavior: 'instant' })")
        box = table.bounding_box()
        strip = {"x": box["x"] + box["width"] - 6, "y": box["y"] + box["height"] - 40, "width": 6, "height": 36}
        with_it = page.screenshot(clip=strip)
        page.evaluate("document.documentElement.style.setProperty('--shade', 'transparent')")
        without = page.screenshot(clip=strip)
        page.evaluate("document.documentElement.style.removeProperty('--shade')")
        return with_it != without

    result = result_of(["a", "b"], [f"system {index}" for index in range(9)])
    page = shown(result, color_scheme=scheme, **PHONE)
    for name in ("Metrics of this clip", "Table of clips", "Table of means"):
        table = page.locator(f".scroll[aria-label='{name}']")
        assert shaded(table), name
        table.evaluate("table => { table.scrollLeft = 1e6 }")
        assert not shaded(table), name
    page.set_viewport_size({"width": 1400, "height": 844})
    assert not shaded(page.locator(".scroll[aria-label='Table of clips']"))


@pytest.mark.axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(shown, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = shown(evaluation_records.result(), color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_printing(shown):
    page = shown(result_of([f"clip {index}" for index in range(22)], ["one", "two"]), color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.is_visible("#player")
    assert not page.is_visible("#filter")
    assert page.is_visible(".plot canvas >> nth=0")
    body = page.evaluate("getComputedStyle(document.body).color")
    assert body == "rgb(28, 31, 36)"  # dark on white whatever the screen has
    heights = page.evaluate("(scroll => [scroll.scrollHeight, scroll.clientHeight])(document.querySelector('.tall'))")
    assert heights[0] == heights[1]  # the whole table
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_it_can_still_be_read(tmp_path, open_page):
    result = evaluation_records.result()
    page = open_page(write_report(result, tmp_path).as_uri(), java_script_enabled=False)
    assert page.locator("#clip-table tbody tr").count() == 6
    assert page.locator("#listen").is_hidden()
    assert page.locator("noscript p").is_visible()


def test_many_systems(shown):
    names_ = [f"system {index}" for index in range(11)]
    page = shown(result_of(["a"], names_), viewport={"width": 800, "height": 800})
    assert_no_overflow(page)
    assert page.locator("#tracks kbd").count() == 9
    page.locator("[name=track]").nth(11).check()
    assert page.evaluate("sound.audible") == 11


def test_signals_of_different_lengths(tmp_path, open_page):
    result = result_of(["a"])
    write_sound(result, tmp_path)
    write_audio(tmp_path / result.scores[0].audio, tone(1, seconds=2.0), 22050)
    page = open_page(write_report(result, tmp_path).as_uri())
    ready(page, 0)
    assert page.evaluate("[sound.duration, ...sound.buffers.map(buffer => buffer.length)]") == [2, 44100, 44100]
    assert page.locator(".plot canvas").count() == 3
