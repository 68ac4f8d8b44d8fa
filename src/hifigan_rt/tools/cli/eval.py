"""`hifigan eval`: how good does it sound, in figures that compare with published ones?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import (
    CHECKPOINT,
    ENGINE_CHOICE,
    check_cluster_options,
    checkpoint_options,
    cluster_options,
    engine_choice,
    input_options,
    json_option,
    mel_at_option,
    parse_names,
    parse_settings,
    picked,
    refuse_urls,
    run_options,
    speaker_options,
    verbosity_options,
)
from hifigan_rt.tools.cli.strict import StrictCommand, recorded_command

if TYPE_CHECKING:
    from hifigan_rt.tools.evaluation.on_cluster import EvaluationCluster
    from hifigan_rt.tools.evaluation.results import EvaluationResult
    from hifigan_rt.tools.evaluation.run import Plan
    from hifigan_rt.tools.evaluation.systems import SystemSpec


def _limits(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """METRIC=VALUE, each metric once."""
    limits = {}
    for key, text in parse_settings(ctx, parameter, values).items():
        try:
            limits[key] = float(text)
        except ValueError:
            limits[key] = math.nan
        if not math.isfinite(limits[key]):
            raise click.BadParameter(f"{key}={text!r}: the limit must be a number, as in stoi=0.95")
    return limits


@click.command(cls=StrictCommand)
@click.option(
    "--model", shell_complete=completion.models, metavar="NAME|PATH",
    help="What is evaluated: a known model, a checkpoint, a converted model, or a folder with one.",
)  # fmt: skip
@click.option(
    "--generated", type=click.Path(path_type=Path), metavar="FOLDER", help="Or: audio that any other system made."
)
@click.option(
    "--dataset", "--reference", "data", shell_complete=completion.files, multiple=True, metavar="PATH",
    help="The recordings: an LJSpeech folder, a folder, files; may be given again.",
)  # fmt: skip
@click.option(
    "--mels", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Predicted mels, named like the clips, to start from instead of the recordings' own.",
)  # fmt: skip
@click.option("--time-major", is_flag=True, help="The mel files hold [T, M] instead of [M, T].")
@mel_at_option
@click.option(
    "--compare", "compared", shell_complete=completion.systems, multiple=True, metavar="SYSTEM",
    help="Another system on the same clips: ENGINE, MODEL, or KEY=VALUE,... with name, model, weights_at, family, "
    "config, speaker, conditioning, engine, precision, device, threads, mels, folder, or a setting of the engine; may "
    "be given again.",
)  # fmt: skip
@click.option(
    "--metrics", shell_complete=completion.metrics, callback=parse_names, metavar="NAME,...",
    help="Or all [default: all that can be computed here but SI-SDR and SNR].",
)  # fmt: skip
@click.option(
    "--min", "minima", shell_complete=completion.limits, multiple=True, callback=_limits, metavar="METRIC=VALUE",
    help="Exit with 1 if the mean of any system is below; may be given again.",
)  # fmt: skip
@click.option(
    "--max",
    "maxima",
    shell_complete=completion.limits,
    multiple=True,
    callback=_limits,
    metavar="METRIC=VALUE",
    help="The same if it is above.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only N clips, drawn at random.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draw and of the bootstrap."
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes [default: the physical cores].")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER",
    help="Gets report.html, report.json, clips.csv and all audio.",
)  # fmt: skip
@checkpoint_options
@speaker_options
@engine_choice
@input_options
@run_options
@cluster_options
@json_option
@verbosity_options
@click.pass_context
def eval(ctx: click.Context, /, **values: Any) -> int:
    """Measure how close generated speech is to recordings, and how good by itself.

    A model makes each recording anew from its mel, as synth does; every clip is measured, and systems are compared on
    the same clips. The exit status is 1 if a limit of --min or --max is broken, or a clip could not be evaluated.

    \b
    Examples:
      hifigan eval --model ljspeech-v1 --dataset LJSpeech-1.1 --split validation --limit 150 -o report
      hifigan eval --model g_02500000 --dataset recordings --compare openvino,precision=bfloat16 -o report
      hifigan eval --reference recordings --generated made --config v1 --min stoi=0.95 --max mel_l1=0.25 -o report
    """
    from hifigan_rt.tools.evaluation.output import no_page, write_results
    from hifigan_rt.tools.evaluation.run import evaluate

    console: Console = ctx.obj
    if values["resume"] and values["overwrite"]:
        raise click.UsageError("--resume keeps what is finished and --overwrite does not: give one of them")
    if values["mels"] is None and (values["time_major"] or values["mel_at"] is not None):
        raise click.UsageError("--time-major and --mel-at are for the files of --mels: give it, or leave them out")
    check_cluster_options(values)
    refuse_urls([*values["data"], values["generated"], values["mels"], values["output"]])
    plan = _plan(values, recorded_command(ctx))
    written: list[Path] = []
    try:
        with _cluster(console, values) as cluster:
            result = evaluate(
                plan, values["output"], resume=values["resume"], overwrite=values["overwrite"],
                sounds=no_page() is None, failed=console.failure_now, cluster=cluster,
                progress=lambda label, steps: console.steps(label, steps, values["progress"]),
                finish=lambda result: written.extend(write_results(result, values["output"])),
            )  # fmt: skip
    except KeyboardInterrupt:
        # Its files go on from there; means of some of the clips would be none of the evaluation.
        if values["as_json"]:
            console.no_result()
        raise
    _report(console, result, written, values["output"], as_json=values["as_json"])
    return 0 if result.complete and result.passed else 1


@contextmanager
def _cluster(console: Console, values: dict[str, Any]) -> Iterator[EvaluationCluster | None]:
    if not values["on_ray"]:
        yield None
        return
    from hifigan_rt.tools.cluster.connection import connected
    from hifigan_rt.tools.evaluation.on_cluster import EvaluationCluster

    with console.foreign_output(), connected(values["ray_address"]) as ray:
        yield EvaluationCluster(ray, console.note)


def _plan(values: dict[str, Any], command: str) -> Plan:
    from hifigan_rt.tools.bulk.long_clips import ReadSettings
    from hifigan_rt.tools.evaluation.run import Plan
    from hifigan_rt.tools.evaluation.systems import distinct, parse_system

    first = _first_system(values)
    return Plan(
        systems=distinct([first, *(parse_system(text, first) for text in values["compared"])]),
        data=values["data"],
        split=values["split"],
        recursive=values["recursive"],
        limit=values["limit"],
        seed=values["seed"],
        reading=ReadSettings(
            values["resample"], values["mono"], values["max_seconds"], values["time_major"], values["mel_at"]
        ),
        config=values["config"],
        metrics=values["metrics"],
        minima=values["minima"],
        maxima=values["maxima"],
        jobs=values["jobs"],
        command=command,
    )


def _first_system(values: dict[str, Any]) -> SystemSpec:
    from hifigan_rt.tools.evaluation.systems import folder_system, model_system

    if (values["model"] is None) == (values["generated"] is None):
        raise click.UsageError("give either --model, or --generated with audio that is made already")
    keys = (*CHECKPOINT, "speaker", "conditioning", *ENGINE_CHOICE, "mels")
    if values["model"] is None:
        made = folder_system(values["generated"])
        # Not the config, which says how the mels of the metrics are computed.
        useless = [key for key in keys if key != "config" and values[key] != getattr(made, key)]
        if useless:
            option = "engine-option" if useless[0] == "settings" else useless[0].replace("_", "-")
            raise click.UsageError(
                f"--{option} is for a model, and --generated is made already: leave it out, or give it to a model of "
                "--compare"
            )
        return made
    return model_system(values["model"], **picked(values, keys))


def _report(
    console: Console, result: EvaluationResult, written: Sequence[Path], folder: Path, *, as_json: bool
) -> None:
    from hifigan_rt.tools.evaluation.output import no_page
    from hifigan_rt.tools.evaluation.results import JSON_NAME, to_json
    from hifigan_rt.tools.evaluation.table import failures, remarks, to_text

    if as_json:
        console.result(to_json(result))
    elif console.verbosity >= 0:
        console.line(to_text(result).rstrip())
    console.notes(list(remarks(result)))
    reason = no_page()
    if reason is not None:
        console.note(f"note: {reason}")
    console.note(f"in {str(folder)!r}: {', '.join(path.name for path in written)}")
    console.failures(failures(result), folder / JSON_NAME)
