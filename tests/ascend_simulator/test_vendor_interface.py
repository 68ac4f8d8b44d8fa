"""The worker and the simulator, held to what four generations of the vendor's sources offer (vendor_interface.json)."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.engines.ascend_runtime import failures, worker

HERE = Path(__file__).parent
RECORD = json.loads((HERE / "vendor_interface.json").read_text(encoding="utf-8"))
GENERATIONS = tuple(RECORD["sources"])
SIMULATED = {
    "2023-06": {"SIM_CANN": "6"},
    "2024-09": {"SIM_CANN": "8"},
    "2026-08": {"SIM_CANN": "8", "SIM_TOOLS": "2026"},
}
"""Settings of the simulator by the generation that they imitate; SIM_TOOLS is about aclruntime alone."""

CAUSES = {
    "path": "does not accept the path", "versions": "are of different versions", "device": "cannot be opened",
    "gears": "the gears that", "inputs": "takes other inputs", "load": "cannot load",
    "chip": "was converted for Ascend310P3",
    "newer": "newer CANN", "memory": "too little free memory", "use": "is in use", "heartbeat": "does not answer",
    "execution": "failed while it ran", "late": "did not end a run", "driver": "the driver of",
    "size": "true dynamic shapes",
}  # fmt: skip
"""Words of the error that a recorded text becomes."""


def entries(section: str, generation: str) -> dict[str, dict]:
    """The names of one generation, each with what is known of it."""
    return {name: fact for name, facts in RECORD[section].items() for fact in facts if generation in fact["in"]}


def filled(text: str) -> str:
    return text.replace("{}", "7")


def test_every_entry_has_its_source():
    for source in (*RECORD["sources"].values(), *RECORD["cann_sources"].values()):
        assert re.fullmatch(r"github\.com/[\w.-]+/[\w.-]+", source["repository"])
        assert re.fullmatch(r"[0-9a-f]{40}", source["commit"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", source["date"])
    for section in ("aclruntime", "ais_bench", "options"):
        for name in RECORD[section]:
            for generation in GENERATIONS:
                fact = entries(section, generation).get(name)
                assert fact is None or fact["file"] in RECORD["sources"][generation]["files"], name
    assert all(set(message["in"]) <= set(GENERATIONS) and message["in"] for message in RECORD["messages"].values())
    known = RECORD["sources"] | RECORD["cann_sources"]
    assert all(fact["of"] in known for fact in (*RECORD["cann_messages"].values(), *RECORD["codes"].values()))


class Recorded:
    """An object of a recorded class: other names and other arguments than the recorded ones do not exist."""

    def __init__(self, generation: str, section: str, name: str, results: dict) -> None:
        self._where = (generation, section, name, results)

    def __getattr__(self, attribute: str):
        generation, section, name, results = self._where
        known = entries(section, generation)
        key = f"{name}.{attribute}"
        if key not in known and f"{name}.__getattr__" in known:  # what ais_bench of 2026 lacks, its session has
            return getattr(Recorded(generation, "aclruntime", "InferenceSession", results), attribute)
        if key not in known:
            raise AttributeError(attribute)
        fact = known[key]
        if fact["kind"].startswith("attribute"):
            return results[key]
        forms = [fact["arguments"]] if section == "ais_bench" else fact["arguments"]
        return functools.partial(call, forms, results.get(key), results)


def call(forms: list[list[str]], result, results: dict, *given, **named):
    """The result, if one of the recorded forms takes these arguments."""
    results["calls"] = results.get("calls", 0) + 1
    for form in forms:
        names = [argument.partition("=")[0] for argument in form]
        least = sum("=" not in argument for argument in form)
        if least <= len(given) + len(named) and len(given) <= len(form) and set(named) <= set(names[len(given) :]):
            return result(*given, **named) if callable(result) else result
    raise TypeError(f"{given}, {named}: the forms are {forms}")


@pytest.fixture(params=GENERATIONS)
def vendor(request, monkeypatch):
    """Modules that have the recorded names of a generation, and nothing else."""
    generation = request.param
    desc = {"tensor_desc.name": "mel", "tensor_desc.datatype": 0, "tensor_desc.shape": [1, 10, 30]}
    pair = [(1.0, 3.0)] if generation != "2023-06" else [2.0]
    results: dict = dict(desc)

    def of(name, section="aclruntime"):
        return Recorded(generation, section, name, results)

    def infer(feeds, mode="static", custom_sizes=100000, **_):
        assert mode in RECORD["sources"][generation]["modes"]
        return [np.zeros((1, 240), np.float32)]

    summary = "Summary" if generation == "2026-08" else "sumary"
    results |= {
        "InferenceSession.get_inputs": lambda: [of("tensor_desc")],
        "InferenceSession.get_outputs": lambda: [of("tensor_desc")],
        "InferenceSession.run": lambda names, feeds: [Array(generation, "aclruntime", "Tensor", results)],
        "InferenceSession.sumary": lambda: of(summary),
        "InferenceSession.summary": lambda: of(summary),
        f"{summary}.exec_time_list": pair,
        "InferSession.get_inputs": lambda: [of("tensor_desc")],
        "InferSession.get_outputs": lambda: [of("tensor_desc")],
        "InferSession.infer": infer,
        "InferSession.sumary": lambda: of(summary),
        "InferSession.summary": lambda: of(summary),
    }
    acl, bench = types.ModuleType("aclruntime"), types.ModuleType("ais_bench.infer.interface")
    for module, section in ((acl, "aclruntime"), (bench, "ais_bench")):
        known = entries(section, generation)
        for name, fact in known.items():
            if fact["kind"] == "class":
                forms = known.get(f"{name}.__init__", {}).get("arguments", [])
                forms = [forms] if section == "ais_bench" else forms
                made = functools.partial(lambda section, name, *_, **__: of(name, section), section, name)
                setattr(module, name, functools.partial(call, forms, made, results))
    monkeypatch.setitem(sys.modules, "aclruntime", acl)
    monkeypatch.setitem(sys.modules, "ais_bench.infer.interface", bench)
    return results


class Array(Recorded):
    """A tensor, which NumPy reads by the buffer protocol."""

    def __array__(self, dtype=None, copy=None):
        return np.zeros((1, 240), np.float32)


@pytest.mark.parametrize("kind", [worker.AclRuntime, worker.AisBench])
def test_the_worker_asks_for_nothing_that_a_generation_lacks(vendor, kind):
    runtime = kind("m.om", 0, "wavs")
    assert runtime.describe()["inputs"] == [{"name": "mel", "shape": [1, 10, 30], "dtype": "float32"}]
    for shape_mode in ("static", "dymdims", "dymshape"):
        audio, nanoseconds = runtime.run(np.zeros((1, 10, 30), np.float32), shape_mode, 1024)
        assert audio.shape == (1, 240)
        assert nanoseconds >= 0
    before = vendor["calls"]
    runtime.close()
    assert vendor["calls"] > before


def test_the_worker_s_numbers_of_types_are_the_vendor_s():
    for generation in GENERATIONS:
        members = entries("aclruntime", generation)["dtype"]["members"]
        assert {number: "float64" if name == "double" else name for name, number in members.items()} == worker.DTYPES


DUMP = """
import argparse, inspect, json, sys
import aclruntime, ais_bench.infer.interface as interface
from ais_bench.infer import arguments

