"""Headless Chromium for the tests of pages: fixtures for the whole suite, and what no page may do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # A microphone that beeps; whether a page may use it is each context's permission.
    "--use-fake-device-for-media-stream",
]
WIDTHS = (360, 800, 1400)
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
"""Options of a context: what is touched, and has neither keys nor a pointer that hovers."""


def executable() -> str | None:
    """Chromium as the system has it."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for one module: an asyncio loop runs in the test's thread for as long as it is there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium) -> Iterator[Callable[..., Any]]:
    """Opens a page of `url` (contexts' options may follow); fails at the end if it logged errors or asked elsewhere.

    `expected` are parts of console errors that belong to the test: a browser logs each request that fails.
    """
    contexts: list[Any] = []
    problems: list[str] = []

    def opened(url: str, *, expected: tuple[str, ...] = (), **options: Any) -> Any:
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        origin = "/".join(url.split("/")[:3])

        def on_console(message: Any) -> None:
            # A browser asks for the icon when it likes, even from a server that is about to end.
            belongs = message.location["url"].endswith("/icon.svg") or any(part in message.text for part in expected)
            if message.type in ("error", "warning") and not belongs:
                problems.append(f"console: {message.text} ({message.location['url']})")

        def on_request(request: Any) -> None:
            if not request.url.startswith((origin, "data:", "blob:")):
                problems.append(f"asked elsewhere: {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
        page.on("request", on_request)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    if problems:
        raise AssertionError("; ".join(problems))


def assert_no_overflow(page: Any) -> None:
    """Nothing is wider than the window."""
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


def assert_fits_a_phone(page: Any) -> None:
    """Nothing is wider than the window, cut off, or about keys."""
    assert_no_overflow(page)
    cut = """[...document.querySelectorAll('body :not(select)')].filter(part => part.checkVisibility()
        && getComputedStyle(part).textOverflow === 'ellipsis' && part.scrollWidth > part.clientWidth)"""
    assert page.evaluate(f"{cut}.map(part => part.textContent)") == []
    assert page.locator("kbd:visible").count() == 0
    told = page.inner_text("body")
    assert not any(word in told for word in ("Key", "Enter ", "↑ and ↓"))


def contrast(page: Any, one: str, other: str) -> float:
    """Of two colours that the page's style names, by the definition of WCAG 2."""
    names = [f"getComputedStyle(document.documentElement).getPropertyValue('{name}').trim()" for name in (one, other)]
    return _contrast(*page.evaluate(f"[{', '.join(names)}]"))


def _contrast(*colours: str) -> float:
    lights = []
    for colour in colours:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def until(page: Any, script: str) -> None:
    """Wait for a script to be true; polled from outside: the pages' policy forbids what playwright waits with."""
    for _ in range(400):
        if page.evaluate(script):
            return
        time.sleep(0.025)
    told = page.locator("h1, #message, #alert").all_inner_texts()
    raise AssertionError(f"{script} never became true; the page says {told}")
