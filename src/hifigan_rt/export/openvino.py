"""Writes a generator as OpenVINO IR, an .xml with its .bin, that was run and compared before it got its names."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hifigan_rt.config import MelConfig, PartialMelConfig
from hifigan_rt.engines import check_engine
from hifigan_rt.engines.openvino import refuse_single_channels
from hifigan_rt.errors import ExportError, OutputError
from hifigan_rt.export.verification import (
    LOWEST_SNR_DB,
    VERIFICATION_FRAMES,
    ExportReport,
    verify_export,
)
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.openvino_package import import_openvino, openvino_core, reason_of
from hifigan_rt.formats.openvino_scan import WEIGHTS_NOTE
from hifigan_rt.graph import MAX_FRAMES, Generator
from hifigan_rt.model.kinds import OpenVinoFile
from hifigan_rt.system.files import atomic_paths, file_sha256
from hifigan_rt.system.temporary_names import remove_left_over
from hifigan_rt.system.versions import own_version

if TYPE_CHECKING:
    import onnx
    import openvino

LOWEST_SNR_DB_OF = {"float32": LOWEST_SNR_DB, "float16": 45.0}
"""Lowest signal-to-noise ratio by the precision of the weights.

float16 keeps 11 bits of each: 58.5 dB on the weights of ljspeech-v1; a wrong slope or a shifted tap stays far below 45.
"""

MAX_BATCH = 1024


@dataclass(frozen=True)
class OpenVinoSettings:
    """How a generator is written."""

    precision: str = "float32"
    """Precision of the weights in the file; what a device computes in is chosen when the file is loaded."""
    rank: int = 4
    """4 takes mels as [B, M, 1, T], which is faster on CPUs; 3 as [B, M, T]."""
    batch: int | None = None
    """None leaves it open."""
    frames: int | None = None
    """None leaves it open."""

    def check(self) -> None:
        """Refuse what is not offered.

        Raises:
            ExportError: the text says what.
        """
        if self.precision not in LOWEST_SNR_DB_OF:
            raise ExportError(
                f"precision={self.precision!r} is not offered for weights: choose {', '.join(LOWEST_SNR_DB_OF)}; "
                "bfloat16 arithmetic is chosen when the file is loaded"
            )
        for name, value, most in (("batch", self.batch, MAX_BATCH), ("frames", self.frames, MAX_FRAMES)):
            if value is not None and not 1 <= value <= most:
                raise ExportError(f"{name}={value} must be from 1 to {most}")


def export_openvino(
    generator: Generator,
    mel: MelConfig | PartialMelConfig | None,
    path: Path,
    settings: OpenVinoSettings | None = None,
    *,
    source: str = "",
    speakers: Mapping[str, int] | None = None,
    verify: bool = True,
) -> ExportReport:
    """Write a generator as IR, and compare it with the reference.

    Args:
        generator: graph and weights.
        mel: the mel settings for the metadata, None if unknown.
        path: the .xml to write; the .bin goes beside it.
        settings: see `OpenVinoSettings`.
        source: where the weights came from, for the metadata.
        speakers: their names, with their rows in the table, for the metadata.
        verify: run the written files in OpenVINO and compare them with the float64 reference.

    Returns:
        The report; its size is that of both files.

    Raises:
        ExportError: a setting is not offered, or the files do not compute what the reference computes.
        EngineError: OpenVINO would compute the network wrongly.
        EngineUnavailable: OpenVINO is not installed.
        OutputError: the files could not be written; what stood there before does so still.
    """
    started = time.perf_counter()
    settings = settings or OpenVinoSettings()
    settings.check()
    least = generator.graph.least_frames
    if settings.frames is not None and settings.frames < least:
        raise ExportError(f"frames={settings.frames}: this generator mirrors its input, which needs at least {least}")
    if path.suffix != ".xml":  # OpenVINO writes to no .XML
        raise ExportError(f"output {str(path)!r} must end in .xml: the model is recognised by it when it is loaded")
    check_engine("openvino")
    refuse_single_channels(path.name, generator.graph)
    weights_path = path.with_suffix(".bin")
    remove_left_over([path.parent])
    with atomic_paths([weights_path, path]) as workplace:
        written = workplace / path.name
        _write(build_onnx(generator, mel, rank=settings.rank, source=source, speakers=speakers), written, settings)
        snr = None
        if verify:
            snr = verify_export(
                "openvino",
                OpenVinoFile(path.name, written, "openvino"),
                generator,
                batch=settings.batch or 1,
                frames=settings.frames or VERIFICATION_FRAMES,
                lowest_snr_db=LOWEST_SNR_DB_OF[settings.precision],
            )
        size = sum(file.stat().st_size for file in (written, written.with_suffix(".bin")))
    return ExportReport(path, snr, size, time.perf_counter() - started)


def _write(built: onnx.ModelProto, path: Path, settings: OpenVinoSettings) -> None:
    openvino = import_openvino()
    serialised = built.SerializeToString()
    built.Clear()
    try:
        # The metadata of the ONNX model become the IR's, under `framework`.
        model = openvino_core().read_model(serialised)
        del serialised  # as large as the file; verifying needs the room
        model.set_friendly_name("hifigan")
        model.set_rt_info(own_version(), ["hifigan_rt", "version"])
        if settings.batch is not None or settings.frames is not None:
            model.reshape({port: _shape(port.get_partial_shape(), settings) for port in model.inputs})
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"OpenVINO could not build {path.name!r}: {reason_of(error)}") from error
    try:
        openvino.save_model(model, os.fspath(path), compress_to_fp16=settings.precision == "float16")
        with path.open("a") as file:
            file.write(f"<!--{WEIGHTS_NOTE}{file_sha256(path.with_suffix('.bin'))}-->\n")
    except (RuntimeError, ValueError) as error:
        # Its text keeps the system's reason to itself: "basic_ios::clear: iostream error".
        free = shutil.disk_usage(path.parent).free
        raise OutputError(
            f"{path.name!r} and its .bin could not be written: OpenVINO says {reason_of(error)!r}, and {free} bytes "
            "are free there: make room, raise the limit on file sizes, or name another folder; nothing stands at their "
            "places but what was there before"
        ) from error


def _shape(shape: openvino.PartialShape, settings: OpenVinoSettings) -> openvino.PartialShape:
    """An input's shape with the batch and, where it has frames, the frames as the settings want them."""
    wanted = [settings.batch or -1, *list(shape)[1:]]
    if len(wanted) > len(("B", "G")):
        wanted[-1] = settings.frames or -1
    return type(shape)(wanted)
