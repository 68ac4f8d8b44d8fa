"""Foreign files whose samples are not those that their config says, or no audio: refused before they are used.

Beside each kind of wrong graph stand right ones that must pass as they are.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import hifigan_rt
from engines.onnx_files import foreign, truth, unsqueeze, write
from golden.tiny import TINY, tiny_generator, tiny_mel
from hifigan_rt.engines import output_rule
from hifigan_rt.engines.onnxruntime_session import SessionEngine
from hifigan_rt.errors import ConfigError, OutputMismatch
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.graph import build_graph

INPUT, OUTPUT = "some.input", "some.output"
HOP = TINY.generator.hop_length


def plain(mel=("b", 10, "t"), audio=("b", "n")) -> onnx.ModelProto:
    return foreign(list(mel), [], [], list(audio))


def spliced(model: onnx.ModelProto, end: str, op_type: str, *constants: np.ndarray, **attributes) -> onnx.ModelProto:
    """Put one more operator at an end of the graph."""
    names = [f"constant.{index}" for index in range(len(constants))]
    model.graph.initializer.extend(map(numpy_helper.from_array, constants, names))
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = ["inner" if name == end else name for name in values]
    if end == INPUT:
        model.graph.node.insert(0, helper.make_node(op_type, [INPUT, *names], ["inner"], **attributes))
    else:
        model.graph.node.append(helper.make_node(op_type, ["inner", *names], [OUTPUT], **attributes))
    return model


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def padded(before: int, after: int) -> onnx.ModelProto:
    return spliced(plain(), INPUT, "Pad", integers(0, 0, before, 0, 0, after), mode="edge")


def cropped(start: int, end: int) -> onnx.ModelProto:
    return spliced(plain(), OUTPUT, "Slice", integers(start), integers(end), integers(1))


def scaled(factor: float) -> onnx.ModelProto:
    return spliced(plain(), OUTPUT, "Mul", np.array(factor, np.float32))


def folder_of(tmp_path: Path, model: onnx.ModelProto, **metadata: object) -> Path:
    """The file, beside TINY's config."""
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    return write(model, tmp_path / "foreign.onnx")


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request):
    return request.param


