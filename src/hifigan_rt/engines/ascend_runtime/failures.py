"""Turns what goes wrong in the vendor's runtime into errors that name the way out.

The runtime raises RuntimeErrors such as "[-1][ACL: general failure] "; what they mean stands in the lines printed
before. Rule: both are searched together, by what the generations of aclruntime and ais_bench print. A named cause
decides before a return value that many causes share (507033), and every text shows the causes first.

Numbers: hicann/runtime include/external/acl/error_codes/rt_error_codes.h and docs/zh/api_ref/25-01_aclError.md; codes:
src/dfx/error_manager/error_code.json there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.engines.ascend_runtime.chips import find_chips
from hifigan_rt.engines.ascend_runtime.error_codes import begins_traceback, is_heading, read_code
from hifigan_rt.errors import EngineError, EngineUnavailable, ToolFailed

INTERPRETER_VARIABLE = "HIFIGAN_ASCEND_PYTHON"

INSTALL_HINT = (
    "install the wheels aclruntime-0.0.2-cp3X and ais_bench-0.0.2 that fit its Python and the CANN of this machine "
    "(from https://aisbench.obs.myhuaweicloud.com or built from the vendor's repository Ascend/tools; they are not on "
    f"PyPI), or name the interpreter that has them in {INTERPRETER_VARIABLE}"
)

_SOURCE_HINT = "source set_env.sh of the CANN toolkit in this shell first"

_LEGAL_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_DEEPEST_PATH = 32
_MAX_OM_BYTES = 10 << 30

_MARKED = re.compile(r"\s*\[(ERROR|WARN|WARNING|CRITICAL|ACL ERROR)\]", re.IGNORECASE)
"""Lines as the generations mark them; that of 2026 writes in small letters."""


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
    hint = INSTALL_HINT
    if name == "numpy":
        hint = f"{python} -m pip install numpy, or name another interpreter with {INTERPRETER_VARIABLE}"
    return EngineUnavailable(f"engine 'ascend' needs {name}, which {python!r} does not have: {hint}")


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


def illegal_path(path: Path, backend: str) -> str:
    """Which of the vendor's rules for a model's path it breaks; empty if none.

    aclruntime checks them since 2025 (Yanguan619/aclruntime aclruntime/src/ModelInfer/File.cpp, CheckFileBeforeRead),
    ais_bench since 2024, with the owner as well.
    """
    reasons = []
    text = os.path.abspath(path)  # noqa: PTH100 - a link is what is looked for
    try:
        status, linked = path.stat(), path.is_symlink()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if linked:
        reasons.append(f"it is a soft link: name {os.path.realpath(path)!r}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        reasons.append(f"others than its owner may write to it (mode {mode:04o}): chmod 640 {text}")
    if not status.st_mode & stat.S_IRUSR:
        reasons.append(f"its owner may not read it (mode {stat.S_IMODE(status.st_mode):04o}): chmod 640 {text}")
    if not _LEGAL_PATH.fullmatch(text):
        odd = sorted(set(_LEGAL_PATH.sub("", text)))
        reasons.append(f"its name holds {''.join(odd)!r}: only A-Z, a-z, 0-9 and _ . / - are allowed; rename it")
    if path.suffix != ".om":
        reasons.append(f"its name ends in {path.suffix!r}: rename it to .om")
    if len(path.name) > 255 or len(text) > 4096 or text.count("/") > _DEEPEST_PATH:
        reasons.append(f"its path is too long, or deeper than {_DEEPEST_PATH} folders")
    foreign = hasattr(os, "getuid") and os.getuid() not in (0, status.st_uid) and status.st_gid not in os.getgroups()
    if foreign and backend == "ais_bench":
        reasons.append("it belongs neither to this user nor to one of the user's groups: copy it")
    if status.st_size > _MAX_OM_BYTES:
        reasons.append("it is larger than 10 GiB")
    return "; ".join(reasons)


def check_path(path: Path, backend: str) -> None:
    """Refuse a path that the vendor's runtime refuses, before it is started.

    Raises:
        EngineError: the path breaks a rule; the text says which, and the way out.
    """
    reason = illegal_path(path, backend)
    if reason:
        raise EngineError(f"{backend} does not accept the path {str(path)!r}: {reason}")


def _detail(text: str, log: str) -> str:
    """What the runtime said, short: the causes that it named, the lines that it marked as errors, and the exception."""
    marked = [line.strip() for line in log.splitlines() if _MARKED.match(line) and not read_code(line)[0]]
    lines = [*named_causes(log)[:4], *dict.fromkeys(marked[:6]), text.strip()]
    return " | ".join(line for line in lines if line)[:1500] or "it gave no reason"


def named_causes(log: str) -> list[str]:
    """The errors in a log, each code with its text; an inner error's text stands below its heading."""
    causes: dict[str, None] = {}
    pending = ""
    for line in log.splitlines():
        code, text = read_code(line)
        if code.startswith("E"):
            pending = code if is_heading(text) else ""
            if not pending:
                causes[f"{code}: {text}"] = None
        elif pending and line.strip() and not begins_traceback(line):
            causes[f"{pending}: {line.strip()}"] = None
            pending = ""
    return list(causes)


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


_EXECUTION_CODES = {
    "507015": "an exception in the AI core", "507016": "a trap in the AI core", "507018": "an exception in the AI CPU",
    "507035": "an exception in the vector core", "507036": "a trap in the vector core",
    "507011": "the execution of the model failed",
}  # fmt: skip
"""Return values of a model that began to run, the most telling first."""

_TIMEOUT_CODES = {
    "507014": "the AI core did not end in time", "507034": "the vector core did not end in time",
    "507017": "the AI CPU did not end in time", "507046": "the stream did not end in time",
    "507047": "an event did not come in time",
}  # fmt: skip

