"""An imitation of the vendor's `aclruntime` on ONNX Runtime. Simulated on CPU; not Ascend performance."""

from aclruntime.session import InferenceSession, session_options, tensor_desc
from aclruntime.tensors import BaseTensor, MemorySummary, Tensor, dtype
from cann_simulator import CAVEAT
from cann_simulator.settings import refuse_real_cann

__version__ = "0.0.2"

refuse_real_cann()

__all__ = [
    "CAVEAT", "BaseTensor", "InferenceSession", "MemorySummary", "Tensor", "dtype", "session_options", "tensor_desc",
]  # fmt: skip
