"""Converts a generator to Ascend's .om files: ONNX first, verified as every export is, then atc for each batch size."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.config import MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.engines.ascend_runtime.chips import choose_soc, find_chips
from hifigan_rt.errors import ExportError, OutputError, ToolFailed
from hifigan_rt.export.onnx import export_onnx
from hifigan_rt.export.verification import ExportReport
from hifigan_rt.formats.om_file import OmInfo
from hifigan_rt.formats.om_record import OmRecord, record_path, write_record
from hifigan_rt.graph import Generator, Graph
from hifigan_rt.system.files import atomic_paths, file_sha256, refuse_special
from hifigan_rt.system.temporary_names import remove_left_over
from hifigan_rt.system.versions import UNKNOWN, installed_version, own_version
from hifigan_rt.tools.ascend.atc import (
    AtcJob,
    build_arguments,
    check_soc,
    command_text,
    find_atc,
    precision_of,
    run_atc,
)
from hifigan_rt.tools.ascend.om_settings import (
    AUTO_SOC,
    OmSettings,
    checked,
    length_notes,
    plan_jobs,
    precision_notes,
    safe_stem,
)

OPSET = 11
"""What the oldest supported toolchain reads."""

FILE_MODE = 0o640
"""The vendor's tools refuse models that the group or others may write."""


_CARRIED = ("upsample_paddings", "input_normalization", "output")
"""What a generator may have beyond the original's. Ends that are no zeros (Pad) and a second input are left out: no atc
was seen with them."""


@dataclass(frozen=True)
class OmPlan:
    """What would be done: the commands of atc, and all that is worth knowing before."""

    stem: str
    jobs: tuple[AtcJob, ...]
    notes: tuple[str, ...]

    @property
    def commands(self) -> tuple[str, ...]:
        """Commands for a shell in the folder of the ONNX file, quoted."""
        return tuple(command_text(build_arguments(job)) for job in self.jobs)


@dataclass(frozen=True)
class OmReport:
    """One .om file that was written."""

    path: Path
    record_path: Path
    record: OmRecord
    size_bytes: int
    seconds: float
    """That atc took."""


def plan_om(graph: Graph, source: str, settings: OmSettings) -> OmPlan:
    """Check the settings, find the chip, and lay down the commands; nothing is written.

    Args:
        graph: of the generator.
        source: the model's name, after which the files are named.
        settings: see `OmSettings`.

    Raises:
        ExportError: a setting is not offered, or the generator has what an .om does not carry.
        ToolFailed: the chip is "auto", and npu-smi does not tell it.
    """
    beyond = [text for name, text in graph.config.unusual_features.items() if name not in _CARRIED]
    if beyond:
        raise ExportError(
            f"{source!r} has {' and '.join(beyond)}, which an .om does not carry here: export onnx for engines "
            "'onnxruntime' and 'openvino'"
        )
    ordered, notes = checked(settings)
    stem, stem_notes = safe_stem(source)
    soc_version = ordered.soc
    if soc_version == AUTO_SOC:
        soc_version = check_soc(choose_soc(find_chips()))
        notes += (f"chip {soc_version}, as npu-smi tells",)
    jobs = plan_jobs(stem, graph, ordered, soc_version)
    chosen = ordered.precision_mode is None and jobs[0].precision_mode is not None
    notes += stem_notes + length_notes(graph, ordered.mel_lengths) + precision_notes(jobs[0], chosen=chosen)
    return OmPlan(stem, jobs, notes)


