"""What `export_om` may be asked for, checked before anything is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hifigan_rt.engines.ascend_runtime.gears import needed_overlap
from hifigan_rt.engines.ascend_runtime.precision import (
    KEEPING_MODES,
    PRECISION_MODES,
    default_mode,
    describe_mode,
    multiplies_float32,
)
from hifigan_rt.errors import ExportError, did_you_mean
from hifigan_rt.formats.onnx_metadata import input_name
from hifigan_rt.graph import MAX_FRAMES, Graph
from hifigan_rt.tools.ascend.atc import (
    DEFAULT_MEL_LENGTHS,
    DEFAULT_TIMEOUT_SECONDS,
    HIGHEST_GEARS,
    LOG_LEVELS,
    AtcJob,
    check_extra,
    check_soc,
    precision_of,
)

AUTO_SOC = "auto"
MAX_BATCH = 1024

_UNSAFE_CHARACTER = re.compile(r"[^A-Za-z0-9_.-]")
_UNSAFE_FOLDER = re.compile(r"[^A-Za-z0-9_./-]")


_NO_OPEN_LENGTHS = re.compile(r"Ascend310(B\w*)?")
"""Atlas 200/300/500 and Atlas 200I/500 A2 (atc's reference of CANN 8.0, --input_shape: no range of shapes there)."""


@dataclass(frozen=True)
class OmSettings:
    """How a model is to be converted; `checked` says what is not offered."""

    batches: tuple[int, ...] = (1,)
    """One .om file for each."""
    mel_lengths: tuple[int, ...] = DEFAULT_MEL_LENGTHS
    """Frames; one length gives a static model, none open lengths."""
    soc: str = AUTO_SOC
    """The chip, for example Ascend310P3; "auto" asks npu-smi."""
    precision_mode: str | None = None
    """A mode of either option of atc; None takes the chip's, unless `atc_options` has precision_mode_v2."""
    rank: int = 3
    """3 takes mels as [B, M, T], 4 as [B, M, 1, T]."""
    log: str = "error"
    atc_options: Mapping[str, str] = field(default_factory=dict)
    """More options of atc, by name."""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    """Limit for each .om file."""


def checked(settings: OmSettings) -> tuple[OmSettings, tuple[str, ...]]:
    """The settings with batches and lengths in order, each once, and a note where that changed them.

    Raises:
        ExportError: a value is not offered.
    """
    batches, batch_notes = _ordered("batch", settings.batches, MAX_BATCH)
    lengths, length_notes = _ordered("mel_len", settings.mel_lengths, MAX_FRAMES) if settings.mel_lengths else ((), ())
    if len(lengths) > HIGHEST_GEARS:
        raise ExportError(f"mel_len has {len(lengths)} values: atc takes at most {HIGHEST_GEARS} gears; give fewer")
    if settings.rank not in (3, 4):
        raise ExportError(f"rank={settings.rank} is not offered: 3 takes mels as [B, M, T], 4 as [B, M, 1, T]")
    options = check_extra(settings.atc_options)
    mode = settings.precision_mode
    if mode is not None and "precision_mode_v2" in options:
        raise ExportError("precision_mode and precision_mode_v2 exclude each other: leave one out")
    if mode is not None:
        _check_choice("precision_mode", mode, PRECISION_MODES)
    _check_choice("log", settings.log, LOG_LEVELS)
    if settings.soc != AUTO_SOC:
        check_soc(settings.soc)
    if not settings.timeout_seconds > 0:
        raise ExportError(f"timeout={settings.timeout_seconds:g} must be above 0 s")
    ordered = OmSettings(
        batches, lengths, settings.soc, mode, settings.rank, settings.log, options, settings.timeout_seconds
    )
    return ordered, batch_notes + length_notes


def plan_jobs(stem: str, graph: Graph, settings: OmSettings, soc_version: str) -> tuple[AtcJob, ...]:
    """One job of atc for each batch size of checked settings.

    Raises:
        ExportError: lengths are open, and the chip runs none such.
    """
    if not settings.mel_lengths and _NO_OPEN_LENGTHS.fullmatch(soc_version):
        raise ExportError(
            f"mel_len=dynamic: {soc_version} runs no open lengths; give gears, as in --mel-len 250,500,...,2000"
        )
    mode = settings.precision_mode
    if mode is None and "precision_mode_v2" not in settings.atc_options:
        mode = default_mode(soc_version)
    return tuple(
        AtcJob(
            onnx_name=f"{stem}.onnx",
            stem=f"{stem}_bs{batch}",
            input_name=input_name(graph.config),
            batch=batch,
            num_mels=graph.num_mels,
            rank=settings.rank,
            mel_lengths=settings.mel_lengths,
            soc_version=soc_version,
            precision_mode=mode,
            log=settings.log,
            extra=settings.atc_options,
        )
        for batch in settings.batches
    )


def safe_stem(name: str) -> tuple[str, tuple[str, ...]]:
    """A file name without its suffix, of the characters that the vendor's tools take, with a note if it changed."""
    stem, _ = os.path.splitext(Path(name).name)  # noqa: PTH122 - Path.stem is another for "..pth" from Python 3.14 on
    safe = _UNSAFE_CHARACTER.sub("_", stem).lstrip(".-") or "model"
    if safe == stem:
        return stem, ()
    return safe, (
        f"names of letters, digits, '_', '-' and '.' are all the vendor's tools take: {safe!r}, not {stem!r}",
    )


def folder_notes(folder: Path) -> tuple[str, ...]:
    """A warning if the vendor's tools will refuse files in this folder."""
    if not _UNSAFE_FOLDER.search(str(folder.resolve())):
        return ()
    return (
        f"the path of folder {str(folder)!r} has characters that the vendor's tools refuse (they take letters, digits "
        "and _./-): move the files before you run them there",
    )


def length_notes(graph: Graph, lengths: tuple[int, ...]) -> tuple[str, ...]:
    """A warning for gears that are too short to be put together to a longer mel."""
    overlap = needed_overlap(graph)
    short = [frames for frames in lengths if frames <= overlap]
    if not short:
        return ()
    return (
        f"mel_len {', '.join(map(str, short))}: two windows of this model overlap by {overlap} frames, so gears up to "
        "that serve only mels that are no longer than they are",
    )


def precision_notes(job: AtcJob, *, chosen: bool) -> tuple[str, ...]:
    """What a file will compute in on a chip without float32 products, where the mode was chosen for it or is unwise.

    Args:
        job: with its mode and chip.
        chosen: the mode is ours, not the user's.
    """
    mode, chip = precision_of(job), job.soc_version
    if multiplies_float32(chip) or not (chosen or mode in KEEPING_MODES):
        return ()
    label = describe_mode(mode, chip)
    if chosen:
        return (f"{chip} multiplies float16 at most, so the file computes in {label}",)
    return (
        f"{chip} multiplies float16 at most: under {mode} the convolutions do not compile (EZ3002) or are slow "
        f"({label}); without --precision-mode it is {default_mode(chip)}",
    )


def _ordered(name: str, values: Iterable[int], highest: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    given = tuple(values)
    if not given:
        raise ExportError(f"{name} is empty: give at least one number")
    for value in given:
        if not 1 <= value <= highest:
            raise ExportError(f"{name}={value} must be from 1 to {highest}")
    ordered = tuple(sorted(set(given)))
    if ordered == given:
        return given, ()
    return ordered, (f"{name} was sorted, and each value is taken once: {', '.join(map(str, ordered))}",)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ExportError(f"{name}={value!r} is not offered: choose {', '.join(choices)}{did_you_mean(value, choices)}")
