"""`hifigan info --plan`: how the native engine computes each layer, as facts and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from hifigan_rt.engines.native import NativeEngine
    from hifigan_rt.model.kinds import Model
    from hifigan_rt.tools.cli.console import Console


def plan_of(model: Model, measure: bool) -> dict[str, Any]:
    """The native engine's plan for whole mels.

    Raises:
        EngineError: the native engine does not run such a model.
    """
    import dataclasses

    from hifigan_rt.engines import create_engine
    from hifigan_rt.engines.base import EngineOptions

    engine = cast("NativeEngine", create_engine("native", model, EngineOptions()))
    try:
        layers = engine.measured_plan() if measure else engine.plan()
        return {
            "engine": dataclasses.asdict(engine.info),
            "weight_bytes": engine.weight_bytes,
            "plan": [dataclasses.asdict(layer) for layer in layers],
        }
    finally:
        engine.close()


def show_plan(console: Console, facts: dict[str, Any]) -> None:
    """Print the plan, a row per layer; times are per segment, predicted ones for one thread."""
    info, layers = facts["engine"], facts["plan"]
    measured = layers[0]["measured_us"] is not None
    console.line(
        f"plan on {info['device']}, {info['variant']}, {facts['weight_bytes'] / 1e6:.0f} MB of packed weights:"
    )
    heading = f"  {'layer':<26}{'algorithm':<11}{'rows':>8}{'at a time':>11}{'weights MB':>12}{'predicted us':>14}"
    console.line(heading + (f"{'us on ' + str(info['threads']) + ' threads':>19}" if measured else ""))
    for layer in layers:
        row = (
            f"  {layer['layer']:<26}{layer['algorithm']:<11}{layer['rows']:>8}{layer['block_rows']:>11}"
            f"{layer['weight_bytes'] / 1e6:>12.2f}{layer['predicted_us']:>14.0f}"
        )
        console.line(row + (f"{layer['measured_us']:>19.0f}" if measured else ""))
    total = f"  {'sum':<26}{'':<11}{'':>8}{'':>11}{'':>12}{sum(layer['predicted_us'] for layer in layers):>14.0f}"
    console.line(total + (f"{sum(layer['measured_us'] for layer in layers):>19.0f}" if measured else ""))