def export_om(
    generator: Generator,
    mel: MelConfig | PartialMelConfig | None,
    folder: Path,
    plan: OmPlan,
    *,
    source: str,
    timeout_seconds: float,
    overwrite: bool = False,
    keep_onnx: bool = False,
    on_line: Callable[[str], None] | None = None,
) -> tuple[OmReport, ...]:
    """Write `<stem>_bs<B>.om` for each batch size, and a record as JSON beside each; all of them or none.

    Args:
        generator: graph and weights.
        mel: the mel settings for the record, None if unknown.
        folder: where the files go.
        plan: from `plan_om`.
        source: the model's name, for the record.
        timeout_seconds: for each run of atc.
        overwrite: replace files that are there.
        keep_onnx: keep `<stem>.onnx` as well.
        on_line: is given each line that atc prints.

    Raises:
        ToolFailed: atc is absent, failed, hung or wrote nothing.
        ExportError: the ONNX file does not compute what the reference computes.
        EngineUnavailable: ONNX Runtime, which verifies, is not installed.
        OutputError: a file is there and may not be replaced, or cannot be written.
    """
    find_atc()
    names = [name for job in plan.jobs for name in (f"{job.stem}.om", f"{job.stem}.json")]
    names += [f"{plan.stem}.onnx"] if keep_onnx else []
    _check_free(folder, names, overwrite)
    remove_left_over([folder])
    # Beside the results, so that they are moved and not copied; atc leaves files of its own there.
    with _folder(folder), atomic_paths([folder / name for name in names]) as workplace:
        onnx_path = workplace / f"{plan.stem}.onnx"
        onnx_report = export_onnx(
            generator, mel, onnx_path, opset=OPSET, rank=plan.jobs[0].rank, source=source, verify=True
        )
        config = ModelConfig(generator.graph.config, mel)
        reports = [
            _convert(job, workplace, folder, config, source, onnx_report, timeout_seconds, on_line) for job in plan.jobs
        ]
        for name in names:
            (workplace / name).chmod(FILE_MODE)
    return tuple(reports)


def _convert(
    job: AtcJob,
    workplace: Path,
    folder: Path,
    config: ModelConfig,
    source: str,
    onnx_report: ExportReport,
    timeout_seconds: float,
    on_line: Callable[[str], None] | None,
) -> OmReport:
    started = time.perf_counter()
    made, info = run_atc(job, workplace, timeout_seconds=timeout_seconds, on_line=on_line)
    seconds = time.perf_counter() - started
    _check_made(job, info)
    path = workplace / f"{job.stem}.om"
    made.replace(path)
    record = OmRecord(
        source=source,
        config=config,
        batch=job.batch,
        mel_lengths=job.mel_lengths,
        rank=job.rank,
        input_name=job.input_name,
        soc_version=job.soc_version,
        precision_mode=precision_of(job),
        command=command_text(build_arguments(job)),
        caveat=info.caveat,
        om_sha256=file_sha256(path),
        onnx_sha256=file_sha256(onnx_report.path),
        onnx_snr_db=onnx_report.snr_db,
        versions={"hifigan-rt": own_version(), "onnx": installed_version("onnx") or UNKNOWN, "atc": info.atc_version},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    write_record(record, record_path(path))
    return OmReport(folder / path.name, folder / f"{job.stem}.json", record, path.stat().st_size, seconds)


def _check_made(job: AtcJob, info: OmInfo) -> None:
    """Hold what the file says against what was asked for; older containers do not tell everything."""
    gears = tuple((frames,) for frames in job.mel_lengths) if len(job.mel_lengths) > 1 else ()
    if not job.mel_lengths and not info.dynamic_shape:
        raise ToolFailed("atc made a model of fixed shapes, and open lengths were asked for (--mel-len dynamic)")
    told = tuple(sorted(info.dynamic_dims))
    if told and told != gears:
        raise ToolFailed(f"atc made a model with the gears {list(told)}, and {list(gears)} were asked for")
    if info.soc_version and info.soc_version != job.soc_version:
        raise ToolFailed(f"atc made a model for {info.soc_version}, and {job.soc_version} was asked for")


def _check_free(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"output {str(folder)!r} is a file: name a folder with -o")
    for name in names:
        path = folder / name
        if path.is_dir():
            raise OutputError(f"output {str(path)!r} is a folder: move it away, or write elsewhere with -o")
        refuse_special(path)
        if os.path.lexists(path) and not overwrite:
            raise OutputError(f"output {str(path)!r} exists already: --overwrite replaces it")


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """The folder of the results; one that was not there goes again if there are none."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {str(folder)!r} cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # it holds the results
                folder.rmdir()
