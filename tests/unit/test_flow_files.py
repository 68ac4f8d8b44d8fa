"""Voices that VITS and Piper wrote, read with their flow, against what their own networks compute in float64."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import tolerances
from hifigan_rt import load
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError, HifiganError, ModelFileError
from hifigan_rt.model.resolve import read_generator, resolve_model

RECORD = np.load(Path(__file__).parents[1] / "golden" / "flows.npz", allow_pickle=False)
CASES = json.loads(str(RECORD["facts"]))["cases"]


def unpack(case: str, folder: Path) -> Path:
    for file in CASES[case]["files"]:
        (folder / file).write_bytes(RECORD[f"{case}/files/{file}"].tobytes())
    return folder / CASES[case]["file"]


@pytest.mark.parametrize("case", CASES)
def test_flow_and_decoder_are_what_the_framework_computes(tmp_path, case):
    model = resolve_model(unpack(case, tmp_path), with_flow=True)
    latents, audio = RECORD[f"{case}/latents"], RECORD[f"{case}/audio"]
    flow = model.graph.config.flow
    assert (flow.channels, flow.couplings, flow.layers, flow.kernel_size, flow.dilation_rate) == (4, 4, 4, 5, 1)
    speaker = CASES[case]["speaker"]
    assert flow.is_conditioned == (speaker is not None)
    vector = None if speaker is None else model.generator.speaker_table[speaker]
    result = generate(model.generator, latents, vector)
    assert result.shape == audio.shape
    assert np.abs(result - audio).max() <= tolerances.OWN_WEIGHT_NORM_MAX_ABS
    assert np.sqrt((audio**2).mean()) > 0.01
    again = read_generator(model)
    assert all(np.array_equal(again.weights[name], array) for name, array in model.generator.weights.items())


@pytest.mark.torch
@pytest.mark.parametrize("case", [case for case, facts in CASES.items() if not facts["file"].endswith(".onnx")])
def test_parts_that_were_compiled_alone_are_the_same(tmp_path, case):
    torch = pytest.importorskip("torch")
    path = unpack(case, tmp_path)
    wanted = resolve_model(path, with_flow=True).generator
    root = torch.load(path, weights_only=False)
    key = next(key for key in ("model", "state_dict") if key in root)
    for name in list(root[key]):
        part = next((part for part in ("dec.", "flow.", "emb_g.", "global_emb.") if part in name), None)
        if part is not None:
            root[key][name.replace(part, f"{part}_orig_mod.")] = root[key].pop(name)
    torch.save(root, path)
    found = resolve_model(path, with_flow=True).generator
    assert found.weights.keys() == wanted.weights.keys()
    assert all(np.array_equal(found.weights[name], array) for name, array in wanted.weights.items())
    np.testing.assert_array_equal(found.speaker_table, wanted.speaker_table)


@pytest.mark.parametrize("case", CASES)
def test_native_computes_and_streams_it(tmp_path, case):
    latents, audio = RECORD[f"{case}/latents"], RECORD[f"{case}/audio"]
    own = {"speaker": CASES[case]["speaker"]}
    with load(resolve_model(unpack(case, tmp_path), with_flow=True)) as vocoder:
        assert vocoder.engine_info.name == "native"
        assert snr_db(audio, vocoder(latents, **own)) >= tolerances.NATIVE_SMALL_SNR_DB
        whole, stream = vocoder(latents, **own, segment_frames=16), vocoder.stream(16, **own)
        pieces = [stream.push(latents[:, i : i + 7]) for i in range(0, latents.shape[1], 7)]
        pieces.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("case", list(CASES)[:3])
def test_without_the_flow_the_decoder_is_read_as_ever(tmp_path, case):
    model = resolve_model(unpack(case, tmp_path))
    assert model.graph.config.flow is None
    assert "flow.0.pre.weight" not in model.generator.weights


def test_the_latents_of_an_exported_voice_are_named(tmp_path):
    path = unpack("piper, exported", tmp_path)
    name = resolve_model(path, with_flow=True).voice.latents
    assert name != resolve_model(path).voice.latents
    whole = onnx.load(path)
    whole.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(whole.SerializeToString())
    audio, latents = session.run(
        None,
        {
            "input": np.array([[1, 2, 3, 4, 1, 2, 3, 4, 2]]),
            "input_lengths": np.array([9]),
            "scales": np.array([0.667, 9, 0.8], np.float32),
            "sid": np.array([2]),
        },
    )
    with load(resolve_model(path, with_flow=True)) as vocoder:
        assert snr_db(audio.reshape(-1), vocoder(latents[0], speaker=2)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def broken(path: Path, change) -> Path:
    model = onnx.load(path)
    change(model.graph)
    other = path.with_name("other.onnx")
    onnx.save(model, other)
    return other


def node_of(graph, op_type, number=0):
    first = next(i for i, node in enumerate(graph.node) if node.name.startswith("/flow/"))
    return [node for node in list(graph.node)[first:] if node.op_type == op_type][number]


def no_tanh(graph):
    node_of(graph, "Tanh").op_type = "Relu"


def other_product(graph):
    tanh, sigmoid = node_of(graph, "Tanh"), node_of(graph, "Sigmoid")
    sigmoid.input[0] = tanh.input[0]


def added(graph):
    node_of(graph, "Sub").op_type = "Add"


def strided(graph):
    conv = next(node for node in graph.node if node.op_type == "Conv" and "in_layers" in node.name)
    next(item for item in conv.attribute if item.name == "pads").ints[:] = [4, 0]


def rolled(graph):
    concat = node_of(graph, "Concat")
    concat.input[:] = list(concat.input)[::-1]


@pytest.mark.parametrize("change", [no_tanh, other_product, added, strided, rolled])
def test_flows_that_differ_are_refused(tmp_path, change):
    path = broken(unpack("piper, exported", tmp_path), change)
    with pytest.raises(HifiganError, match="holds no voice with a flow that is known"):
        resolve_model(path, with_flow=True)


def test_what_holds_no_flow_says_so(tmp_path):
    from golden.family_files import unpack as unpack_family
    from golden.tiny_speakers import write_speaking

    with pytest.raises(CheckpointError, match="holds a vocoder alone"):
        resolve_model(write_speaking(tmp_path / "a"), with_flow=True)
    with pytest.raises(ModelFileError, match="no coupling of a flow makes the value"):
        resolve_model(unpack_family(tmp_path / "b", "piper_onnx", "newer exporter"), with_flow=True)
    with pytest.raises(CheckpointError, match="flow of its voice is another"):
        resolve_model(unpack_family(tmp_path / "c", "vits", "vits_model"), with_flow=True)
