"""The reader of .om files against containers built by hand, in both table layouts."""

import pytest

import om_files
from hifigan_rt.engines.ascend_runtime.precision import describe_mode
from hifigan_rt.formats.om_file import OmTensor, option_of, read_om
from hifigan_rt.tools.cli.info_om import facts_of_om

ATC = "atc --soc_version=Ascend910B4"
MEL = OmTensor("mel_spec", "float32", (1, 80, -1))


@pytest.mark.parametrize("wide", [True, False])
def test_a_model_with_gears(tmp_path, wide):
    info = read_om(om_files.write(tmp_path, om_files.geared(wide=wide)))
    assert info.caveat == ""
    assert info.soc_version == "Ascend310P3"
    assert info.atc_version == "1.82.22.1.220"
    assert info.atc_cmdline == om_files.COMMAND
    assert info.precision_mode == "must_keep_origin_dtype"
    # The hidden input of the gear and the inputs of inner graphs are not the model's.
    assert info.inputs == (MEL,)
    assert info.outputs == (OmTensor("output_0", "float32", (1, 256000)),)
    assert info.dynamic_dims == ((250,), (500,), (1000,))
    assert info.input_dims_of_gears == ((1, 80, 250), (1, 80, 500), (1, 80, 1000))
    assert info.weights_bytes == 1000
    assert [part.size for part in info.partitions][1:] == [1000, 100, 0]
    assert (info.sub_models, info.dynamic_shape) == (1, False)
    content = (tmp_path / "model.om").read_bytes()
    assert info.size_bytes == len(content)
    weights = next(part for part in info.partitions if part.kind == "weights")
    assert content[weights.start : weights.start + weights.size] == b"\x11" * 1000


def test_the_list_of_inputs_comes_before_the_definition(tmp_path):
    """Its numbers for dtypes are those of the C interface, not of the protobuf."""
    info = read_om(om_files.write(tmp_path, om_files.geared(inout=True)))
    assert info.inputs == (MEL,)
    assert info.outputs == (OmTensor("squeeze:0:wavs", "float16", (1, -1)),)
    assert info.dynamic_dims == ((300,), (600,))


def test_gears_that_only_the_command_tells(tmp_path):
    definition = om_files.model_def(om_files.ATTRIBUTES, [om_files.MEL, om_files.OUTPUT])
    info = read_om(om_files.write(tmp_path, om_files.container([(om_files.MODEL_DEF, definition)])))
    assert info.dynamic_dims == ((250,), (500,), (1000,))


def test_a_static_model(tmp_path):
    mel = om_files.op("mel_spec", "Data", outputs=[om_files.tensor("", 1, [8, 80, 1, 500])])
    definition = om_files.model_def({"soc_version": "Ascend910B4"}, [mel])
    info = read_om(om_files.write(tmp_path, om_files.container([(om_files.MODEL_DEF, definition)], wide=False)))
    assert info.inputs == (OmTensor("mel_spec", "float32", (8, 80, 1, 500)),)
    assert info.dynamic_dims == info.input_dims_of_gears == ()
    assert info.precision_mode == info.atc_cmdline == ""


@pytest.mark.parametrize(
    ("attributes", "label"),
    [
        ({}, "unknown precision (the file does not tell atc's command)"),
        ({"atc_cmdline": "atc --model=g.onnx --framework=5"}, "float16 (force_fp16, the default of atc)"),
        ({"atc_cmdline": "atc --precision_mode=force_fp32"}, "float16 products, float32 sums (force_fp32)"),
    ],
)
def test_a_precision_is_told_by_the_command_alone(tmp_path, attributes, label):
    definition = om_files.model_def({"soc_version": "Ascend310P3", **attributes}, [om_files.MEL, om_files.OUTPUT])
    path = om_files.write(tmp_path, om_files.container([(om_files.MODEL_DEF, definition)]))
    assert facts_of_om(path)["computes_in"] == label


def test_sub_models_follow_each_other(tmp_path):
    """The inputs are those of the first; the chip may be told by any."""
    root = om_files.model_def({}, [om_files.MEL, om_files.OUTPUT])
    part = om_files.model_def({"soc_version": "Ascend310P3"}, [om_files.INNER])
    content = om_files.container(
        [(om_files.MODEL_DEF, root), (om_files.KERNELS, b"k" * 23)],
        [(om_files.MODEL_DEF, part), (om_files.WEIGHTS, b"w" * 16)],
        [(om_files.MODEL_DEF, part), (om_files.WEIGHTS, b"w" * 17)],
        dynamic=1,
    )
    info = read_om(om_files.write(tmp_path, content))
    assert (info.sub_models, info.dynamic_shape, info.weights_bytes) == (3, True, 33)
    assert info.inputs == (MEL,)
    assert info.soc_version == "Ascend310P3"


def test_a_caveat_of_the_maker(tmp_path):
    info = read_om(om_files.write(tmp_path, om_files.converted(caveat="made by hand")))
    assert info.caveat == "made by hand"
    assert info.inputs == (OmTensor("mel_spec", "float32", (1, 10, -1)),)
    assert info.dynamic_dims == ((250,), (500,))


def test_an_attribute_that_holds_a_whole_file_is_passed_over(tmp_path):
    definition = om_files.model_def({"kernels": "k" * (2 << 20), "soc_version": "Ascend310P3"}, [om_files.MEL])
    info = read_om(om_files.write(tmp_path, om_files.container([(om_files.MODEL_DEF, definition)])))
    assert dict(info.attributes) == {"soc_version": "Ascend310P3"}


def test_text_from_a_file_cannot_steer_the_terminal(tmp_path):
    definition = om_files.model_def({"soc_version": "Ascend\x1b[2J310"}, [om_files.MEL])
    info = read_om(om_files.write(tmp_path, om_files.container([(om_files.MODEL_DEF, definition)])))
    assert info.soc_version == "Ascend?[2J310"


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ("atc --dynamic_dims=250;500 --log=error", "250;500"),
        ("atc '--dynamic_dims=250;500'", "250;500"),
        ('atc --dynamic_dims "250;500"', "250;500"),
        ("atc -dynamic_dims 250", "250"),
        ("atc --dynamic_dims", ""),
        ("atc --dynamic_dims_x=1", ""),
        ('atc --dynamic_dims="250;500', '"250;500'),
        ("", ""),
    ],
)
def test_options_in_a_command_line(command, value):
    assert option_of(command, "dynamic_dims") == value


@pytest.mark.parametrize("mode", ["must_keep_origin_dtype", "origin"])
def test_a_mode_that_keeps_types_is_no_float32_where_the_mels_are_float16(mode):
    kept = f"the ONNX file's own types, float16 of its mels ({mode})"
    for chip in ("Ascend310P3", "Ascend910B4"):
        assert describe_mode(mode, chip, ATC, "float16") == kept
    of_atc = f"{ATC} --input_fp16_nodes=mel_spec"
    assert describe_mode(mode, "Ascend910B4", of_atc, "float16") == f"float32, convolutions in HF32 ({mode})"
    assert describe_mode(mode, "Ascend910B4", ATC, "float32") == f"float32, convolutions in HF32 ({mode})"
