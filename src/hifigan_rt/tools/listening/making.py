"""Makes a listening test of recordings: the page, and the key to it."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.evaluation.listening_results import Mode, Role
from hifigan_rt.tools.listening.definition import NO_HASH, REFERENCE, Definition, Key, PageClip, Stimulus
from hifigan_rt.tools.listening.material import Material
from hifigan_rt.tools.listening.page import render
from hifigan_rt.tools.listening.stimuli import (
    ANCHORS_HZ,
    QUIET_LUFS,
    TARGET_LUFS,
    anchors,
    common_loudness,
    encoded,
    loudness_of,
)

MAX_MUSHRA_STIMULI = 12
"""ITU-R BS.1534-3: more at a time cannot be compared."""

ABX_TRIALS = 16
"""Per pair, unless asked otherwise: 12 correct of them have p = 0.038."""

TRAINING_STIMULI = 3
"""MOS: rated for practice."""

_OPEN_REFERENCE = "open reference"


@dataclass(frozen=True)
class ListeningTest:
    page: bytes
    key: Key


@dataclass(frozen=True)
class Request:
    """What the experimenter asks for."""

    mode: Mode
    title: str
    seed: int
    rows_per_listener: int | None = None
    """None: everything there is."""
    repeats: int | None = None
    """ABX: of each clip; None: as many as give `ABX_TRIALS` of each pair."""


@dataclass
class _Clip:
    """A clip on its way: all its versions, the anchors and the open reference among them."""

    name: str
    versions: dict[str, np.ndarray]
    loudness: dict[str, float]
    ids: dict[str, str]


def make(material: Material, request: Request) -> ListeningTest:
    """Make a test.

    Args:
        material: the recordings.
        request: the kind of test.

    Raises:
        EvaluationError: the material does not do for it.
    """
    _check(material, request)
    generator = np.random.default_rng(request.seed)
    notes = list(material.notes)
    clips = _prepared(material, request.mode, generator, notes)
    notes += material.notes_of([clip.name for clip in clips])
    target, peaky = common_loudness(
        {
            f"{clip.name}/{name}": float(np.abs(samples).max())
            for clip in clips
            for name, samples in clip.versions.items()
        },
        {f"{clip.name}/{name}": lufs for clip in clips for name, lufs in clip.loudness.items()},
    )
    if target < QUIET_LUFS:
        notes.append(
            f"{peaky!r} peaks so far above its loudness that all recordings are {TARGET_LUFS - target:.0f} dB below "
            f"{TARGET_LUFS:g} LUFS: listen whether it has a click or little speech, and take it out"
        )
    rows = _rows(material, request, clips, generator)
    definition = Definition(
        test_id=_opaque(generator, set()),
        page_sha256=NO_HASH,
        mode=request.mode,
        title=request.title,
        clips=tuple(_page_clip(clip, material.sample_rate) for clip in clips),
        # Sorted by their random ids: the order tells nothing.
        stimuli=dict(sorted((identifier, _clip_id(clip)) for clip in clips for identifier in clip.ids.values())),
        rows=rows,
        rows_per_listener=min(request.rows_per_listener or len(rows), len(rows)),
        training=(rows[0][:TRAINING_STIMULI] if request.mode == "mos" else rows[0],),
    )
    audio = {
        clip.ids[name]: encoded(samples, material.sample_rate, target - clip.loudness[name], generator)
        for clip in clips
        for name, samples in clip.versions.items()
    }
    audio = dict(sorted(audio.items()))
    definition = replace(definition, page_sha256=hashlib.sha256(render(definition, audio)).hexdigest())
    return ListeningTest(render(definition, audio), _key(material, request, clips, target, definition, notes))


def _check(material: Material, request: Request) -> None:
    signals = len(material.systems) + material.has_reference
    if request.mode == "mushra" and not material.has_reference:
        raise EvaluationError("MUSHRA compares with the recordings: give their folder with --reference")
    added = (*ANCHORS_HZ, _OPEN_REFERENCE)
    taken = next((name for name in material.systems if name in added), None)
    if request.mode == "mushra" and taken is not None:
        raise EvaluationError(f"a system is named {taken!r}, as what MUSHRA adds itself: give it another name")
    if request.mode == "mushra" and signals + len(ANCHORS_HZ) > MAX_MUSHRA_STIMULI:
        raise EvaluationError(
            f"{len(material.systems)} systems, the reference and {len(ANCHORS_HZ)} anchors are more than the "
            f"{MAX_MUSHRA_STIMULI} signals that can be compared at a time: make two tests, or take mos"
        )
    if request.mode == "abx" and signals < 2:
        raise EvaluationError("ABX asks whether two systems can be told apart, and there is one: name another")
    if request.repeats is not None and request.mode != "abx":
        raise EvaluationError(f"repeats={request.repeats} is for abx: in {request.mode} each stimulus is rated once")


def _prepared(material: Material, mode: Mode, generator: np.random.Generator, notes: list[str]) -> list[_Clip]:
    clips, taken = [], set[str]()
    for name, recordings in material.clips.items():
        versions = {system: samples.astype(np.float64) for system, samples in recordings.items()}
        if mode == "mushra":
            versions |= anchors(versions[REFERENCE], material.sample_rate)
            versions[_OPEN_REFERENCE] = versions[REFERENCE]
        try:
            loudness = loudness_of(versions, material.sample_rate)
        except EvaluationError as error:
            notes.append(f"clip {name!r} is left out: {error}")
            continue
        clips.append(_Clip(name, versions, loudness, {version: _opaque(generator, taken) for version in versions}))
    if not clips:
        raise EvaluationError(f"no clip can be used: {notes[-1]}")
    if mode == "mushra":
        absent = [name for name in ANCHORS_HZ if name not in clips[0].versions]
        notes += [f"{name} is left out: at {material.sample_rate} Hz it would take nothing away" for name in absent]
    return clips


def _opaque(generator: np.random.Generator, taken: set[str]) -> str:
    while True:
        identifier = generator.bytes(5).hex()
        if identifier not in taken:
            taken.add(identifier)
            return identifier


def _clip_id(clip: _Clip) -> str:
    """Made of ids that are random already."""
    return hashlib.sha256("".join(sorted(clip.ids.values())).encode()).hexdigest()[:10]


def _page_clip(clip: _Clip, sample_rate: int) -> PageClip:
    seconds = len(next(iter(clip.versions.values()))) / sample_rate
    return PageClip(_clip_id(clip), round(seconds, 3), clip.ids.get(_OPEN_REFERENCE, ""))


def _rows(
    material: Material, request: Request, clips: Sequence[_Clip], generator: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    order = [clips[index] for index in generator.permutation(len(clips))]
    if request.mode == "mushra":
        return tuple(tuple(sorted(set(clip.ids.values()) - {clip.ids[_OPEN_REFERENCE]})) for clip in order)
    names = [REFERENCE] * material.has_reference + list(material.systems)
    if request.mode == "abx":
        pairs = [(names[0], other) for other in names[1:]]
        repeats = request.repeats or math.ceil(ABX_TRIALS / len(clips))
        return tuple(
            tuple(sorted((clip.ids[first], clip.ids[second])))
            for _ in range(repeats)
            for clip in order
            for first, second in pairs
        )
    # A Latin square: each row has every system once, and different clips as far as there are enough.
    shuffled = [names[index] for index in generator.permutation(len(names))]
    return tuple(
        tuple(sorted(order[(row + shift) % len(order)].ids[name] for shift, name in enumerate(shuffled)))
        for row in range(len(order))
    )


def _key(
    material: Material,
    request: Request,
    clips: Sequence[_Clip],
    target: float,
    definition: Definition,
    notes: Sequence[str],
) -> Key:
    stimuli: dict[str, Stimulus] = {}
    for clip in clips:
        for name, identifier in clip.ids.items():
            gain_db = round(target - clip.loudness[name], 3)
            stimuli[identifier] = Stimulus(name, _role(name, material.systems), clip.name, gain_db)
    systems = [*([REFERENCE] if material.has_reference else []), *material.systems]
    if request.mode == "mushra":
        systems += [name for name in ANCHORS_HZ if name in clips[0].versions]
    return Key(
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=request.seed,
        loudness_lufs=round(target, 3),
        sample_rate=material.sample_rate,
        systems=tuple(systems),
        stimuli=stimuli,
        definition=definition,
        notes=tuple(notes),
    )


def _role(name: str, systems: Sequence[str]) -> Role:
    if name in systems:
        return "system"
    return "reference" if name in (REFERENCE, _OPEN_REFERENCE) else "anchor"