WRONG = {
    "mel padded, as Coqui's": (padded(5, 5), r"gives 216 samples .* 17 frames, .* 136 \(hop length 8\): .*as for 10"),
    "mel padded at its end": (padded(0, 1), r"144 samples .* 136 .*as for 1 frames more"),
    "a hop less one too short": (cropped(0, -(HOP - 1)), r"129 samples .* 136 .*without padding or cropping"),
    "cropped by a frame at each end": (cropped(HOP, -HOP), r"120 samples .* 136 .*as for 2 frames less"),
    "always as long": (cropped(0, 100), r"100 samples .* 136"),
    "scaled to integers": (scaled(32768), r"up to \d+.*scaled by 32768: divide"),
    "a large gain": (scaled(50), r"up to \d+.* beyond 1, .*with its last layer \(tanh\)"),
    "divided twice": (scaled(1 / 32768), r"up to .*e-05 only, .*divide its audio by 32768"),
    "no weights": (scaled(0), r"zeros alone for a mel that is no silence: are its weights zeros"),
    "not finite": (scaled(np.nan), r"not finite \(NaN or infinity\) for a mel of 17 frames"),
    "infinite": (spliced(plain(), OUTPUT, "Div", np.array(0, np.float32)), "not finite"),
    "bands of a multi-band model": (
        spliced(plain(audio=("b", 4, "n")), OUTPUT, "Reshape", integers(0, 4, -1)),
        r"shape \[1, 4, 34\] for 1 mel.*multi-band",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_graph_that_is_not_what_was_said_of_it(tmp_path, engine, kind):
    model, text = WRONG[kind]
    path = folder_of(tmp_path, model)
    with pytest.raises(OutputMismatch, match=text):
        hifigan_rt.load(path, engine=engine)


def test_a_length_that_is_right_for_some_mels_only(tmp_path, engine):
    with hifigan_rt.load(folder_of(tmp_path, cropped(0, 20 * HOP)), engine=engine) as vocoder:
        assert vocoder(tiny_mel(20)).shape == (20 * HOP,)
        for call in (
            lambda: vocoder(tiny_mel(21)),
            lambda: vocoder([tiny_mel(5), tiny_mel(21)]),
            lambda: vocoder(tiny_mel(30), segment_frames=25),
            lambda: vocoder.stream(25).push(tiny_mel(25)),
        ):
            with pytest.raises(OutputMismatch, match=r"gives 160 samples for a mel of \d+ frames, its config says"):
                call()


def test_one_fixed_length_is_checked_by_what_the_file_declares(tmp_path, engine):
    with pytest.raises(OutputMismatch, match=r"gives 192 samples for a mel of 25 frames, its config says 200"):
        hifigan_rt.load(folder_of(tmp_path, plain((1, 10, 25), (1, 192))), engine=engine)
    with hifigan_rt.load(folder_of(tmp_path, plain((2, 10, 25), (2, 1, 200))), engine=engine):
        pass


def test_another_hop_than_the_config_says(tmp_path, engine):
    # Bounds that cut nothing are no part of a generator, so the layers of the file are not read.
    path = folder_of(tmp_path, foreign(["b", 10, "t"], [], [("Clip", {})], ["b", "n"]))
    other = config_to_dict(TINY) | {"upsample_rates": [4, 3], "upsample_kernel_sizes": [8, 5], "hop_size": 12}
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(OutputMismatch, match=r"136 samples .* 204 \(hop length 12\): that is 8 samples a frame: give"):
        hifigan_rt.load(path, engine=engine)


def test_another_hop_than_the_layers_have(tmp_path, engine):
    path = folder_of(tmp_path, plain())
    other = config_to_dict(TINY) | {"upsample_rates": [4, 3], "upsample_kernel_sizes": [8, 5], "hop_size": 12}
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(
        ConfigError, match=r"upsample_rates \[4, 2\] and \[4, 3\], .* \(of the file and of the config\)"
    ):
        hifigan_rt.load(path, engine=engine)


RIGHT = {
    "plain": plain(),
    "channel kept": foreign(["b", 10, "t"], [], [unsqueeze(1)], ["b", 1, "n"]),
    "one batch": plain((1, 10, "t"), (1, "n")),
    "now and then beyond 1": scaled(2.5),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_graph_that_is_what_was_said_of_it_runs_in_every_way(tmp_path, engine, kind):
    mel = tiny_mel(40)
    expected = truth(mel[None])[0] * (2.5 if "beyond" in kind else 1)
    with hifigan_rt.load(folder_of(tmp_path, RIGHT[kind]), engine=engine) as vocoder:
        for audio in (vocoder(mel), vocoder([mel])[0], vocoder(mel, segment_frames=7)):
            np.testing.assert_allclose(audio, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("place", ["beside the file", "in its metadata"])
def test_a_network_that_looks_further_than_its_config_says(tmp_path, engine, place):
    # A moving mean over 81 frames in front, with as many samples as before.
    mean = np.zeros((10, 10, 81), np.float32)
    mean[range(10), range(10)] = 1 / 81
    model = spliced(plain(), INPUT, "Conv", mean, pads=[40, 40])
    path = folder_of(tmp_path, model)
    if place == "in its metadata":  # of another program, which says nothing about who wrote the file
        path = folder_of(tmp_path, model, config=(tmp_path / "config.json").read_text())
        (tmp_path / "config.json").unlink()
    with hifigan_rt.load(path, engine=engine) as vocoder:
        assert vocoder(tiny_mel(50)).shape == (50 * HOP,)
        for call in (vocoder.stream, lambda: vocoder(tiny_mel(50), segment_frames=8)):
            with pytest.raises(OutputMismatch, match="depend on frames further away than"):
                call()


def test_without_a_config_the_length_is_open_and_the_range_is_not(tmp_path, engine):
    with hifigan_rt.load(write(padded(5, 5), tmp_path / "a.onnx"), engine=engine) as vocoder:
        assert vocoder(tiny_mel(20)).shape == (30 * HOP,)
        for call in (vocoder.stream, lambda: vocoder(tiny_mel(5), segment_frames=4)):
            with pytest.raises(ConfigError, match="layers"):
                call()
    with pytest.raises(OutputMismatch, match="scaled by 32768"):
        hifigan_rt.load(write(scaled(32768), tmp_path / "b.onnx"), engine=engine)


def test_an_openvino_ir(tmp_path):
    import openvino

    openvino.save_model(openvino.convert_model(folder_of(tmp_path, padded(5, 5))), tmp_path / "foreign.xml")
    with pytest.raises(OutputMismatch, match="gives 216 samples"):
        hifigan_rt.load(tmp_path / "foreign.xml")


def test_an_openvino_ir_whose_weights_were_never_written(tmp_path):
    import openvino

    openvino.save_model(openvino.convert_model(folder_of(tmp_path, plain())), tmp_path / "foreign.xml")
    weights = tmp_path / "foreign.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(OutputMismatch, match="zeros alone"):
        hifigan_rt.load(tmp_path / "foreign.xml")


def test_silence_of_a_scaled_graph_is_found_by_its_share():
    rule = output_rule.OutputRule("file", None)
    samples = np.linspace(-3, 3, 800, dtype=np.float32)[None]
    with pytest.raises(OutputMismatch, match="up to 3, 67 % of them beyond 1"):
        rule.check(samples, 100)
    rule.check(samples / 3, 100)
    rule.check(np.where(np.arange(800) % 50 == 0, 5, samples / 3), 100)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"sample_rate": 16000}, "sample_rate=16000 in the file and 8000 in the config"),
        ({"sampling_rate": "16000.0"}, "sample_rate=16000 in the file"),
        ({"hop_size": 10, "n_mels": 80}, "hop_length=10 in the file and 8 in the config; num_mels=80 .* and 10"),
        ({"n_fft": 1024, "win_length": "1024"}, "n_fft=1024 .*; win_length=1024"),
    ],
)
def test_metadata_that_contradict_the_config(tmp_path, said, text):
    path = folder_of(tmp_path, plain(), **said)
    with pytest.raises(ConfigError, match=f"the config is not that of .*: {text}"):
        hifigan_rt.load(path, engine="onnxruntime")


def test_metadata_that_agree_or_say_nothing_of_it(tmp_path):
    said = {"sample_rate": 8000, "hop_length": "8", "n_fft": "64.0", "win_size": "nan", "sampling_rate": "8 kHz"}
    hifigan_rt.load(folder_of(tmp_path, plain(), **said), engine="onnxruntime").close()


def test_our_own_export_keeps_its_layers_and_costs_no_trial(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(SessionEngine, "_run", lambda *arguments: runs.append(arguments))
    path = write(build_onnx(tiny_generator(), TINY.mel), tmp_path / "own.onnx")
    # Corrected by the weights, before the export.
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY) | {"resblock": "2", "fmin": 50}))
    vocoder = hifigan_rt.load(path, engine="onnxruntime")
    assert (runs, vocoder.mel_config.fmin, vocoder.graph) == ([], 50, build_graph(TINY.generator))
    assert "the config says other layers than the file" in " ".join(vocoder.notes)
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY) | {"sampling_rate": 16000}))
    with pytest.raises(ConfigError, match="sample_rate=8000 in the file and 16000 in the config"):
        hifigan_rt.load(path, engine="onnxruntime")
