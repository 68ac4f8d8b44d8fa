"""`InferenceSession`: gears, byte checks, texts and exceptions of the vendor's runtime, numbers of ONNX Runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aclruntime import devices
from aclruntime.logs import ERROR, INFO, WARN, check, failure, log, plain, set_level
from aclruntime.paths import refused_path
from aclruntime.tensors import BY_NUMPY_NAME, NUMPY_NAMES, BaseTensor, MemorySummary, Tensor, dtype
from cann_simulator.om_file import NotSimulated, read_om
from cann_simulator.settings import fault, generation, soc, tools_of_2026

GENERAL, INVALID, ZERO_SIZE = -1, 1, 3011
MODEL_ID = 1


class session_options:  # noqa: N801 - the vendor's name
    def __init__(self) -> None:
        self.log_level = INFO
        self.loop = 1
        self.acl_json_path = ""


class tensor_desc:  # noqa: N801 - the vendor's name
    def __init__(self) -> None:
        self.name = ""
        self.datatype = dtype.float32
        self.format = 2  # ND
        self.shape: list[int] = []  # -1 in dynamic positions
        self.size = 0  # bytes at the largest gear
        self.realsize = 0  # bytes of the gear that is set


def _described(name: str, datatype: dtype, shape: list[int], size: int) -> tensor_desc:
    desc = tensor_desc()
    desc.name, desc.datatype, desc.shape, desc.size, desc.realsize = name, datatype, list(shape), size, size
    return desc


@dataclass
class Summary:
    exec_time_list: list[Any] = field(default_factory=list)


class InferenceSession:
    def __init__(self, model_path: str, device_id: int, options: session_options) -> None:
        self._loaded = False
        self._device, self._options = device_id, options
        if tools_of_2026() and (reason := refused_path(model_path)):
            log(ERROR, reason)
            log(ERROR, "model path illegal, please check.")
            raise RuntimeError("please check model path")
        devices.open_device(device_id)
        set_level(options.log_level)
        self._facts, onnx_bytes = _load(model_path)
        self._loaded = True
        log(INFO, f"load model {model_path} success")
        self._onnx = _onnx_session(self._facts, onnx_bytes)
        log(INFO, "create model description success")
        self._gears: list[list[int]] = self._facts["input_dims_of_gears"]
        self._kind = "unset"
        self._gear: list[int] = []
        self._custom_sizes: list[int] = []
        self._zero_point = time.perf_counter()
        self._summary = Summary()
        self._inputs = [self._describe(entry, index) for index, entry in enumerate(self._facts["inputs"])]
        self._outputs = self._describe_outputs()

    def get_inputs(self) -> list[tensor_desc]:
        """Without the hidden input `ascend_mbatch_shape_data`, which carries the gear."""
        return list(self._inputs)

    def get_outputs(self) -> list[tensor_desc]:
        return list(self._outputs)

    def options(self) -> session_options:
        return self._options

    def sumary(self) -> Summary:  # sic
        return self._summary

    def _forget_times(self) -> int:
        self._summary.exec_time_list.clear()
        return 0

    if tools_of_2026():
        summary, reset_summaryinfo = sumary, _forget_times
    else:
        reset_sumaryinfo = _forget_times

    def set_staticbatch(self) -> int:
        self._kind = "static"
        return 0

    def set_dynamic_batchsize(self, batch: int) -> int:
        if self._facts.get("dynamic_kind") != "batch":
            log(ERROR, "the dynamic_batch_size parameter is not specified for model conversion")
            raise check("processModel->CheckDynamicBatchSize(batchsize, is_dymbatch)", INVALID)
        gears = [
            gear for gear, values in zip(self._gears, self._facts["dynamic_dims"], strict=True) if values[0] == batch
        ]
        if not gears:
            log(ERROR, "the dymBatch parameter is not correct")
            listed = "".join(f"[{values[0]}]" for values in self._facts["dynamic_dims"])
            log(ERROR, f"model has dynamic batch size:{{{listed}}}, please set correct dynamic batch size")
            raise check("processModel->CheckDynamicBatchSize(batchsize, is_dymbatch)", INVALID)
        self._set_gear(gears[0], "batch")
        return 0

    def set_dynamic_hw(self, width: int, height: int) -> int:
        log(ERROR, "the dynamic_image_size parameter is not specified for model conversion")
        raise check("processModel->CheckDynamicHWSize(dynamicHW, is_dymHW)", INVALID)

    def set_dynamic_dims(self, text: str) -> int:
        """`name:d,d,d;...`: the flattened dims of all inputs must equal a gear."""
        if not self._gears or self._facts.get("dynamic_kind") == "batch":
            plain("the dynamic_dims parameter is not specified for model conversion")
            raise failure(GENERAL)
        named = _parse_dims(text)
        flat = [size for dims in named.values() for size in dims]
        for index, gear in enumerate(self._gears):
            if len(flat) != len(gear):
                log(ERROR, f"the dymDims parameter is not correct i:{index} dysize:{len(flat)} dimcount:{len(gear)}")
                self._reject_gear()
        if flat not in self._gears:
            log(ERROR, "the dynamic_dims parameter is not correct")
            self._reject_gear()
        self._set_gear(flat, "dims")
        for name in named:
            if name not in [desc.name for desc in self._inputs]:
                log(WARN, f"find no in names:{name}")
        return 0

    def set_dynamic_shape(self, text: str) -> int:
        named = _parse_dims(text)
        if len(named) != len(self._inputs):
            log(ERROR, f"om has {len(self._inputs)} input, but dymShape parametet give {len(named)}")
        elif any(desc.name not in named for desc in self._inputs):
            log(ERROR, "the dymShape parameter set error, please check input name")
        else:
            self._set_gear([size for desc in self._inputs for size in named[desc.name]], "shape")
            return 0
        log(ERROR, "check dynamic shape failed")
        raise failure(GENERAL)

    def set_custom_outsize(self, sizes: Sequence[int]) -> int:
        self._custom_sizes = list(sizes)
        return 0

    def create_tensor_from_fileslist(self, desc: tensor_desc, files: Sequence[str]) -> Tensor:
        data = np.frombuffer(b"".join(Path(name).read_bytes() for name in files), np.uint8)
        if data.nbytes != desc.realsize:
            raise failure(INVALID)
        tensor = Tensor(data.view(NUMPY_NAMES[desc.datatype]))
        tensor.to_device(self._device)
        return tensor

    def run(self, out_names: Sequence[str], feeds: Any) -> list[Tensor]:
        """Run on feeds given as a list of Tensor, a list of BaseTensor or a dict of Tensor."""
        payloads = self._check_feeds(feeds)
        if len(payloads) != len(self._inputs):
            log(WARN, f"intensors in:{len(payloads)} need:{len(self._inputs)} not match")
            self._give_up("Set InputsData failed")
        if self._gears and self._kind not in ("dims", "batch"):
            log(WARN, f"check failed dym gearcount:{len(self._gears)} but dymtype:0 not set")
            self._give_up("Set InputsData failed")
        limits = self._output_limits()
        if self._options.loop > 1:
            plain("\n")
        for index in range(self._options.loop):
            results = self._execute(payloads)
            if self._options.loop > 1:
                plain(f"\rloop inference exec: ({index + 1}/{self._options.loop})")
        if self._options.loop > 1:
            plain("\n")
        names = [desc.name for desc in self._outputs]
        for name in out_names:
            if name not in names:
                log(ERROR, f"outnames {name} not valid")
                self._give_up("Get OutTensors failed")
        return [
            Tensor(_cut(results[names.index(name)], limits[names.index(name)]), _device=self._device)
            for name in out_names
        ]

    if generation() == 8:

        def free_resource(self) -> None:
            self._unload()

    def finalize(*sessions: InferenceSession) -> int:
        for session in sessions:
            session._unload()
        devices.finalize()
        return 0

    def __repr__(self) -> str:
        def lines(descs: list[tensor_desc]) -> str:
            return "".join(
                f"  #{index}    {desc.name}  ({', '.join(map(str, desc.shape))})  {desc.datatype.name}  {desc.size}  "
                f"{desc.realsize}\n"
                for index, desc in enumerate(descs)
            )

        return f"<Model>\ndevice:\t{self._device}\ninput:\n{lines(self._inputs)}output:\n{lines(self._outputs)}"

    def _unload(self) -> None:
        if self._loaded:
            self._loaded = False
            log(INFO, f"unload model success, model Id is {MODEL_ID}")
            devices.close_session()

    def _describe(self, entry: dict[str, Any], index: int) -> tensor_desc:
        datatype = BY_NUMPY_NAME[entry["dtype"]]
        itemsize = np.dtype(entry["dtype"]).itemsize
        size = max((math.prod(self._dims_of(gear)[index]) for gear in self._gears), default=0) * itemsize
        if not self._gears:
            size = 0 if -1 in entry["shape"] else math.prod(entry["shape"]) * itemsize
        return _described(entry["name"], datatype, entry["shape"], size)

    def _describe_outputs(self) -> list[tensor_desc]:
        descs = []
        for entry, dims in zip(self._facts["outputs"], self._facts["largest_outputs"], strict=True):
            size = 0 if -1 in dims else math.prod(dims) * np.dtype(entry["dtype"]).itemsize
            datatype = BY_NUMPY_NAME[entry["dtype"]]
            descs.append(_described(entry["name"], datatype, entry["shape"], size))
        return descs

    def _dims_of(self, flat: list[int]) -> list[list[int]]:
        """The flattened dims of all inputs, per input."""
        values, dims = iter(flat), []
        for entry in self._facts["inputs"]:
            dims.append([next(values) for _ in entry["shape"]])
        return dims

    def _set_gear(self, flat: list[int], kind: str) -> None:
        self._kind, self._gear = kind, flat
        for desc, dims in zip(self._inputs, self._dims_of(flat), strict=True):
            desc.realsize = math.prod(dims) * np.dtype(NUMPY_NAMES[desc.datatype]).itemsize

    def _reject_gear(self) -> None:
        log(ERROR, f"model has {len(self._gears)} gear of dims")
        for index, gear in enumerate(self._gears):
            log(ERROR, f"dims[{index}]:" + "".join(f"[{size}]" for size in gear))
        log(ERROR, "check dynamic dims failed, please set correct dymDims paramenter")
        raise failure(GENERAL)

    def _check_feeds(self, feeds: Any) -> list[np.ndarray]:
        """Only bytes are compared: a wrong dtype of the same size is reinterpreted."""
        if isinstance(feeds, dict):
            if len(feeds) != len(self._inputs):
                log(ERROR, f"intensors size:{len(feeds)} need size:{len(self._inputs)} not match")
                self._give_up("Check InVector failed")
            for index, desc in enumerate(self._inputs):
                if desc.name not in feeds:
                    log(ERROR, f"intensors i:{index} name:{desc.name} not find")
                    self._give_up("Check InVector failed")
            feeds = [feeds[desc.name] for desc in self._inputs]
        if not all(isinstance(feed, Tensor | BaseTensor) for feed in feeds):
            raise TypeError("run(): incompatible function arguments.")  # pybind11 finds no overload
        for index, (feed, desc) in enumerate(zip(feeds, self._inputs, strict=False)):
            size = feed._size()
            if size != desc.realsize:
                log(ERROR, f"Check i:{index} name:{desc.name} in size:{size} needsize:{desc.realsize} not match")
                self._give_up("Check InVector failed")
        payloads = [feed._read() for feed in feeds]
        # Raw addresses are copied to the device here, tensors lie there already.
        return [
            MemorySummary._copied(payload, to_device=True) if isinstance(feed, BaseTensor) else payload
            for feed, payload in zip(feeds, payloads, strict=True)
        ]

    def _output_limits(self) -> list[int]:
        sizes = [desc.size for desc in self._outputs]
        sizes[: len(self._custom_sizes)] = self._custom_sizes[: len(sizes)]
        for index, (size, desc) in enumerate(zip(sizes, self._outputs, strict=True)):
            if size == 0:
                log(ERROR, f"out i:{index} size is zero")
                log(ERROR, f"create outmemory data failed:{ZERO_SIZE}")
                self._give_up("Set InputsData failed", ZERO_SIZE)
            if not self._gears and desc.size and size < desc.size:
                reason = f"output {index} has {size} bytes, the model needs {desc.size}"
                self._fail_execution(f"E13025: Input tensor is invalid. Reason: {reason}.")
        return sizes

    def _execute(self, payloads: list[np.ndarray]) -> list[np.ndarray]:
        if fault("acl:execute") is not None:
            self._fail_execution("EZ9999: Inner Error!\nEZ9999  The error from device, AI Core exception, code 507011")
        dims = self._dims_of(self._gear) if self._gear else [entry["shape"] for entry in self._facts["inputs"]]
        feeds = {
            entry["name"]: payload.view(entry["dtype"]).reshape(shape)
            for entry, payload, shape in zip(self._facts["inputs"], payloads, dims, strict=True)
        }
        started = time.perf_counter()
        results = self._onnx.run(None, feeds)
        ended = time.perf_counter()
        self._record(started, ended)
        return list(results)

    def _record(self, started: float, ended: float) -> None:
        """Of 2022: durations. Of 2024: float32 start and end since the session began."""
        if generation() == 6:
            self._summary.exec_time_list.append(float(np.float32((ended - started) * 1000)))
            return
        pair = [float(np.float32((moment - self._zero_point) * 1000)) for moment in (started, ended)]
        self._summary.exec_time_list.append((pair[0], pair[1]))

    def _fail_execution(self, recent: str) -> None:
        plain(recent + "\n")
        log(ERROR, f"execute model failed, modelId is {MODEL_ID}")
        log(ERROR, "acl execute failed:1")
        self._give_up("Execute Infer failed")

    def _give_up(self, text: str, code: int = GENERAL) -> None:
        log(ERROR, f"{text} ret:{code}")
        raise failure(code)


def _load(model_path: str) -> tuple[dict[str, Any], bytes]:
    arguments = " modelPath, options->weightDir, options" if tools_of_2026() else "modelPath"
    expression = f"processModel->LoadModelFromFile({arguments})"
    try:
        facts, onnx_bytes = read_om(Path(model_path))
    except (NotSimulated, OSError) as error:
        plain(f"E10001: Value {model_path} for parameter om is invalid. Reason: Invalid om file: {error}\n")
    else:
        chip = facts["soc_version"]
        if chip == soc() and fault("acl:wrong-chip") is None:
            return facts, onnx_bytes
        reason = "Model soc version is not support in this device."
        plain(f"E10001: Value {chip} for parameter soc_version is invalid. Reason: {reason}\n")
    log(ERROR, f"load model from file failed, model file is {model_path}")
    raise check(expression, INVALID)


def _onnx_session(facts: dict[str, Any], onnx_bytes: bytes) -> Any:
    import onnxruntime

    if facts["weights"] == "float16":
        # Loading onnx takes longer than all the rest.
        from cann_simulator.onnx_model import rounded_to_float16

        onnx_bytes = rounded_to_float16(onnx_bytes)
    return onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])


def _parse_dims(text: str) -> dict[str, list[int]]:
    named = {}
    for part in filter(None, text.split(";")):
        name, _, dims = part.partition(":")
        named[name] = [int(value) if value.strip().isdigit() else 0 for value in dims.split(",")]
    return named


def _cut(result: np.ndarray, limit: int) -> np.ndarray:
    """A buffer that is too small for a gear model is not refused; what lies beyond it is nobody's, here NaN."""
    if result.nbytes <= limit:
        return result
    spoilt = result.copy()
    spoilt.reshape(-1)[limit // result.itemsize :] = np.nan
    return spoilt
