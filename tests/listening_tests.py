"""Listening tests for the tests: generated recordings, keys made by hand, and answers as the page writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from hifigan_rt.tools.listening.definition import REFERENCE, Definition, Key, PageClip, Stimulus
from hifigan_rt.tools.listening.schedule import Trial, schedule, seed_of
from hifigan_rt.tools.listening.submissions import Submission, parse

RATE = 22050


def voiced(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    """Something like speech: harmonics that come and go, over a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(8 * time + seed)) / rate
    harmonics = sum(np.sin(order * phase) / order for order in range(1, 60))
    return 0.15 * harmonics * (0.6 + 0.4 * np.sin(14 * time)) + 0.005 * rng.standard_normal(len(time))


def write_folders(place: Path, clips: int = 2, seconds: float = 0.6) -> None:
    """`ref`, and the systems `glowing` and `droning` that are noisier and of other loudness."""
    for index in range(clips):
        clean = voiced(index, seconds)
        noise = np.random.default_rng(100 + index).standard_normal(len(clean))
        for name, gain, level in (("ref", 1, 0), ("glowing", 0.5, 0.002), ("droning", 1.4, 0.03)):
            (place / name).mkdir(exist_ok=True)
            audio = np.clip(gain * clean + level * noise, -1, 1)
            # Copy-synthesis drops the last part of a frame.
            audio = audio if name == "ref" else audio[:-100]
            soundfile.write(place / name / f"clip{index}.wav", audio, RATE, "PCM_16")


def key_of(mode: str, systems: tuple[str, ...], clips: int, *, repeats: int = 1, rows: int | None = None) -> Key:
    """A key without a page; in MUSHRA the last system is an anchor, and one named "reference" is that anywhere."""
    stimuli, named = {}, {}
    for clip in range(clips):
        for system in systems:
            role = "reference" if system == REFERENCE else "anchor" if system.startswith("anchor") else "system"
            identifier = f"{system[:3]}{clip:03}"
            stimuli[identifier] = f"c{clip}"
            named[identifier] = Stimulus(system, role, f"clip{clip}", 0.0)
    if mode == "mushra":
        made = [tuple(name for name, clip in stimuli.items() if clip == f"c{index}") for index in range(clips)]
        named |= {
            f"open{index}": Stimulus("open reference", "reference", f"clip{index}", 0.0) for index in range(clips)
        }
    elif mode == "abx":
        made = [
            (f"{systems[0][:3]}{clip:03}", f"{other[:3]}{clip:03}") for clip in range(clips) for other in systems[1:]
        ]
    else:
        made = [
            tuple(f"{system[:3]}{(row + shift) % clips:03}" for shift, system in enumerate(systems))
            for row in range(clips)
        ]
    made *= repeats
    definition = Definition(
        "0123456789", "f" * 64, mode, "A test",
        tuple(PageClip(f"c{index}", 2.0, f"open{index}" if mode == "mushra" else "") for index in range(clips)),
        stimuli, tuple(made), min(rows or len(made), len(made)), (made[0],),
    )  # fmt: skip
    return Key("2026-01-02T03:04:05+00:00", 1, -23.0, RATE, systems, named, definition, ())


def record_of(
    key: Key, listener: str, rate: Callable[[Trial, str], int] | None = None, **changes: Any
) -> dict[str, Any]:
    """What the page writes. `rate` gives a stimulus its rating; in ABX it gets X and says 1 for a right answer."""
    definition = key.definition
    rate = rate or (
        lambda _trial, _stimulus: 3 if definition.mode == "mos" else 100 if definition.mode == "mushra" else 1
    )
    trials = []
    for trial in schedule(definition, listener):
        clip = next(entry for entry in definition.clips if entry.id == definition.stimuli[trial.order[0]])
        heard = {"mos": trial.order, "mushra": (*trial.order, clip.reference), "abx": "ABX"}[definition.mode]
        ratings, answer = {}, ""
        if definition.mode == "abx":
            right = rate(trial, trial.x)
            answer = trial.x if right else next(stimulus for stimulus in trial.order if stimulus != trial.x)
        else:
            ratings = {stimulus: rate(trial, stimulus) for stimulus in trial.order}
        trials.append(
            {
                "order": list(trial.order), "x": trial.x, "ratings": ratings, "answer": answer,
                "heard_seconds": dict.fromkeys(heard, clip.seconds), "seconds": len(heard) * clip.seconds + 2.5,
            }
        )  # fmt: skip
    record = {
        "format": 1, "kind": "hifigan-listening", "test_id": definition.test_id,
        "page_sha256": definition.page_sha256, "mode": definition.mode, "listener": listener,
        "seed": seed_of(definition.test_id, listener), "output": "headphones",
        "started": "2026-01-02T03:04:05.000Z", "finished": "2026-01-02T03:24:05.000Z", "trials": trials,
    }  # fmt: skip
    return record | changes


def submission_of(key: Key, listener: str, rate: Callable[[Trial, str], int] | None = None) -> Submission:
    return parse(json.dumps(record_of(key, listener, rate)).encode(), key.definition)
