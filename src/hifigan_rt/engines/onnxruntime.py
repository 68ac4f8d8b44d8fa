"""Runs a generator, or a foreign HiFi-GAN ONNX file, in ONNX Runtime."""

from __future__ import annotations

from hifigan_rt.engines.base import EngineInfo, EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.input_layout import layout_of_export, layout_of_file
from hifigan_rt.engines.onnxruntime_session import CPU_PROVIDER, SessionEngine, as_source, open_session
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import inspect_onnx
from hifigan_rt.model.kinds import OnnxFile, Weights


def create(model: Weights | OnnxFile, options: EngineOptions) -> SessionEngine:
    """Load a model into ONNX Runtime.

    Raises:
        EngineError: the file is not a vocoder that can be fed, or an option is not offered.
        EngineUnavailable: the execution provider is not there.
        ModelFileError: the ONNX file is damaged or unsafe.
    """
    import onnxruntime

    threads = options.thread_count
    provider = _choose_provider(options.settings.get("execution_provider"), onnxruntime.get_available_providers())
    if isinstance(model, Weights):
        layout = layout_of_export(model.name, model.graph.config, rank=3)
        precision, conditioning = "float32", ConditioningRule.of_generator(model.generator)
        serialised = build_onnx(model.generator, None, has_table=False).SerializeToString()
        session = open_session(model.name, serialised, threads, provider)
    else:
        info, name = inspect_onnx(model.path), f"ONNX file {str(model.path)!r}"
        layout, precision = layout_of_file(name, info, model.graph), info.precision
        session = open_session(name, as_source(info), threads, provider)
        conditioning = layout.conditioning_rule(None if model.graph is None else model.graph.config)
    running = session.get_providers()[0]
    about = EngineInfo("onnxruntime", onnxruntime.__version__, precision, threads, running)
    return SessionEngine(session, about, layout, conditioning)


def _choose_provider(name: str | None, available: list[str]) -> str:
    if name is None:
        return CPU_PROVIDER
    if not isinstance(name, str):
        raise EngineError(f"execution_provider={name!r} is a {type(name).__name__}: give one of {', '.join(available)}")
    # "cuda" and "CUDAExecutionProvider" both name it.
    for candidate in available:
        if name.lower() in (candidate.lower(), candidate.lower().removesuffix("executionprovider")):
            return candidate
    raise EngineUnavailable(
        f"execution_provider={name!r} is not in this build of ONNX Runtime: it has {', '.join(available)}; "
        "other packages, such as onnxruntime-gpu, bring others"
    )
