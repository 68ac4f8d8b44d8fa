"""What a person does on the server's page, and how a test looks at it."""

from __future__ import annotations

import numpy as np
import soundfile

from golden.tiny import TINY

RATE = TINY.mel.sample_rate
TOKEN = "s3cret"  # noqa: S105 - of these tests
REFUSED = ("Failed to load resource",)


def expect(locator):
    from playwright.sync_api import expect as expect_locator

    return expect_locator(locator)


def write_speechlike(path, seconds=1.0, rate=RATE, channels=1):
    """A gliding buzz with pauses, as floats: Chromium decodes positive 16-bit values 1/32767 too loud."""
    time_axis = np.arange(int(seconds * rate)) / rate
    pitch = np.cumsum(120 + 60 * np.sin(2 * np.pi * 1.5 * time_axis)) / rate
    buzz = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 2 * time_axis) > -0.5)
    samples = (0.2 * buzz).astype(np.float32)
    subtype = "FLOAT" if path.suffix == ".wav" else None
    soundfile.write(path, samples if channels == 1 else np.stack([samples] * channels, 1), rate, subtype)
    return samples


def upload(page, path):
    page.set_input_files("#file", path)
    expect(page.locator("#status")).to_contain_text("Done")


def array(page, expression):
    return np.array(page.evaluate(f"Array.from({expression})"), np.float32)


def hold_still(page):
    """Time for the audio clock to go on."""
    page.wait_for_timeout(150)
