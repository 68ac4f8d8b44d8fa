"""ONNX Runtime at its best settings here: every optimisation, fixed shape, threads that spin within a call."""

from __future__ import annotations

import numpy as np
import onnxruntime

from hifigan_rt.tools.benchmark.worker import Executed
from measuring.candidates import Job


class OnnxRuntimePeer:
    """A session for one shape; the 1-D graph, since the 2-D one gains nothing on V1 and loses on V2 and V3."""

    def __init__(self, job: Job, profile_prefix: str | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        # Between calls its threads would spin on, and take half of a processor from whoever is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_free_dimension_override_by_name("batch", job.batch)
        options.add_free_dimension_override_by_name("frames", job.frames)
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        self.session = onnxruntime.InferenceSession(job.files["onnx3"], options, providers=["CPUExecutionProvider"])
        self._input = self.session.get_inputs()[0].name
        self.executed = Executed(f"onnxruntime {onnxruntime.__version__}", "float32", job.threads)

    def run(self, mel: np.ndarray) -> np.ndarray:
        (audio,) = self.session.run(None, {self._input: mel})
        return np.asarray(audio)


def load(job: Job) -> OnnxRuntimePeer:
    return OnnxRuntimePeer(job)
