"""What is to be measured: engines with their settings, times precisions, each under a name of its own."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hifigan_rt.engines import AUTO_ORDER, REGISTRY, check_engine, check_settings, engines_for, why_unavailable
from hifigan_rt.errors import EngineError, EngineUnavailable, did_you_mean
from hifigan_rt.model.kinds import ModelKind

ALL = "all"
_NEVER_IN_ALL = "reference"
"""Name of the float64 reference, which takes minutes."""
_OWN_KEYS = ("precision", "device")
"""What may stand among an engine's settings here, for one candidate alone."""

NO_PROCESSOR = re.compile(r"npu|cuda|gpu|cann|mps|xpu|\w*tensorrt", re.IGNORECASE)
"""Devices whose speed the threads of the processor do not decide, as engines name them."""


@dataclass(frozen=True)
class CandidateOptions:
    """One row of every case."""

    name: str
    """Unique: "openvino", "openvino bfloat16", "native#2", "torch:mode=compiled"."""
    engine: str
    precision: str
    device: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    named: bool = True
    """The user named it; what "all" adds may fail without the run failing."""
    unavailable: str | None = None
    """Why it cannot even be tried."""

    @property
    def uses_threads(self) -> bool:
        """Whether the threads of the processor decide its speed, as far as what is asked for tells."""
        device = self.device or self.settings.get("execution_provider", "")
        return REGISTRY[self.engine].uses_threads and NO_PROCESSOR.match(device) is None


@dataclass(frozen=True)
class _EngineRequest:
    """One entry of --engines."""

    text: str
    engine: str
    settings: dict[str, str]
    named: bool


def plan_candidates(
    engines: Sequence[str],
    precisions: Sequence[str],
    kind: ModelKind,
    *,
    device: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> list[CandidateOptions]:
    """Multiply engines by precisions.

    Args:
        engines: names, each with settings of its own after colons ("torch:mode=compiled", "torch:device=cuda:1"); may
            come twice; "all" stands for every engine that can run the model here, but the reference.
        precisions: for the engines that do not name their own.
        kind: what the model is.
        device: for the engines that know devices and do not name their own.
        settings: for the engines that know them and do not name their own.

    Raises:
        EngineError: an engine, a precision or a setting is misspelt, or knows no such value; the nearest is suggested.
        EngineUnavailable: no engine is left.
    """
    shared = dict(settings or {})
    requests = [request for text in engines for request in _requests(text, kind)]
    _check_precisions(
        [*precisions, *(request.settings["precision"] for request in requests if "precision" in request.settings)]
    )
    for request in requests:
        check_settings(request.engine, {key: value for key, value in request.settings.items() if key not in _OWN_KEYS})
    _check_shared(shared, device, requests)
    candidates = []
    for request in requests:
        entry = REGISTRY[request.engine]
        offered = [name for name in precisions if request.named or name in entry.precisions]
        for precision in [request.settings["precision"]] if "precision" in request.settings else offered:
            own = {key: value for key, value in request.settings.items() if key not in _OWN_KEYS}
            candidates.append(
                CandidateOptions(
                    request.text
                    if precision in ("float32", request.settings.get("precision"))
                    else f"{request.text} {precision}",
                    request.engine,
                    precision,
                    request.settings.get("device") or (device if entry.devices else None),
                    {key: value for key, value in shared.items() if key in entry.settings} | own,
                    request.named,
                    _why_not(request.engine, kind),
                )
            )
    if not candidates:
        raise EngineUnavailable(
            f"no engine can run {kind.plural} in {' or '.join(precisions)} here: 'hifigan engines' says what is missing"
        )
    return _numbered(candidates)


def check_names(engines: Sequence[str]) -> None:
    """Check the spelling of engines, before anything else is read; what is not installed passes.

    Raises:
        EngineError: no engine of that name; the nearest is suggested.
    """
    for text in engines:
        name = text.partition(":")[0]
        if name != ALL:
            with contextlib.suppress(EngineUnavailable):
                check_engine(name)


def _requests(text: str, kind: ModelKind) -> list[_EngineRequest]:
    name, *pairs = text.split(":")
    settings: dict[str, str] = {}
    key = ""
    for pair in pairs:
        if "=" not in pair and key:
            settings[key] += f":{pair}"  # a value with a colon of its own: device=cuda:0
            continue
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise EngineError(f"engine {text!r}: {pair!r} is not KEY=VALUE, as in torch:mode=compiled")
        settings[key] = value
    if name != ALL:
        return [_EngineRequest(text, _checked_name(name, kind), settings, named=True)]
    if settings:
        raise EngineError(
            f"engine {text!r}: settings belong to one engine; --engine-option gives them to all that know them"
        )
    able = [name for name, entry in REGISTRY.items() if entry.takes(kind) and why_unavailable(name) is None]
    # The engine that "auto" takes first: it is the one that ratios are taken of.
    able.sort(key=lambda name: AUTO_ORDER.index(name) if name in AUTO_ORDER else len(AUTO_ORDER))
    return [_EngineRequest(name, name, {}, named=False) for name in able if name != _NEVER_IN_ALL]


def _checked_name(name: str, kind: ModelKind) -> str:
    """An engine's name, "auto" resolved; one that is known but not installed passes."""
    check_names([name])
    if name != "auto":
        return name
    able = [candidate for candidate in AUTO_ORDER if REGISTRY[candidate].takes(kind)]
    return next(
        (candidate for candidate in able if why_unavailable(candidate) is None), able[0] if able else AUTO_ORDER[0]
    )


def _why_not(engine: str, kind: ModelKind) -> str | None:
    if not REGISTRY[engine].takes(kind):
        return f"engine {engine!r} does not run {kind.plural}: {', '.join(engines_for(kind)) or 'no engine'} would"
    return why_unavailable(engine)


def _check_precisions(precisions: Sequence[str]) -> None:
    """What one engine lacks is told in its row; what no engine has is a slip of the pen."""
    known = list(dict.fromkeys(name for entry in REGISTRY.values() for name in entry.precisions))
    for name in precisions:
        if name not in known:
            raise EngineError(f"precision {name!r} is not known: choose {', '.join(known)}{did_you_mean(name, known)}")


def _check_shared(shared: Mapping[str, str], device: str | None, requests: Sequence[_EngineRequest]) -> None:
    """What is meant for all must be known to one at least."""
    engines = list(dict.fromkeys(request.engine for request in requests))
    for key, value in shared.items():
        knowing = [name for name in engines if key in REGISTRY[name].settings]
        if not knowing:
            raise EngineError(f"--engine-option {key}={value}: none of {', '.join(engines)} has such a setting")
        for name in knowing:
            check_settings(name, {key: value})
    if device is not None and not any(REGISTRY[name].devices for name in engines):
        raise EngineError(f"--device {device}: {', '.join(engines)} run on the CPU only and take no device")


def _numbered(candidates: Sequence[CandidateOptions]) -> list[CandidateOptions]:
    """Tell candidates of one name apart."""
    seen: Counter[str] = Counter()
    numbered = []
    for candidate in candidates:
        seen[candidate.name] += 1
        count = seen[candidate.name]
        name = candidate.name if count == 1 else f"{candidate.name}#{count}"
        numbered.append(replace(candidate, name=name))
    return numbered
