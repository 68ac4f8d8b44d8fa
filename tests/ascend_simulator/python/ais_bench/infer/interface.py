"""`InferSession` and `MultiDeviceSession`, in the form of 2022 or of 2024."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import aclruntime
from ais_bench.infer.path_checks import is_legal_model
from cann_simulator.settings import generation, tools_of_2026

_SCALARS = (
    np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.float16, np.float32, np.float64,
)  # fmt: skip
MOST_DEVICES = 255


class InferSession:
    def __init__(
        self, device_id: int, model_path: str, acl_json_path: str | None = None, debug: bool = False, loop: int = 1
    ) -> None:
        if generation() == 8:
            _check_legality(device_id, model_path)
        self.device_id, self.model_path, self.loop = device_id, model_path, loop
        options = aclruntime.session_options()
        if acl_json_path is not None:
            options.acl_json_path = acl_json_path
        options.log_level = 1 if debug else 2
        options.loop = loop
        self.session = aclruntime.InferenceSession(model_path, device_id, options)
        self.outputs_names = [meta.name for meta in self.session.get_outputs()]

    def get_inputs(self) -> list[Any]:
        self.intensors_desc = self.session.get_inputs()
        return self.intensors_desc

    def get_outputs(self) -> list[Any]:
        self.outtensors_desc = self.session.get_outputs()
        return self.outtensors_desc

    def set_loop_count(self, loop: int) -> None:
        self.session.options().loop = loop

    def set_staticbatch(self) -> None:
        self.session.set_staticbatch()

    def set_dynamic_batchsize(self, dym_batch: int) -> None:
        self.session.set_dynamic_batchsize(dym_batch)

    def set_dynamic_hw(self, w: int, h: int) -> None:
        self.session.set_dynamic_hw(w, h)

    def set_dynamic_dims(self, dym_dims: str) -> None:
        self.session.set_dynamic_dims(dym_dims)

    def set_dynamic_shape(self, dym_shape: str) -> None:
        self.session.set_dynamic_shape(dym_shape)

    def set_custom_outsize(self, custom_sizes: list[int]) -> None:
        self.session.set_custom_outsize(custom_sizes)

    def create_tensor_from_fileslist(self, desc: Any, files: list[str]) -> Any:
        return self.session.create_tensor_from_fileslist(desc, files)

    def create_tensor_from_arrays_to_device(self, arrays: np.ndarray) -> Any:
        tensor = aclruntime.Tensor(arrays)
        tensor.to_device(self.device_id)
        return tensor

    @staticmethod
    def convert_tensors_to_host(tensors: list[Any]) -> None:
        for tensor in tensors:
            tensor.to_host()

    @staticmethod
    def convert_tensors_to_arrays(tensors: list[Any]) -> list[np.ndarray]:
        return [np.array(tensor) for tensor in tensors]

    def run(self, feeds: list[Any], out_array: bool = False) -> list[Any]:
        inputs = feeds
        if len(feeds) > 0 and isinstance(feeds[0], np.ndarray):
            # The address is taken as it is: an array that is not contiguous is read wrongly.
            inputs = [aclruntime.BaseTensor(feed.ctypes.data, feed.nbytes) for feed in feeds]
        outputs = self.session.run(self.outputs_names, inputs)
        if not out_array:
            return outputs
        self.convert_tensors_to_host(outputs)
        return self.convert_tensors_to_arrays(outputs)

    if generation() == 6:

        def sumary(self) -> Any:  # sic
            return self.session.sumary()

        def reset_sumaryinfo(self) -> None:
            self.session.reset_sumaryinfo()

        def finalize(self) -> None:
            self.session.finalize()

        def infer(self, feeds: list[Any], mode: str = "static", custom_sizes: Any = 100000) -> list[np.ndarray]:
            """Every mode but dymshape and dymdims silently means static."""
            inputs, shapes = _convert(feeds)
            if mode in ("dymshape", "dymdims"):
                self._prepare(mode, shapes, custom_sizes)
            return self.run(inputs, out_array=True)

    else:

        def summary(self) -> Any:
            return self.session.sumary()

        def reset_summaryinfo(self) -> None:
            (self.session.reset_summaryinfo if tools_of_2026() else self.session.reset_sumaryinfo)()

        def free_resource(self) -> None:
            self.session.free_resource()

        @staticmethod
        def finalize() -> None:
            aclruntime.InferenceSession.finalize()

        def infer(
            self, feeds: list[Any], mode: str = "static", custom_sizes: Any = 100000, out_array: bool = True
        ) -> list[Any]:
            inputs, shapes = _convert(feeds)
            if mode not in ("static", "dymbatch", "dymhw", "dymdims", "dymshape"):
                blank = " " * 16
                raise RuntimeError(
                    f'wrong infer_mode:{mode}, only support "static","dymbatch","dymhw", {blank}"dymdims","dymshape"'
                )
            if mode != "static" and len(shapes) != len(self.get_inputs()):
                raise RuntimeError("input datas and intensors nums not matched!")
            self._prepare(mode, shapes, custom_sizes)
            return self.run(inputs, out_array)

        def infer_iteration(
            self,
            feeds: list[Any],
            in_out_list: list[int] | None = None,
            iteration_times: int = 1,
            mode: str = "static",
            custom_sizes: Any = 100000,
        ) -> list[np.ndarray]:
            """Chain outputs into inputs: input i takes output in_out_list[i], -1 keeps it."""
            if len(in_out_list or []) != len(self.get_inputs()):
                raise RuntimeError("inputs' amount and length of in_out_list not matched!")
            arrays, shapes = _convert(feeds)
            inputs = [self.create_tensor_from_arrays_to_device(array) for array in arrays]
            self._prepare(mode, shapes, custom_sizes)
            for turn in range(iteration_times):
                outputs = self.session.run(self.outputs_names, inputs)
                if turn + 1 < iteration_times:
                    inputs = [outputs[k] if k >= 0 else old for k, old in zip(in_out_list or [], inputs, strict=True)]
            self.convert_tensors_to_host(outputs)
            return self.convert_tensors_to_arrays(outputs)

    def _prepare(self, mode: str, shapes: list[Any], custom_sizes: Any) -> None:
        if mode == "static":
            self.set_staticbatch()
        elif mode == "dymbatch":
            self._prepare_batch(shapes)
        elif mode == "dymhw":
            raise RuntimeError("not a dymhw model!")
        else:
            text = ";".join(
                f"{desc.name}:{','.join(map(str, shape))}"
                for desc, shape in zip(self.get_inputs(), shapes, strict=False)
            )
            if mode == "dymdims":
                self.session.set_dynamic_dims(text)
                return
            self.session.set_dynamic_shape(text)
            if isinstance(custom_sizes, int):
                custom_sizes = [custom_sizes] * len(self.get_outputs())
            elif not isinstance(custom_sizes, list):
                raise RuntimeError(f"custom_sizes:{custom_sizes} type:{type(custom_sizes)} invalid")
            self.session.set_custom_outsize(custom_sizes)

    def _prepare_batch(self, shapes: list[Any]) -> None:
        for desc, shape in zip(self.get_inputs(), shapes, strict=True):
            for known, size in zip(desc.shape, shape, strict=False):
                if known < 0:
                    self.set_dynamic_batchsize(size)
                    return
                if known != size:
                    raise RuntimeError("input datas and intensors dim not matched!")
        raise RuntimeError("not a dymbatch model!")


class MultiDeviceSession:
    """One process per list of feeds; the times include the loading of the model."""

    def __init__(self, model_path: str, acl_json_path: str | None = None, debug: bool = False, loop: int = 1) -> None:
        self._arguments = (model_path, acl_json_path, debug, loop)
        self._times: dict[int, list[float]] = {}

    def summary(self) -> dict[int, list[float]]:
        return self._times

    def infer(
        self, device_feeds: dict[int, list[Any]], mode: str = "static", custom_sizes: Any = 100000
    ) -> dict[int, list[Any]]:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        jobs = [(device, feeds) for device, lists in device_feeds.items() for feeds in lists]
        outputs: dict[int, list[Any]] = {}
        with ProcessPoolExecutor(len(jobs), get_context("spawn")) as pool:
            futures = [
                pool.submit(_infer_there, device, feeds, mode, custom_sizes, *self._arguments) for device, feeds in jobs
            ]
            for future in futures:
                device, result, seconds = future.result()
                outputs.setdefault(device, []).append(result)
                self._times.setdefault(device, []).append(seconds * 1000)
        return outputs


if generation() == 6:
    del MultiDeviceSession


def _infer_there(
    device: int, feeds: list[Any], mode: str, custom_sizes: Any, *arguments: Any
) -> tuple[int, Any, float]:
    session = InferSession(device, *arguments)
    started = time.time()
    result = session.infer(feeds, mode, custom_sizes)
    return device, result, time.time() - started


class MemorySummary:
    """Times of the copies."""

    @staticmethod
    def get_h2d_time_list() -> list[float]:
        return aclruntime.MemorySummary().H2D_time_list

    @staticmethod
    def get_d2h_time_list() -> list[float]:
        return aclruntime.MemorySummary().D2H_time_list

    if generation() == 6:
        get_H2D_time_list, get_D2H_time_list = get_h2d_time_list, get_d2h_time_list  # noqa: N815 - the vendor's names
        del get_h2d_time_list, get_d2h_time_list

    @staticmethod
    def reset() -> None:
        aclruntime.MemorySummary().reset()


def _convert(feeds: list[Any]) -> tuple[list[Any], list[Any]]:
    inputs: list[Any] = []
    shapes: list[Any] = []
    for feed in feeds:
        if type(feed) is np.ndarray:
            # Only the tool of 2024 makes arrays contiguous.
            inputs.append(np.ascontiguousarray(feed) if generation() == 8 else feed)
            shapes.append(feed.shape)
        elif type(feed) in _SCALARS:
            inputs.append(np.array(feed))
            shapes.append([feed.size])
        elif type(feed) is aclruntime.Tensor:
            inputs.append(feed)
            shapes.append(feed.shape)
        elif hasattr(feed, "type") and str(feed.type()).startswith("torch."):
            inputs.append(np.ascontiguousarray(feed.numpy()))
            shapes.append(inputs[-1].shape)
        else:
            raise RuntimeError(f"type:{type(feed)} invalid")
    return inputs, shapes


def _check_legality(device: Any, model_path: str) -> None:
    if not model_path:
        raise RuntimeError("empty model path!")
    if not is_legal_model(model_path):
        raise RuntimeError(f"om path:{model_path} is illegal. Please check.")
    if not isinstance(device, int):
        raise TypeError(f"device:{device} is not a integer!")
    if not 0 <= device <= MOST_DEVICES:
        raise ValueError(f"device:{device} is illegal. legal value range is [0, {MOST_DEVICES}]")
