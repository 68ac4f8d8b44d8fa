"""`hifigan info --plan`: how the native engine computes each layer, as facts and as a table."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from hifigan_rt.engines.native import NativeEngine
    from hifigan_rt.model.kinds import Model
    from hifigan_rt.tools.cli.console import Console


def plan_of(model: Model, measure: bool, precision: str = "float32") -> dict[str, Any]:
    """The native engine's plan for whole mels; measured on one thread, with what the processor allows beside it.

    Raises:
        EngineError: the native engine does not run such a model.
        PrecisionUnavailable: it does not compute in that precision here.
    """
    import dataclasses

    # One thread: the time of several cannot be told from their waiting for each other on a busy machine.
    threads = 1 if measure else None
    with _engine(model, threads, precision, {}) as engine:
        layers = engine.measured_plan() if measure else engine.plan()
        facts: dict[str, Any] = {
            "engine": dataclasses.asdict(engine.info),
            "weight_bytes": engine.weight_bytes,
            "plan": [dataclasses.asdict(layer) for layer in layers],
        }
        if not measure:
            return facts
        speed = _multiply_adds(engine)
        facts["tuning"] = engine.tuning
    for layer in facts["plan"]:
        layer["share"] = layer["products"] / (layer["measured_us"] * 1e-6 * speed)
    measured_us = sum(layer["measured_us"] for layer in facts["plan"])
    facts["measured"] = {
        "us": measured_us,
        "multiply_adds_per_second": speed,
        "share": sum(layer["products"] for layer in facts["plan"]) / (measured_us * 1e-6 * speed),
    }
    if precision != "float32":
        return facts  # tiles are multiplied directly, whatever the plan
    if all(layer["algorithm"] == "direct" for layer in facts["plan"]):
        facts["measured"]["verdict"] = "direct convolution in every layer: no other way was foreseen to be faster"
    else:
        with _engine(model, threads, precision, {"plan": {"*": "direct"}}) as direct:
            direct_us = sum(layer.measured_us or 0.0 for layer in direct.measured_plan(rounds=2))
        facts["measured"] |= {"direct_us": direct_us, "verdict": verdict(measured_us, direct_us)}
    return facts


def verdict(measured_us: float, direct_us: float) -> str:
    """What the two times say: a plan does fewer products than direct convolution, so that it must be faster."""
    if measured_us < direct_us:
        return f"{direct_us / measured_us:.1f} times as fast as the same network by direct convolution, as it should be"
    return (
        f"SLOWER than the same network by direct convolution ({measured_us / direct_us:.1f} times its time): it gains "
        "nothing on this machine; compare engines with 'hifigan bench', try another HIFIGAN_RT_TUNING, and report "
        "the processor"
    )


def _engine(model: Model, threads: int | None, precision: str, settings: dict[str, Any]) -> closing[NativeEngine]:
    from hifigan_rt.engines import create_engine
    from hifigan_rt.engines.base import EngineOptions

    options = EngineOptions(threads=threads, precision=precision, settings=settings)
    return closing(cast("NativeEngine", create_engine("native", model, options)))


def _multiply_adds(engine: NativeEngine) -> float:
    """Multiply-adds per second that the engine's threads can do together: the best of some rounds."""
    from hifigan_rt._native import measure_multiply_adds

    return max(measure_multiply_adds(engine.isa, engine.info.threads, 0.05, engine.info.precision) for _ in range(5))


def show_plan(console: Console, facts: dict[str, Any]) -> None:
    """Print the plan, a row per layer; times are per segment, predicted ones for one thread."""
    info, layers, measured = facts["engine"], facts["plan"], facts.get("measured")
    console.line(
        f"plan on {info['device']} in {info['precision']}, {info['variant']}, {facts['weight_bytes'] / 1e6:.0f} MB of "
        "packed weights:"
    )
    heading = f"  {'layer':<26}{'algorithm':<11}{'format':<11}{'rows':>8}{'at a time':>11}{'weights MB':>12}"
    heading += f"{'predicted us':>14}"
    console.line(heading + (f"{'us on 1 thread':>16}{'share':>8}" if measured else ""))
    for layer in layers:
        row = (
            f"  {layer['layer']:<26}{layer['algorithm']:<11}{layer['format']:<11}{layer['rows']:>8}"
            f"{layer['block_rows']:>11}{layer['weight_bytes'] / 1e6:>12.2f}{layer['predicted_us']:>14.0f}"
        )
        console.line(row + (f"{layer['measured_us']:>16.0f}{layer['share']:>8.0%}" if measured else ""))
    total = (
        f"  {'sum':<26}{'':<11}{'':<11}{'':>8}{'':>11}{'':>12}{sum(layer['predicted_us'] for layer in layers):>14.0f}"
    )
    if not measured:
        console.line(total)
        return
    console.line(total + f"{measured['us']:>16.0f}{measured['share']:>8.0%}")
    speed = f"{measured['multiply_adds_per_second'] / 1e9:.0f} billion multiply-adds per second"
    console.line(f"share: products done over what the processor can do in that time, {speed}; tuning {facts['tuning']}")
    if "verdict" in measured:
        console.line(f"the plan is {measured['verdict']}")
