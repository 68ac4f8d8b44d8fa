"""`hifigan export om`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.exporting import export_options, load_generator, rank_option, source_name
from hifigan_rt.tools.cli.options import json_option, parse_settings, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.ascend.om_export import OmPlan, OmReport

_MOST_NUMBERS = 10_000
DYNAMIC = "dynamic"
"""The word of --mel-len for open lengths."""


def parse_numbers(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between; `250,500,...,2000` goes on in equal steps."""
    words = [word.strip() for word in text.split(",")]
    numbers: list[int] = []
    for index, word in enumerate(words):
        if word in ("...", "…") and index >= 2 and index == len(words) - 2 and re.fullmatch(r"\d{1,9}", words[-1]):
            step, last = numbers[-1] - numbers[-2], int(words[-1])
            if step > 0 and last > numbers[-1] and (last - numbers[-1]) % step == 0:
                numbers += range(numbers[-1] + step, last, step)[:_MOST_NUMBERS]
                continue
        if not re.fullmatch(r"\d{1,9}", word):
            raise click.BadParameter(
                f"{word!r} in {text!r}: give whole numbers with commas between, as in 250,500 or 250,500,...,2000"
            )
        numbers.append(int(word))
    return tuple(numbers)


def parse_lengths(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Frames as `parse_numbers` takes them, or the word dynamic, which is none."""
    return () if text.strip() == DYNAMIC else parse_numbers(context, parameter, text)


@click.command(cls=StrictCommand)
@export_options("FOLDER", "Where the .om files go.", default=".", show_default=True)
@click.option(
    "--batch", default="1", show_default=True, metavar="N[,N...]", callback=parse_numbers, help="One .om for each."
)
@click.option(
    "--mel-len", default="250,500,...,2000", show_default=True, metavar="N[,N...]|dynamic", callback=parse_lengths,
    shell_complete=completion.one_of(DYNAMIC),
    help="Lengths in frames (gears), 2 to 100 of them; one gives a static model, dynamic takes any length.",
)  # fmt: skip
@click.option("--soc", default="auto", show_default=True, help="The chip, as in Ascend310P3; auto asks npu-smi.")
@click.option("--precision-mode", help="atc's --precision_mode [default: the chip's].")
@rank_option("3", "3 takes mels as [B, M, T]; 4 as [B, M, 1, T], for toolchains without one-dimensional convolutions.")
@click.option(
    "--log", shell_complete=completion.one_of("null", "error", "warning", "info", "debug"), metavar="LEVEL",
    default="error", show_default=True, help="null, error, warning, info or debug.",
)  # fmt: skip
@click.option(
    "--atc-arg", "atc_options", metavar="KEY=VALUE", multiple=True, callback=parse_settings,
    help="Any other option of atc; may be given again.",
)  # fmt: skip
@click.option("--timeout", type=float, default=7200, show_default=True, help="Seconds that atc may take for one file.")
@click.option("--dry-run", is_flag=True, help="Print the commands for another machine, and do nothing.")
@click.option("--keep-onnx", is_flag=True, help="Keep the ONNX file as well.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@json_option
@verbosity_options
@click.pass_obj
def om(
    console: Console,
    /,
    model: str,
    output: str,
    batch: tuple[int, ...],
    mel_len: tuple[int, ...],
    soc: str,
    precision_mode: str | None,
    rank: str,
    log: str,
    atc_options: dict[str, str],
    timeout: float,
    dry_run: bool,
    keep_onnx: bool,
    overwrite: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Convert a checkpoint to Ascend's .om files with the vendor's atc, by way of a verified ONNX file.

    \b
    Examples:
      hifigan export om g_02500000 --batch 1,8 --mel-len 250,500,...,2000 -o ascend
      hifigan export om g_02500000 --soc Ascend310P3 --dry-run
    """
    from hifigan_rt.tools.ascend.om_export import export_om, plan_om
    from hifigan_rt.tools.ascend.om_settings import OmSettings, folder_notes

    resolved, generator = load_generator(model, **reading)
    console.notes(resolved.notes)
    source = source_name(resolved)
    settings = OmSettings(batch, mel_len, soc, precision_mode, int(rank), log, atc_options, timeout)
    plan = plan_om(generator.graph, source, settings)
    console.notes(plan.notes)
    if dry_run:
        _show_plan(console, plan, model, reading, rank, as_json)
        return
    console.notes(folder_notes(Path(output)))
    reports = export_om(
        generator,
        resolved.mel_settings,
        Path(output),
        plan,
        source=source,
        timeout_seconds=timeout,
        overwrite=overwrite,
        keep_onnx=keep_onnx,
        on_line=lambda line: console.note(f"atc: {line}"),
    )
    if as_json:
        console.result([_facts(report) for report in reports])
    elif console.verbosity >= 0:
        for report in reports:
            _show(console, report)


def _show_plan(
    console: Console, plan: OmPlan, model: str, reading: dict[str, str | None], rank: str, as_json: bool
) -> None:
    """The commands in the order in which they are run, the first of them ours."""
    import shlex

    from hifigan_rt.tools.ascend.om_export import OPSET

    first = ["hifigan", "export", "onnx", model, "--opset", str(OPSET), "--rank", rank, "-o", f"{plan.stem}.onnx"]
    options = [part for name, value in reading.items() if value for part in (f"--{name.replace('_', '-')}", value)]
    commands = [shlex.join(first + options), *plan.commands]
    if as_json:
        console.result({"commands": commands})
        return
    for command in commands:
        console.line(command)


def _facts(report: OmReport) -> dict[str, Any]:
    record = report.record
    return {
        "path": str(report.path),
        "record": str(report.record_path),
        "bytes": report.size_bytes,
        "seconds": report.seconds,
        "batch": record.batch,
        "mel_lengths": list(record.mel_lengths) or DYNAMIC,
        "rank": record.rank,
        "soc_version": record.soc_version,
        "precision_mode": record.precision_mode,
        "caveat": record.caveat,
        "onnx_snr_db": record.onnx_snr_db,
        "snr_db": None,
        "om_sha256": record.om_sha256,
        "command": record.command,
    }


def _show(console: Console, report: OmReport) -> None:
    from hifigan_rt.engines.ascend_runtime.precision import describe_mode

    record = report.record
    lengths = ", ".join(str(frames) for frames in record.mel_lengths)
    kind = f"gears {lengths} frames" if len(record.mel_lengths) > 1 else f"static, {lengths} frames"
    kind = kind if record.mel_lengths else "any length"
    precision = describe_mode(record.precision_mode, record.soc_version, record.command)
    verdict = record.caveat or "unknown until it was measured there"
    console.line(
        f"{str(report.path)!r}: {report.size_bytes} bytes in {report.seconds:.1f} s; batch {record.batch}, {kind}, "
        f"{record.soc_version}, {precision}"
    )
    console.line(
        f"  SNR of the ONNX file {record.onnx_snr_db:.1f} dB against the float64 reference; on the chip: {verdict}"
    )
    console.line(f"  record {str(report.record_path)!r}")
