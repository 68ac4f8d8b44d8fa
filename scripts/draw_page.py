"""Takes the picture of docs/serving.md: the page of `hifigan serve` with one of our own samples, streamed.

python scripts/draw_page.py

Needs the extras serve, pretrained and plot (for Pillow), the group test, and Chromium.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from page_pictures import save_picture

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from browser import ARGUMENTS, executable  # noqa: E402 - of the tests

PORT = 8709
WIDTH = 820


def draw() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "hifigan_rt", "serve", "--model", "ljspeech-v1", "--port", str(PORT)],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_server()
        with sync_playwright() as playwright:
            _shoot(playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS))
    finally:
        server.terminate()
        server.wait()


def _wait_for_server() -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
        except ConnectionRefusedError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the server did not start")


def _shoot(browser) -> None:
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    page.goto(f"http://127.0.0.1:{PORT}/")
    page.set_input_files("#file", ROOT / "samples" / "question.flac")
    expect(page.locator("#status")).to_contain_text("Done", timeout=30000)
    page.click("#stream")
    expect(page.locator("[data-figure=streamed-buffered]")).to_contain_text("gaps", timeout=30000)
    page.wait_for_timeout(800)
    page.locator("#play").click()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    end = page.evaluate("byId('speed-title').getBoundingClientRect().top + scrollY")
    area = {"x": 0, "y": 0, "width": WIDTH, "height": end - 20}
    save_picture(page.screenshot(clip=area, full_page=True), "page.png")
    browser.close()


if __name__ == "__main__":
    draw()
