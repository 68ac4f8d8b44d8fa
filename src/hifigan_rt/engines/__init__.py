"""The engines by the name that a user types; each module is imported only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hifigan_rt.engines.base import Engine, EngineOptions
from hifigan_rt.engines.output_rule import try_out
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable, did_you_mean
from hifigan_rt.model.kinds import ConvertedFile, Model, ModelKind, OmFile, OnnxFile, OnnxWeights, OpenVinoFile, Weights
from hifigan_rt.system.versions import how_to_get


@dataclass(frozen=True)
class EngineEntry:
    """One row of the registry."""

    summary: str
    module: str
    packages: tuple[str, ...] = ()
    """Import names that must be there."""
    extra: str = ""
    """The extra of hifigan-rt that installs them; empty if the user installs them."""
    runs: tuple[ModelKind, ...] = (Weights,)
    """Kinds of models that it takes."""
    precisions: tuple[str, ...] = ("float32",)
    """What may be asked for, the default first."""
    precision_of_file: str = ""
    """How the precision is settled when a file is converted, for people; empty where it can be asked for."""
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the engine's own settings, each with the values it may have, the default first; none: any value."""
    devices: str = ""
    """What `device` may be, for people; empty if the engine knows no devices."""
    probe: str = ""
    """Module with a function `why_unavailable() -> str | None`, for an engine that needs more than packages."""
    uses_threads: bool = True
    """Whether the threads of the processor decide its speed, on a device that is the processor."""
    computes_flow: bool = False
    """Whether it runs generators with a voice's flow in front of them."""

    def takes(self, kind: ModelKind) -> bool:
        """Whether it runs models of a kind; of an ONNX file whose weights are read, either the file or the weights."""
        return kind in self.runs or (kind is OnnxWeights and (Weights in self.runs or OnnxFile in self.runs))

    def as_taken(self, model: Model) -> Model:
        """An ONNX file whose weights are read as the engine takes it: the file itself, else its weights."""
        return model.file if isinstance(model, OnnxWeights) and OnnxFile in self.runs else model


REGISTRY: Mapping[str, EngineEntry] = {
    "native": EngineEntry(
        "the C++ engine of this package: float32, and bfloat16 on Intel's tile unit (AMX)",
        "hifigan_rt.engines.native",
        precisions=("float32", "bfloat16", "bfloat16x3"),
        settings={"segment_frames": (), "plan": ()},
        probe="hifigan_rt.engines.native_module",
        computes_flow=True,
    ),
    "onnxruntime": EngineEntry(
        "ONNX Runtime, float32",
        "hifigan_rt.engines.onnxruntime",
        ("onnxruntime", "onnx"),
        "onnx",
        runs=(Weights, OnnxFile),
        settings={"execution_provider": ()},
    ),
    "openvino": EngineEntry(
        "OpenVINO; bfloat16 and float16 only when asked for",
        "hifigan_rt.engines.openvino",
        ("openvino", "onnx"),
        "openvino",
        runs=(Weights, OnnxFile, OpenVinoFile),
        precisions=("float32", "bfloat16", "float16"),
        settings={"hint": ("latency", "throughput"), "graph": ("2d", "1d")},
        devices="OpenVINO's own names: CPU (the default), GPU, GPU.1, NPU",
    ),
    "ascend": EngineEntry(
        "Ascend NPUs: .om files through aclruntime, ONNX files through ONNX Runtime's CANN provider",
        "hifigan_rt.engines.ascend",
        runs=(OmFile, OnnxFile),
        precision_of_file="as the file was converted: hifigan export om --precision-mode",
        settings={"backend": ("auto", "aclruntime", "ais_bench", "cann"), "timeout": ()},
        devices="device ids, for example 0 or 0,1",
        probe="hifigan_rt.engines.ascend_runtime.availability",
        uses_threads=False,
    ),
    "torch": EngineEntry(
        "PyTorch, on any of its devices",
        "hifigan_rt.engines.torch",
        ("torch",),
        precisions=("float32", "tf32", "bfloat16", "float16"),
        settings={"mode": ("eager", "compiled"), "graphs": ("on", "off")},
        devices="PyTorch's own names: cpu (the default), cuda:0, mps, xpu:0, npu:0",
    ),
    "cuda": EngineEntry(
        "NVIDIA cards of 8.0 and later, by their driver alone: float32 of two float16, and float16; not yet run on one",
        "hifigan_rt.engines.cuda",
        precisions=("float32", "float16"),
        settings={"memory": ()},
        devices="cuda:0 (the default), cuda:1 and so on",
        probe="hifigan_rt.engines.cuda_kernels",
        uses_threads=False,
    ),
    "reference": EngineEntry(
        "NumPy float64: readable, slow, the reference", "hifigan_rt.engines.reference", computes_flow=True
    ),
}

AUTO_ORDER = ("native", "onnxruntime", "openvino")
"""What engine="auto" tries, in turn. torch, cuda, ascend and reference are never chosen unless they are named, cuda by
its device as well."""


def why_unavailable(name: str) -> str | None:
    """Why an engine cannot run here, with the way out; None if it can."""
    entry = REGISTRY[name]
    if entry.probe:
        reason: str | None = importlib.import_module(entry.probe).why_unavailable()
        return reason
    absent = [package for package in entry.packages if importlib.util.find_spec(package) is None]
    if not absent:
        return None
    way_out = how_to_get(entry.extra) if entry.extra else f"pip install {' '.join(absent)}"
    return f"engine {name!r} needs the package{'s' if len(absent) > 1 else ''} {', '.join(absent)}: {way_out}"


