"""The worker script by itself: its syntax, and the forms that differ between the vendor's generations."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.engines.ascend_runtime import worker


def test_it_is_python_3_7_and_needs_nothing_but_numpy():
    source = Path(worker.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert outside == {"numpy"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) in LATER_THAN_3_7]


LATER_THAN_3_7 = {"removeprefix", "removesuffix", "prod", "cached_property", "batched", "pairwise", "is_relative_to"}


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("times", [[9.0, 1.5], [(0.0, 9.0), (2.0, 3.5)], [[2.0, 3.5]]])
def test_both_forms_of_execution_times(times):
    assert worker._last_ns(times) == 1_500_000


class Description:
    def __init__(self, name, datatype=0):
        self.name, self.datatype, self.shape = name, datatype, [1, 10, -1]


class Session:
    def __init__(self, outputs=("node:0:wavs",), datatype=0):
        self.outputs, self.datatype = outputs, datatype

    def get_inputs(self):
        return [Description("mel_spec", self.datatype)]

    def get_outputs(self):
        return [Description(name) for name in self.outputs]


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        (["Tanh_9:0:wavs"], 0),
        (["wavs"], 0),
        (["a:0:other", "b:0:wavs"], 1),
        (["a:0:other", "b:0:mywavs"], 0),
    ],
)
def test_the_output_is_found_by_its_suffix_else_the_first_is_taken(outputs, chosen):
    assert worker.Runtime(Session(outputs), "wavs").output == chosen


def test_mels_are_cast_to_the_model_s_dtype():
    assert worker.Runtime(Session(datatype=1), "wavs").dtype == np.float16
    assert worker._dtype_name("dtype.float16") == "float16"


def test_the_older_spelling_of_a_mode_is_tried_when_the_newer_is_refused():
    runtime = worker.AisBench.__new__(worker.AisBench)
    asked = []

    class Spelt(Session):
        def infer(self, feeds, mode):
            asked.append(mode)
            if mode == "dymdims":
                raise RuntimeError("wrong infer_mode:dymdims, only support ...")
            return [feeds[0]]

        def summary(self):
            return type("Summary", (), {"exec_time_list": [2.0]})

    worker.Runtime.__init__(runtime, Spelt(), "wavs")
    _, compute_ns = runtime.run(np.zeros((1, 10, 5), np.float32), "dymdims", 0)
    assert asked == ["dymdims", "dyndims"]
    assert compute_ns == 2_000_000


@pytest.mark.parametrize("generation", ["free_resource", "finalize", "neither"])
def test_closing_calls_what_there_is(generation):
    called = []
    session = Session()
    if generation != "neither":
        setattr(session, generation, lambda: called.append(generation))
    worker.Runtime(session, "wavs").close()
    assert called == ([] if generation == "neither" else [generation])
