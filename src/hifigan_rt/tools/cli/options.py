"""Options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hifigan_rt.tools.cli import completion

if TYPE_CHECKING:
    import numpy as np

    from hifigan_rt.tools.cli.console import Console

F = TypeVar("F", bound=Callable[..., Any])

CHECKPOINT = ("config", "weights_at", "family")
ENGINE_CHOICE = ("engine", "threads", "precision", "execution_provider", "device", "settings")
ENGINE = (*ENGINE_CHOICE, "segment_frames", "plan")
"""Names of the values of `checkpoint_options`, `engine_choice` and `engine_options`, which are those of `load`."""


def chain(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    """Apply options so that --help lists them in the order given."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _change_verbosity(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
    console: Console = ctx.find_root().obj
    if value:
        console.verbosity = value if parameter.name == "verbose" else -1


verbosity_options = chain(
    click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=_change_verbosity,
        help="Say more; show the trace of an error.",
    ),
    click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_change_verbosity,
        help="Say nothing but errors.",
    ),
)  # fmt: skip

config_option = click.option(
    "--config", shell_complete=completion.configs, metavar="PATH|v1|v2|v3",
    help="The model's config.json, or a preset. By default the config.json beside the model, else its metadata.",
)  # fmt: skip

checkpoint_options = chain(
    config_option,
    click.option(
        "--weights-at", metavar="PATH",
        help="Where a checkpoint of several generators has the wanted one: its keys with dots, as in state_dict.ema.",
    ),
    click.option(
        "--family", shell_complete=completion.families, metavar="NAME",
        help="Whose reading of a checkpoint is wanted, where its names leave several, as in parallel-wavegan.",
    ),
)  # fmt: skip

model_argument = click.argument("model", shell_complete=completion.models, metavar="MODEL")

model_option = click.option(
    "--model", shell_complete=completion.models, required=True, metavar="NAME|PATH",
    help="A known model ('hifigan models'), a checkpoint, an ONNX file, or a folder with one.",
)  # fmt: skip


def output_option(metavar: str, told: str, **settings: Any) -> Callable[[F], F]:
    """Where a command's results go."""
    return click.option("-o", "--output", shell_complete=completion.files, metavar=metavar, help=told, **settings)


mel_at_option = click.option(
    "--mel-at", metavar="NAME",
    help="Which array of mel files of several is the mel: its key, or keys with dots, as in outputs.mel.",
)  # fmt: skip


speaker_options = chain(
    click.option("--speaker", metavar="NAME|ID", help="Who speaks, of a model of several ('hifigan info')."),
    click.option(
        "--conditioning", shell_complete=completion.files, metavar="FILE",
        help="Or: the vector that the model takes beside the mel, a .npy.",
    ),
)  # fmt: skip