def check_engine(name: str) -> None:
    """Check the name of an engine.

    Raises:
        EngineError: no engine of that name; the nearest is suggested.
        EngineUnavailable: its packages are not installed.
    """
    if name == "auto":
        return
    names = ["auto", *REGISTRY]
    if not isinstance(name, str):
        raise EngineError(f"engine={name!r} is a {type(name).__name__}: choose one of the texts {', '.join(names)}")
    if name not in REGISTRY:
        raise EngineError(f"engine {name!r} is not known: choose {', '.join(names)}{did_you_mean(name, names)}")
    reason = why_unavailable(name)
    if reason is not None:
        raise EngineUnavailable(reason)


def check_settings(name: str, settings: Mapping[str, object]) -> None:
    """Check an engine's own settings by name and value.

    Raises:
        EngineError: the engine has no such setting, or the setting no such value.
    """
    known = REGISTRY[name].settings
    for key, value in settings.items():
        if key not in known:
            raise EngineError(
                f"engine {name!r} has no setting {key!r}: it has {', '.join(known) or 'none'}{did_you_mean(key, known)}"
            )
        if known[key] and value not in known[key]:
            raise EngineError(f"setting {key}={value!r} of engine {name!r}: choose {', '.join(known[key])}")


def choose_engine(
    name: str, kind: ModelKind = Weights, *, settings: Collection[str] = (), device: str | None = None
) -> str:
    """Resolve "auto"; another name is returned as it is, checked.

    Args:
        name: of an engine, or "auto".
        kind: what the model is.
        settings: names of settings that the engine must know.
        device: that the user named; a card of NVIDIA's names engine cuda.

    Raises:
        EngineError, EngineUnavailable: see `check_engine`; or no engine of the automatic choice takes such a model
            with such settings, or none that does is there.
    """
    if name == "auto" and device is not None and device.partition(":")[0] == "cuda" and REGISTRY["cuda"].takes(kind):
        name = "cuda"
    check_engine(name)
    if name != "auto":
        return name
    reasons = []
    for candidate in ("ascend",) if kind is OmFile else AUTO_ORDER:
        entry = REGISTRY[candidate]
        if not entry.takes(kind) or not entry.settings.keys() >= set(settings):
            continue
        reason = why_unavailable(candidate)
        if reason is None:
            return candidate
        reasons.append(reason)
    if not reasons:
        raise EngineError(
            f"no engine that runs {kind.plural} has the setting{'s' if len(settings) > 1 else ''} "
            f"{', '.join(settings)}: 'hifigan engines' lists what each knows"
        )
    raise EngineUnavailable("; ".join(reasons))


def engines_for(kind: ModelKind) -> tuple[str, ...]:
    """Names of the engines that take models of a kind."""
    return tuple(name for name, entry in REGISTRY.items() if entry.takes(kind))


def check_takes(name: str, model: Model, precision: str) -> Model:
    """Check that an engine runs a model in a precision.

    Returns:
        The model as the engine takes it.

    Raises:
        EngineError: it takes no such model.
        PrecisionUnavailable: it does not offer the precision.
    """
    entry = REGISTRY[name]
    if not entry.takes(type(model)):
        reason = f" ({model.unread})" if isinstance(model, OnnxFile) and model.unread and Weights in entry.runs else ""
        raise EngineError(
            f"engine {name!r} runs {' and '.join(kind.plural for kind in entry.runs)}, and {model.name} is "
            f"{model.noun}{reason}: choose {', '.join(['auto', *engines_for(type(model))])}"
        )
    model = entry.as_taken(model)
    if model.graph is not None and model.graph.config.flow is not None and not entry.computes_flow:
        able = ", ".join(other for other, row in REGISTRY.items() if row.computes_flow)
        raise EngineError(f"engine {name!r} does not compute the flow in front of {model.name}: choose {able}")
    # The reference computes in float64 whatever is asked.
    if precision not in entry.precisions and name != "reference":
        offered = entry.precision_of_file or f"it has {', '.join(entry.precisions)}"
        raise PrecisionUnavailable(f"precision={precision!r} is not offered by engine {name!r}: {offered}")
    return model


def create_engine(name: str, model: Model, options: EngineOptions) -> Engine:
    """Load a model into an engine that `choose_engine` returned.

    Raises:
        EngineError: the engine does not take such a model, or refuses an option.
        PrecisionUnavailable: the engine does not offer the precision.
        OutputMismatch: a foreign file gives other samples than its config says, or no audio.
    """
    entry = REGISTRY[name]
    check_settings(name, options.settings)
    model = check_takes(name, model, options.precision)
    if options.device is not None and not entry.devices:
        raise EngineError(f"device={options.device!r}: engine {name!r} runs on the CPU only and takes no device")
    engine: Engine = importlib.import_module(entry.module).create(model, options)
    engine.options = options
    engine.least_frames = 1 if model.graph is None else model.graph.least_frames
    if isinstance(model, ConvertedFile) and model.is_foreign and model.num_mels is not None:
        try_out(engine, model.name, model.num_mels)
        engine.unproven_source = model.name
    return engine
