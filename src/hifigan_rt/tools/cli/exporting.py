"""What the export commands have in common: which model, where to, and what must not be overwritten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.errors import ExportError, OutputError
from hifigan_rt.tools.bulk.output_folder import refuse_existing
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import F, chain, checkpoint_options, model_argument, output_option

if TYPE_CHECKING:
    from hifigan_rt.export.verification import ExportReport
    from hifigan_rt.graph import Generator
    from hifigan_rt.model.kinds import Model


def export_options(metavar: str, told: str, **settings: Any) -> Callable[[F], F]:
    """MODEL, where the result goes, and how the model is read."""
    return chain(model_argument, output_option(metavar, told, **settings), checkpoint_options)


def rank_option(default: str, told: str) -> Callable[[F], F]:
    """Dimensions of the mels that the result takes."""
    return click.option("--rank", type=click.Choice(["3", "4"]), default=default, show_default=True, help=told)


verify_option = click.option(
    "--verify/--no-verify", default=True, help="Compare with the float64 reference [default: yes]."
)


def load_generator(name: str, **reading: Any) -> tuple[Model, Generator]:
    """Read a model that has weights, and whose architecture a config states; `reading` as for `resolve_model`.

    Raises:
        ExportError: it is a converted file; or something that the result would hold was assumed.
    """
    from hifigan_rt.model.kinds import OnnxFile, Weights
    from hifigan_rt.model.resolve import resolve_model

    model = resolve_model(name, **reading)
    if not isinstance(model, Weights):
        why = (isinstance(model, OnnxFile) and model.unread) or "weights are not read out of it"
        raise ExportError(f"{name!r} is {model.noun}, and {why}: name the checkpoint")
    if model.assumptions:
        raise ExportError(
            f"{name!r}: {'; '.join(model.assumptions)}. An exported file outlives such a note: give the config with "
            "--config"
        )
    return model, model.generator


def choose_output(model: Model, named: str | None, suffix: str, overwrite: bool) -> Path:
    """Where the result goes: the named file, else the model's name in the current folder.

    Raises:
        OutputError: a file is there and may not be replaced, or it is the model itself, or one of its files; a folder
            is there; or standard output is named.
    """
    if named == "-":
        raise OutputError(f"output '-' is no file, and models are not written to standard output: name one in {suffix}")
    path = Path(named) if named is not None else Path(source_name(model)).with_suffix(suffix)
    if path.exists() and any(path.samefile(file) for file in model.files):
        what = "the model itself" if path.samefile(model.path) else f"a file of {str(model.path)!r}"
        raise OutputError(f"output {str(path)!r} is {what}: name another file with -o")
    refuse_existing(path, overwrite=overwrite)
    return path


def source_name(model: Model) -> str:
    """The model as the metadata of the result tells it: a known name or a file name, never a whole path."""
    from hifigan_rt.model.pretrained import KNOWN_MODELS

    return model.name if model.name in KNOWN_MODELS else model.path.name


def tell_export(console: Console, report: ExportReport, shown: str, facts: dict[str, str], *, as_json: bool) -> None:
    """Report what was written, and the SNR if it was verified; JSON has `facts` first."""
    if as_json:
        console.result({**facts, "snr_db": report.snr_db, "bytes": report.size_bytes, "seconds": report.seconds})
        return
    if console.verbosity < 0:
        return
    verdict = "not verified" if report.snr_db is None else f"SNR {report.snr_db:.1f} dB against the float64 reference"
    console.line(f"{shown}: {report.size_bytes} bytes in {report.seconds:.1f} s; {verdict}")
