"""`hifigan engines`: what can run a model here."""

from __future__ import annotations

from typing import Any

import click

from hifigan_rt.system.versions import installed_versions
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import json_option, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand


@click.command(cls=StrictCommand)
@json_option
@verbosity_options
@click.pass_obj
def engines(console: Console, as_json: bool) -> None:
    """List what can run a model here.

    And why the other engines cannot.

    \b
    Example:
      hifigan engines
    """
    from hifigan_rt.engines import AUTO_ORDER, REGISTRY, why_unavailable

    reasons = {name: why_unavailable(name) for name in REGISTRY}
    automatic = next((name for name in AUTO_ORDER if reasons[name] is None), None)
    isas, native = _native_facts(reasons) if reasons["native"] is None else ([], None)
    _add_wrong_kernels(reasons)
    rows = [
        {
            "name": name,
            "summary": entry.summary,
            "available": reasons[name] is None,
            "reason": reasons[name],
            "versions": installed_versions(entry.packages),
            "automatic": name == automatic,
            "runs": [kind.key for kind in entry.runs],
            "precisions": list(entry.precisions),
            "devices": entry.devices,
            "settings": {key: list(choices) for key, choices in entry.settings.items()},
        }
        for name, entry in REGISTRY.items()
    ]
    if as_json:
        console.result({"engines": rows, "isas": isas, "native": native})
        return
    for name, entry in REGISTRY.items():
        chosen = " (what --engine auto takes)" if name == automatic else ""
        console.line(f"{name}: {entry.summary}{chosen}")
        packages = ", ".join(f"{package} {number}" for package, number in installed_versions(entry.packages).items())
        console.line(f"  available  {'yes' if reasons[name] is None else f'no: {reasons[name]}'}")
        if packages:
            console.line(f"  versions   {packages}")
        console.line(f"  runs       {', '.join(kind.plural for kind in entry.runs)}")
        console.line(f"  precision  {entry.precision_of_file or ', '.join(entry.precisions)}")
        if entry.devices:
            console.line(f"  --device   {entry.devices}")
        for key, choices in entry.settings.items():
            console.line(f"  --engine-option {key}={'|'.join(choices) or 'VALUE'}")
    console.line(f"instruction sets of this machine that the native code knows: {', '.join(isas) or 'none'}")
    if native is not None:
        _show_native(console, native)


def _show_native(console: Console, native: dict[str, Any]) -> None:
    console.line(f"  used       {native['isa']} (HIFIGAN_RT_ISA names another)")
    cache = f"second cache of a core {native['second_cache_bytes'] >> 10} KiB"
    console.line(f"  tuning     {native['tuning']}: {native['tuning_reason']}; {cache}")
    console.line(
        f"  others     {', '.join(name for name in native['tunings'] if name != native['tuning'])} (HIFIGAN_RT_TUNING)"
    )
    why = native["why_no_tile_unit"]
    console.line(f"  tile unit  {f'none: {why}' if why else 'used in precisions bfloat16 and bfloat16x3'}")
    if native["warning"]:
        console.note(f"warning: {native['warning']}")


def _add_wrong_kernels(reasons: dict[str, str | None]) -> None:
    from hifigan_rt.engines.cuda_kernels import named_set
    from hifigan_rt.errors import EngineError

    try:
        named_set()
    except EngineError as error:
        reasons["cuda"] = "; ".join(filter(None, (str(error), reasons["cuda"])))


def _native_facts(reasons: dict[str, str | None]) -> tuple[list[str], dict[str, Any] | None]:
    """What the processor offers to the native engine, and what the engine takes of it; measures for 0.1 s.

    It takes nothing where a variable names what is not there: that becomes its reason.
    """
    import os
    import warnings

    from hifigan_rt import _native
    from hifigan_rt.engines.native import ISA_VARIABLE, SOFTWARE_TILES, choose_isa
    from hifigan_rt.engines.native_tuning import choose_tuning, slow_text
    from hifigan_rt.errors import EngineUnavailable, SlowEngineWarning

    isas = list(_native.supported_isas())
    try:
        isa = choose_isa("bfloat16" if os.environ.get(ISA_VARIABLE) == SOFTWARE_TILES else "float32")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowEngineWarning)
            choice = choose_tuning(isa)
    except EngineUnavailable as error:
        reasons["native"] = str(error)
        return isas, None
    return isas, {
        "isas": isas,
        "isa": isa,
        "why_no_tile_unit": _native.request_tiles(isa) or None,
        "second_cache_bytes": _native.second_cache_bytes(),
        "tunings": list(_native.tunings()),
        "tuning": choice.name,
        "tuning_reason": choice.reason,
        "tuning_seconds": dict(choice.seconds),
        "direct_seconds": choice.direct_seconds,
        "warning": slow_text(isa, choice) if choice.slow else None,
    }
