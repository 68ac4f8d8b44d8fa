"""`hifigan info --plan --engine cuda`: which kernels compute which layers on a card, as facts and as a table."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from hifigan_rt.engines.cuda import CudaEngine
    from hifigan_rt.engines.cuda_launches import CardPlan
    from hifigan_rt.graph import Graph
    from hifigan_rt.model.kinds import Model
    from hifigan_rt.tools.cli.console import Console

_MEASURED = ((16, 250), (1, 250))
"""Items and frames that `--measure` times."""
_SHOWN_LAYERS = 2


def card_plan_of(model: Model, measure: bool, precision: str) -> dict[str, Any]:
    """The plan of engine cuda, which needs no card; measured on the first card.

    Raises:
        EngineError: the engine does not run such a model.
        PrecisionUnavailable: it does not compute in that precision.
        EngineUnavailable: it is to be measured, and there is no card, driver or kernels.
    """
    from hifigan_rt.engines import check_takes
    from hifigan_rt.engines.cuda_plan import build_plan
    from hifigan_rt.model.kinds import Weights

    weights = check_takes("cuda", model, precision)
    assert isinstance(weights, Weights)  # noqa: S101 - it takes nothing else
    graph = weights.generator.graph
    if not measure:
        return _facts(build_plan(weights.generator, precision), graph)
    return _measured(weights, precision)


def _measured(model: Model, precision: str) -> dict[str, Any]:
    import numpy as np

    from hifigan_rt.engines import check_engine, create_engine
    from hifigan_rt.engines.base import EngineOptions

    check_engine("cuda")
    with closing(cast("CudaEngine", create_engine("cuda", model, EngineOptions(precision=precision)))) as engine:
        assert model.graph is not None  # noqa: S101 - weights have layers
        facts = _facts(engine.plan, model.graph)
        facts["engine"] = {"device": engine.info.device, "version": engine.info.version, "caveat": engine.info.caveat}
        mel = np.random.default_rng(0).uniform(-11.5, 2.0, (model.graph.num_mels, max(f for _, f in _MEASURED)))
        for items, frames in _MEASURED:
            steps = engine.step_times([mel[:, :frames].astype(np.float32)] * items)
            kernels = [us for name, us in steps if name not in ("copies", "enter", "carry")]
            for row, us in zip(facts["plan"], kernels, strict=True):
                row[f"us_{items}_x_{frames}"] = us
            facts[f"us_{items}_x_{frames}"] = sum(us for _, us in steps)
    return facts


def _facts(plan: CardPlan, graph: Graph) -> dict[str, Any]:
    macs = {layer.name: count for layer, count in graph.macs_of_layers()}
    rows = []
    for launch in plan.launches:
        layers = [name for branch in launch.branches for name in plan.names_of(launch, branch)]
        rows.append(
            {
                "kernel": launch.kernel,
                "layers": layers,
                "positions": launch.positions,
                "columns": [branch.columns for branch in launch.branches],
                "shared_bytes": launch.shared_bytes,
                "macs_per_frame": sum(macs[name] for name in layers),
            }
        )
    return {
        "plan": rows,
        "weight_bytes": len(plan.weights),
        "state_bytes": plan.state_bytes,
        "working_bytes_per_frame": plan.bytes_per_frame(),
    }


def show_card_plan(console: Console, facts: dict[str, Any], precision: str) -> None:
    """Print the plan, a row for each launch."""
    times = [f"us_{items}_x_{frames}" for items, frames in _MEASURED if f"us_{items}_x_{frames}" in facts]
    console.line(
        f"plan of engine cuda in {precision}: {len(facts['plan'])} launches for any mixture of mels and streams, "
        f"{facts['weight_bytes'] / 1e6:.0f} MB of packed weights, "
        f"{facts['working_bytes_per_frame'] / 1e3:.0f} KB for each frame of a pass, "
        f"{facts['state_bytes'] / 1e3:.0f} KB for each stream:"
    )
    heading = f"  {'kernel':<26}{'layers':<50}{'positions':>10}{'columns':>9}{'KB':>5}{'MMAC/frame':>12}"
    console.line(
        heading + "".join(f"{time[3:].replace('_', ' '):>12}" for time in times) + ("  TMAC/s" if times else "")
    )
    for row in facts["plan"]:
        names = row["layers"]
        more = f" and {len(names) - _SHOWN_LAYERS} more" if len(names) > _SHOWN_LAYERS else ""
        line = (
            f"  {row['kernel']:<26}{', '.join(names[:_SHOWN_LAYERS]) + more:<50}{row['positions'][0]:>10}"
            f"{row['columns'][0]:>9}{row['shared_bytes'] / 1024:>5.0f}{row['macs_per_frame'] / 1e6:>12.2f}"
        )
        line += "".join(f"{row[time]:>12.1f}" for time in times)
        if times:
            items, frames = _MEASURED[0]
            line += f"{row['macs_per_frame'] * items * frames / row[times[0]] / 1e6:>8.1f}"
        console.line(line)
    for time in times:
        console.line(f"us with copies, {time[3:].replace('_', ' ')} frames: {facts[time]:.0f}")
    if times:
        console.line(
            f"measured on {facts['engine']['device']}, CUDA {facts['engine']['version']}: {facts['engine']['caveat']}"
        )
