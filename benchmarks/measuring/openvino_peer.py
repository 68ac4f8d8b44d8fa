"""OpenVINO at its best settings here: the 2-D graph, a fixed shape, the latency hint, the precision read back."""

from __future__ import annotations

from collections import Counter

import numpy as np
import openvino

from hifigan_rt.errors import PrecisionUnavailable
from hifigan_rt.tools.benchmark.worker import Executed
from measuring.candidates import Job, plain_name

_HINTS = {"openvino-f32-2d": "f32", "openvino-bf16-2d": "bf16", "openvino-int8-2d": "f32"}
_EXPECTED = {"openvino-f32-2d": {"f32"}, "openvino-bf16-2d": {"bf16"}, "openvino-int8-2d": {"i8", "u8"}}
_CONVOLUTIONS = ("Convolution", "Deconvolution")


class OpenVinoPeer:
    """A model compiled for one shape, with one request that is used again and again."""

    def __init__(self, job: Job, *, profile: bool = False) -> None:
        name = plain_name(job.candidate)
        core = openvino.Core()
        # ONNX files from us have rank 4; nncf keeps that.
        model = core.read_model(job.files["int8" if name == "openvino-int8-2d" else "onnx4"])
        num_mels = model.input(0).get_partial_shape()[1].get_length()
        model.reshape([job.batch, num_mels, 1, job.frames])
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": job.threads,
            "INFERENCE_PRECISION_HINT": _HINTS[name],
            "PERF_COUNT": profile,
        }
        self.compiled = core.compile_model(model, "CPU", settings)
        self.request = self.compiled.create_infer_request()
        self.executed = Executed(
            f"openvino {openvino.get_version().split('-')[0]}",
            self._executed_precision(_EXPECTED[name]),
            int(self.compiled.get_property("INFERENCE_NUM_THREADS")),
        )

    def _executed_precision(self, expected: set[str]) -> str:
        """The precision of most convolutions in the graph that runs, which need not be the one of the hint."""
        counts: Counter[str] = Counter()
        for node in self.compiled.get_runtime_model().get_ordered_ops():
            facts = node.get_rt_info()
            if str(facts["layerType"].astype(str)) in _CONVOLUTIONS:
                counts[str(facts["runtimePrecision"].astype(str)).lower()] += 1
        precision = counts.most_common(1)[0][0]
        if precision not in expected:
            wanted = " or ".join(sorted(expected))
            raise PrecisionUnavailable(f"asked for {wanted}; this processor executes {dict(counts)}")
        return ", ".join(f"{count} convolutions {kind}" for kind, count in counts.most_common())

    def run(self, mel: np.ndarray) -> np.ndarray:
        self.request.infer([mel[:, :, None]])
        # A copy: the next inference overwrites the request's own buffer.
        return np.array(self.request.get_output_tensor(0).data)


def load(job: Job) -> OpenVinoPeer:
    return OpenVinoPeer(job)
