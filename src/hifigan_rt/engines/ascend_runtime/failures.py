"""Turns what goes wrong in the vendor's runtime into errors that name the way out.

The runtime raises RuntimeErrors such as "[-1][ACL: general failure] "; what they mean stands in the lines printed
before. So both are searched together, by what the two generations of aclruntime and ais_bench print.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.engines.ascend_runtime.chips import find_chips
from hifigan_rt.errors import EngineError, EngineUnavailable, ToolFailed

INTERPRETER_VARIABLE = "HIFIGAN_ASCEND_PYTHON"

INSTALL_HINT = (
    "install the wheels aclruntime-0.0.2-cp3X and ais_bench-0.0.2 that fit its Python and the CANN of this machine "
    "(from https://aisbench.obs.myhuaweicloud.com or built from the vendor's repository Ascend/tools; they are not on "
    f"PyPI), or name the interpreter that has them in {INTERPRETER_VARIABLE}"
)

_SOURCE_HINT = "source set_env.sh of the CANN toolkit in this shell first"

_LEGAL_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_MAX_OM_BYTES = 10 << 30


@dataclass(frozen=True)
class DeviceContext:
    """What was being run where."""

    python: str
    """The interpreter."""
    model: Path
    device: int
    soc_version: str = ""
    """The chip that the .om was compiled for; empty if it does not tell."""


def missing_package(name: str, python: str) -> EngineUnavailable:
    """The error for a module that the interpreter lacks."""
    if name == "ais_bench.infer":
        return EngineUnavailable(
            f"the package ais_bench of {python!r} has no ais_bench.infer: it is another tool of the same name "
            "(AISBench for language models, ais-bench-benchmark on PyPI), and they exclude each other: uninstall it "
            f"and {INSTALL_HINT}; or take --engine-option backend=aclruntime, which needs aclruntime alone"
        )
    return EngineUnavailable(f"engine 'ascend' needs {name}, which {python!r} does not have: {INSTALL_HINT}")


def import_failure(kind: str, text: str, context: DeviceContext) -> EngineUnavailable:
    """The error for a module that is installed and does not import."""
    if re.search(r"lib\w+\.so", text):
        way_out = f"its libraries were not found: {_SOURCE_HINT}"
    else:
        way_out = f"the wheel may be of another Python or CANN version: {INSTALL_HINT}"
    return EngineUnavailable(f"aclruntime cannot be imported by {context.python!r} ({kind}: {text}); {way_out}")


def runtime_failure(text: str, log: str, context: DeviceContext) -> EngineError:
    """The error for an exception of the vendor's runtime.

    Args:
        text: of the exception.
        log: what was printed since the last call that went well.
        context: for the texts.
    """
    everything = f"{log}\n{text}"
    for pattern, explain in _EXPLANATIONS:
        match = re.search(pattern, everything)
        if match is not None:
            return explain(match, context, _detail(text, log))
    return EngineError(f"the Ascend runtime failed on device {context.device}: {_detail(text, log)}")


def illegal_path(path: Path) -> str:
    """Which of the rules of ais_bench a path breaks; empty if none."""
    reasons = []
    text = str(path)
    try:
        status, linked = path.stat(), path.is_symlink()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if linked:
        reasons.append(f"it is a soft link: name {os.path.realpath(path)!r}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        reasons.append(f"others than its owner may write to it (mode {mode:04o}): chmod 640 {text}")
    if not _LEGAL_PATH.fullmatch(text):
        odd = sorted(set(_LEGAL_PATH.sub("", text)))
        reasons.append(f"its name holds {''.join(odd)!r}: only A-Z, a-z, 0-9 and _ . / - are allowed; rename it")
    if hasattr(os, "getuid") and status.st_uid != os.getuid() and status.st_gid not in os.getgroups():
        reasons.append("it belongs neither to this user nor to one of the user's groups: copy it")
    if status.st_size > _MAX_OM_BYTES:
        reasons.append("it is larger than 10 GiB")
    return "; ".join(reasons)


def _detail(text: str, log: str) -> str:
    """What the runtime said, short: the exception and the lines that it marked as errors."""
    errors = [line.strip() for line in log.splitlines() if re.match(r"\s*(\[(ERROR|WARN)|E[A-Z0-9]\d{4})", line)]
    lines = [line for line in (text.strip(), *dict.fromkeys(errors[:6])) if line]
    return " | ".join(lines)[:1500] or "it gave no reason"


def _chips_here() -> str:
    try:
        chips = find_chips(timeout_seconds=10.0)
    except ToolFailed:
        return ""
    return ", ".join(f"{chip.soc_version or chip.name} (device {chip.logic_id})" for chip in chips)


def _another_chip(_: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    here = _chips_here()
    made_for = f"was converted for {context.soc_version}" if context.soc_version else "does not fit this chip"
    found = f", and npu-smi shows {here}" if here else ""
    return EngineError(
        f"{str(context.model)!r} {made_for}{found}: convert it with 'hifigan export om' on this machine, or with "
        f"--soc and the name of this chip ({detail})"
    )


def _execution(match: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    """An exception in the AI core: what a model for another chip ends in, but not that alone."""
    here = _chips_here()
    if not context.soc_version or (here and context.soc_version not in here):
        return _another_chip(match, context, detail)
    return EngineError(
        f"device {context.device} failed while it ran {str(context.model)!r} (error 507011, an exception in the AI "
        f"core): if the chip is no {context.soc_version} ('npu-smi info' shows it), convert the model for it; else "
        "with fewer gears, another --precision-mode or --rank, or a CANN that fits the driver; the vendor's log is in "
        f"~/ascend/log ({detail})"
    )


def _device(_: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    here = _chips_here()
    found = f"npu-smi shows {here}" if here else "'npu-smi info -m' lists what is there"
    return EngineUnavailable(
        f"Ascend device {context.device} cannot be opened: there is none of that number, another process has it, or "
        f"this user or container has no access (group HwHiAiUser; /dev/davinci{context.device} in the container); "
        f"{found} ({detail})"
    )


def _path_rules(_: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    reason = illegal_path(context.model)
    return EngineError(
        f"ais_bench does not accept the path {str(context.model)!r}: "
        + (reason or f"{detail}; it wants a plain file, not writable by others, with letters, digits and _ . / - only")
    )


def _said(error: type[EngineError], text: str) -> Callable[[re.Match[str], DeviceContext, str], EngineError]:
    def explain(_: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
        return error(f"{text.format(model=repr(str(context.model)), device=context.device)} ({detail})")

    return explain


_EXPLANATIONS: tuple[tuple[str, Callable[[re.Match[str], DeviceContext, str], EngineError]], ...] = (
    (r"om path:.*is illegal", _path_rules),
    (
        r"is lower please update|has no attribute '(session_options|InferenceSession|InferSession)'",
        _said(EngineUnavailable, f"aclruntime and ais_bench are of different versions: {INSTALL_HINT}"),
    ),
    (r"[Mm]odel soc version is not support|[Ss]oc_?version.*not (match|support)", _another_chip),
    (
        r"opp version of the model does not match",
        _said(
            EngineError,
            "{model} was converted with a newer CANN than this machine has: convert it here, or update CANN",
        ),
    ),
    (r"open device \d+ failed|\b507033\b|\bEL0003\b|\bEL003\b", _device),
    (
        r"\b207001\b|\bEL0004\b|[Mm]emory allocation (failed|error)",
        _said(
            EngineError,
            "device {device} has too little free memory for {model}: end what else runs there ('npu-smi info'), or "
            "convert with a smaller --batch or shorter --mel-len",
        ),
    ),
    (
        r"dymDims parameter is not correct|dynamic_dims parameter is not (correct|specified)|dym gearcount",
        _said(
            EngineError,
            "the gears that {model} was compiled with are not those that its file tells: convert it again with "
            "'hifigan export om'",
        ),
    ),
    (
        r"in size:\d+ needsize:\d+ not match|intensors in:\d+ need:\d+|outnames .* not valid",
        _said(
            EngineError,
            "{model} takes other inputs than one mel: convert the generator with 'hifigan export om'",
        ),
    ),
    (
        r"\b3011\b|OUTPUTSIZE_IS_ZERO",
        _said(EngineError, "{model} has true dynamic shapes, which are not run: convert it with gears (--mel-len)"),
    ),
    (
        r"load model from file failed|LoadModelFromFile|\b14500[06]\b|[Ii]nvalid om file",
        _said(
            EngineError,
            "the Ascend runtime cannot load {model}: it is damaged, was converted by a newer CANN, or for another "
            "chip; convert it again on this machine with 'hifigan export om'",
        ),
    ),
    (r"\b507011\b", _execution),
)
"""What is printed, with the error that it becomes; the first that fits counts, the most telling come first."""
