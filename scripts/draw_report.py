"""Takes the picture of docs/evaluation.md: what the report of our own samples lets hear and see of one clip.

python scripts/draw_report.py

Needs the extras eval, pretrained and plot (for Pillow), the group test, and Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from page_pictures import save_picture

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from browser import ARGUMENTS, executable  # noqa: E402 - of the tests

WIDTH = 900
METRICS = "mel_l1_full,mr_stft,f0_rmse_cents,vuv_f1,stoi,estoi"


def draw() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hifigan_rt", "eval", "--model", "ljspeech-v1", "--compare", "universal-v1"]
        command += ["--dataset", "samples", "--metrics", METRICS, "-o", folder]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        with sync_playwright() as playwright:
            _shoot(playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS), Path(folder))


def _shoot(browser, folder: Path) -> None:
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    page.goto((folder / "report.html").as_uri())
    page.wait_for_selector("#listen[data-ready='0']")
    page.evaluate("open(DATA.clips.findIndex(clip => clip.name === 'numbers'), { track: 1 })")
    page.wait_for_selector("#listen[data-ready='1']")
    page.evaluate("sound.seek(1.9)")
    top, end = page.evaluate(
        "[byId('listen'), byId('clip-metrics')].map(part => part.getBoundingClientRect().top + scrollY)"
    )
    area = {"x": 0, "y": top - 20, "width": WIDTH, "height": end - top + 10}
    save_picture(page.screenshot(clip=area, full_page=True), "report.png")
    browser.close()


if __name__ == "__main__":
    draw()