def of(module, names):
    found = {}
    for name in names:
        thing = getattr(module, name)
        if not inspect.isclass(thing):
            continue
        found[name] = None
        if hasattr(thing, "__members__"):
            continue
        for member in [*(n for n in vars(thing) if not n.startswith("_")), "__init__"]:
            value = inspect.getattr_static(thing, member)
            static = isinstance(value, staticmethod)
            function = value.__func__ if static else value
            if inspect.isfunction(function):
                found[f"{name}.{member}"] = [
                    p.name + ("" if p.default is p.empty else f"={p.default!r}")
                    for p in inspect.signature(function).parameters.values()
                    if p.kind is not p.KEYWORD_ONLY
                ][0 if static else 1 :]
            elif member != "__init__":
                found[f"{name}.{member}"] = None
    return found

argparse.ArgumentParser.parse_args = lambda parser: {
    action.option_strings[0]: [action.default, action.choices, action.option_strings[1:]]
    for action in parser._actions if action.dest != "help"
}
public = [n for n, v in vars(interface).items() if inspect.isclass(v) and v.__module__ == interface.__name__]
offered = [n for n in aclruntime.__all__ if n != "CAVEAT"]
print(json.dumps([of(aclruntime, offered), of(interface, public), arguments.read_arguments()]))
"""


@pytest.fixture(scope="module", params=SIMULATED)
def offered(request):
    """What the simulator offers, with the generation that it imitates."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}
    done = subprocess.run(
        [sys.executable, "-c", DUMP], capture_output=True, text=True, timeout=120,
        env=plain | SIMULATED[request.param] | {"PYTHONPATH": str(HERE / "python")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout)


def test_the_simulator_offers_only_recorded_names(offered):
    generation, (acl, bench, options) = offered
    recorded = entries("aclruntime", generation)
    assert set(acl) <= set(recorded)
    for name, given in acl.items():
        forms = recorded[name].get("arguments")
        assert (forms is None) == (given is None), name
        # pybind11 has no names for arguments: their number counts, and that none may be left out.
        assert forms is None or (len(given) in {len(form) for form in forms} and not any("=" in a for a in given)), name
    if generation == "2026-08":  # ais_bench stays that of 2024 there
        return
    recorded = entries("ais_bench", generation)
    for name, given in bench.items():
        assert name in recorded, name
        own = {"dym_batch": "dymBatch"} if generation == "2023-06" else {}
        assert recorded[name].get("arguments") == (given and [own.get(argument, argument) for argument in given]), name
    recorded = entries("options", generation)
    assert set(options) == set(recorded)
    for name, (default, choices, short) in options.items():
        fact = recorded[name]
        assert (default, choices, short) == (
            fact["default"], fact.get("choices"), [fact["short"]] if "short" in fact else []
        ), name  # fmt: skip


def simulated_texts(calls: tuple[str, ...]):
    """Texts that the simulated aclruntime prints, with 7 for values."""
    for path in sorted((HERE / "python" / "aclruntime").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
            if name not in calls:
                continue
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value
                elif isinstance(argument, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "7" for part in argument.values]
                    yield "".join(parts)


def test_what_the_simulated_runtime_prints_is_recorded():
    known = [re.compile(re.escape(text).replace(r"\{\}", ".*")) for text in RECORD["messages"]]
    texts = [text for text in simulated_texts(("log",)) if re.search("[a-z]{3}", text)]
    texts += [f"{text} ret:7" for text in simulated_texts(("_give_up",))]
    assert len(texts) > 30
    unknown = [text for text in texts if not any(pattern.search(text) or text == "7 ret:7" for pattern in known)]
    assert unknown == []


def test_lines_that_were_reworded_by_2026_are_recorded():
    tree = ast.parse((HERE / "python" / "aclruntime" / "logs.py").read_text(encoding="utf-8"))
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_REWORDED"
    )
    for texts, generation in zip(
        zip(*ast.literal_eval(table).items(), strict=True), ("2023-06", "2026-08"), strict=True
    ):
        printed = [text for text, fact in RECORD["messages"].items() if generation in fact["in"]]
        assert [text for text in texts if not any(line.startswith(text) for line in printed)] == []


CONTEXT = failures.DeviceContext("python3", Path("m.om"), 0, "Ascend310P3")
CAUSED = {
    **{filled(text): fact["cause"] for text, fact in RECORD["messages"].items() if "cause" in fact},
    **{filled(text): fact["cause"] for text, fact in RECORD["cann_messages"].items()},
    **{f"[{code}][Error code unknown] ": fact["cause"] for code, fact in RECORD["codes"].items()},
}


@pytest.mark.parametrize("text", CAUSED)
def test_a_recorded_text_is_classed(text, monkeypatch):
    monkeypatch.setattr(failures, "_chips_here", lambda: "")
    error = failures.runtime_failure("[-1][ACL: general failure] ", f"[ERROR] {text}\n", CONTEXT)
    assert re.search(CAUSES[CAUSED[text]], str(error)), error


def alternatives(pattern: str) -> list[str]:
    """The parts of a pattern between bars outside brackets."""
    parts, depth = [""], 0
    for character in pattern:
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def test_what_the_classification_waits_for_is_recorded():
    texts = [*CAUSED, *(text for texts in RECORD["not_read"] for text in texts.split(", "))]
    own = "module 'aclruntime' has no attribute 'session_options'"  # Python's
    two_chips = "soc_version of the model Ascend310P3, here Ascend910B4"
    unknown = [
        part
        for pattern, _ in failures._EXPLANATIONS
        for part in alternatives(pattern)
        if not any(re.search(part, text) for text in (*texts, own, two_chips))
    ]
    assert unknown == []