_DRIVER_CODES = {
    "507899": "an internal error of the driver", "507010": "the task scheduler's heartbeat was lost",
    "507009": "a task of a type that the device does not know", "507001": "an internal error of the task scheduler",
}  # fmt: skip


def _pattern_of(codes: Mapping[str, str]) -> str:
    return "|".join(rf"(?<!\d){code}(?!\d)" for code in codes)


def _execution(match: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    """A model that began to run and failed: what one for another chip ends in, but not that alone."""
    here = _chips_here()
    if not context.soc_version or (here and context.soc_version not in here):
        return _another_chip(match, context, detail)
    code = next(code for code in _EXECUTION_CODES if re.search(_pattern_of({code: ""}), match.string))
    return EngineError(
        f"device {context.device} failed while it ran {str(context.model)!r} (error {code}, {_EXECUTION_CODES[code]}): "
        f"if the chip is no {context.soc_version} ('npu-smi info' shows it), convert the model for it; else with fewer "
        "gears, another --precision-mode or --rank, or a CANN that fits the driver; the vendor's log is in "
        f"~/ascend/log ({detail})"
    )


def _late(match: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    return EngineError(
        f"device {context.device} did not end a run of {str(context.model)!r} (error {match[0]}, "
        f"{_TIMEOUT_CODES[match[0]]}): end what else runs there ('npu-smi info'), or convert with shorter gears or a "
        f"smaller --batch ({detail})"
    )


def _driver(match: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    return EngineError(
        f"the driver of device {context.device} failed (error {match[0]}, {_DRIVER_CODES[match[0]]}): look at its "
        "health in 'npu-smi info', compare the driver's release with that of CANN, convert the model again with that; "
        f"reset the device or start the machine anew if that does not help ({detail})"
    )


def _device(_: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    here = _chips_here()
    found = f"npu-smi shows {here}" if here else "'npu-smi info -m' lists what is there"
    return EngineUnavailable(
        f"Ascend device {context.device} cannot be opened: there is none of that number, another process has it, or "
        f"this user or container has no access (group HwHiAiUser; /dev/davinci{context.device} in the container); "
        f"{found} ({detail})"
    )


def _path_rules(match: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
    """A path that `check_path` let pass: the file was changed since, or the rules were."""
    backend = "ais_bench" if "om path" in match[0] else "aclruntime"
    return EngineError(
        f"{backend} does not accept the path {str(context.model)!r}: "
        + (
            illegal_path(context.model, backend)
            or f"it wants a plain file, not writable by others, with letters, digits and _ . / - only ({detail})"
        )
    )


def _said(error: type[EngineError], text: str) -> Callable[[re.Match[str], DeviceContext, str], EngineError]:
    def explain(_: re.Match[str], context: DeviceContext, detail: str) -> EngineError:
        return error(f"{text.format(model=repr(str(context.model)), device=context.device)} ({detail})")

    return explain


_EXPLANATIONS: tuple[tuple[str, Callable[[re.Match[str], DeviceContext, str], EngineError]], ...] = (
    (r"om path:.*is illegal|please check model path", _path_rules),
    (
        r"is lower,? please update|has no attribute '(session_options|InferenceSession|InferSession)'",
        _said(EngineUnavailable, f"aclruntime and ais_bench are of different versions: {INSTALL_HINT}"),
    ),
    (
        r"[Mm]odel soc version is not support|(?i:soc[_ ]?version).*not (?:match|support)"
        # Two chips in one text: CANN 8 names what the model is for, and what is here.
        r"|(?m:^)(?=[^\n]*(?i:soc[_ ]?version))[^\n]*\b(Ascend\d{3}[\w-]*)(?![\w-])[^\n]*\b(?!\1(?![\w-]))Ascend\d{3}",
        _another_chip,
    ),
    (
        r"opp version of the model does not match",
        _said(
            EngineError,
            "{model} was converted with a newer CANN than this machine has: convert it here, or update CANN",
        ),
    ),
    (
        r"\b207001\b|\b207018\b|\bEL0004\b|[Mm]emory allocation (failed|error)|[Ff]ailed to allocate memory",
        _said(
            EngineError,
            "device {device} has too little free memory for {model}: end what else runs there ('npu-smi info'), or "
            "convert with a smaller --batch or shorter --mel-len",
        ),
    ),
    (
        r"\bEL0005\b|[Rr]esources are busy|device is used|-8020",
        _said(
            EngineUnavailable,
            "Ascend device {device} is in use, by another process or container: end that ('npu-smi info' lists "
            "processes), or name another with --device",
        ),
    ),
    (
        r"\bE39009\b|[Ff]ailed to connect the device",
        _said(
            EngineUnavailable,
            "Ascend device {device} does not answer (its heartbeat is lost): look at its health in 'npu-smi info'; "
            "reset the device or start the machine anew",
        ),
    ),
    (r"open device \d+ failed|\b507033\b|\bEL0003\b|\bEL003\b", _device),
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
        r"\b3011\b|find outputsize is zero",
        _said(EngineError, "{model} has true dynamic shapes, which are not run: convert it with gears (--mel-len)"),
    ),
    (
        r"[Ll]oad model from file failed|LoadModelFromFile|\b14500[06]\b|[Ii]nvalid om file",
        _said(
            EngineError,
            "the Ascend runtime cannot load {model}: it is damaged, was converted by a newer CANN, or for another "
            "chip; convert it again on this machine with 'hifigan export om'",
        ),
    ),
    (_pattern_of(_TIMEOUT_CODES), _late),
    (_pattern_of(_EXECUTION_CODES), _execution),
    (_pattern_of(_DRIVER_CODES), _driver),
)
"""What is printed, with the error that it becomes; the first that fits counts, the most telling come first."""