def picked(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Take some of a command's values."""
    return {name: values[name] for name in names}


def speaker_given(values: Mapping[str, Any]) -> tuple[str | None, np.ndarray | None]:
    """Read what `speaker_options` name: a speaker, or a vector.

    Raises:
        ConditioningError: the file cannot be read.
    """
    if values["conditioning"] is None:
        return values["speaker"], None
    from hifigan_rt.mel.files import read_vector_file

    return values["speaker"], read_vector_file(values["conditioning"])


def parse_names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """NAME,NAME,..., none given as an empty tuple."""
    names = () if value is None else tuple(part.strip() for part in value.split(","))
    if not all(names):
        raise click.BadParameter(f"{value!r} names nothing at one place: give NAME or NAME,NAME")
    return names


def parse_settings(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Options of the form KEY=VALUE, each key once."""
    settings: dict[str, str] = {}
    for value in values:
        key, equals, setting = value.partition("=")
        if not key or not equals:
            hint = "; 'hifigan engines' lists what each engine knows" if parameter.name == "settings" else ""
            raise click.BadParameter(f"{value!r} is not KEY=VALUE{hint}")
        if key in settings:
            raise click.BadParameter(f"{key} is given as {settings[key]!r} and as {setting!r}: give one of them")
        settings[key] = setting
    return settings


precision_option = click.option(
    "--precision", shell_complete=completion.precisions, default="float32", show_default=True, metavar="NAME",
    help="The engine's arithmetic.",
)  # fmt: skip

engine_choice = chain(
    click.option(
        "--engine",
        shell_complete=completion.engines,
        default="auto",
        show_default=True,
        metavar="NAME",
        help="One of 'hifigan engines'.",
    ),
    click.option("--threads", type=click.IntRange(min=1), help="By default the physical cores that may be used."),
    precision_option,
    click.option(
        "--execution-provider", metavar="NAME", help="One of ONNX Runtime's, for example CUDAExecutionProvider."
    ),
    click.option("--device", metavar="NAME", help="The runtime's own name: cuda:0, GPU, or 0,1 for two NPUs."),
    click.option(
        "--engine-option",
        "settings",
        shell_complete=completion.settings,
        metavar="KEY=VALUE",
        multiple=True,
        callback=parse_settings,
        help="What only one engine knows ('hifigan engines'); may be given again.",
    ),
)

engine_options = chain(
    engine_choice,
    click.option(
        "--segment-frames", type=click.IntRange(1, 4096), help="Frames that the native engine computes together."
    ),
    click.option(
        "--plan",
        shell_complete=completion.files,
        metavar="FILE",
        help="Algorithms for the native engine, from 'hifigan info MODEL --plan --json'.",
    ),
)

input_options = chain(
    click.option("--recursive", is_flag=True, help="Look into the folders below the named ones as well."),
    click.option(
        "--split", type=click.Choice(["training", "validation"]), help="Only these clips of an LJSpeech folder."
    ),
    click.option("--resample", is_flag=True, help="Convert recordings of another sample rate than the model's."),
    click.option("--mono", is_flag=True, help="Average the channels of recordings that have several."),
    click.option(
        "--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Longest recording accepted [default: 3600]."
    ),
)

run_options = chain(
    click.option(
        "--resume", is_flag=True, help="Leave out what an earlier run finished with the same inputs and settings."
    ),
    click.option("--overwrite", is_flag=True, help="Replace outputs that are there."),
    click.option(
        "--progress/--no-progress",
        default=None,
        help="The progress bar [default: on a terminal; elsewhere a line a minute].",
    ),
)

cluster_options = chain(
    click.option(
        "--ray", "on_ray", is_flag=True, help="Share the work out to the machines of a Ray cluster (extra: ray)."
    ),
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Of that cluster [default: RAY_ADDRESS, else one is started here, for this machine's cores].",
    ),
)


def refuse_urls(named: Iterable[str | Path | None]) -> None:
    """Refuse URLs where files are read and written in place.

    Raises:
        click.UsageError: one is named.
    """
    from hifigan_rt.tools.cluster.object_store import split_url
    from hifigan_rt.tools.cluster.store_urls import is_url

    for name in named:
        # A path has lost one of the slashes.
        url = str(name).replace(":/", "://", 1) if isinstance(name, Path) else name
        if url is not None and is_url(url):
            store, key = split_url(url)
            raise click.UsageError(
                f"{store.shown(key)!r} is a URL, which only 'hifigan synth --ray' takes: name a folder, with --ray on "
                "a file system that all machines share"
            )


store_manifest_option = click.option(
    "--manifest", shell_complete=completion.files, type=click.Path(dir_okay=False), metavar="PATH",
    help="Where the manifest of results at a URL is kept [default: the user's state folder]; a copy goes beside them.",
)  # fmt: skip


def check_cluster_options(values: Mapping[str, Any]) -> None:
    """Refuse an address that leads nowhere.

    Raises:
        click.UsageError: it is given without --ray.
    """
    if values["ray_address"] is not None and not values["on_ray"]:
        raise click.UsageError("--ray-address names a cluster, and --ray says that it is used: give both")


json_option = click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
