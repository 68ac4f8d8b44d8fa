from dataclasses import replace

import numpy as np
import pytest

from golden.seeded import seeded_weights
from hifigan_rt.config import PRESETS, GeneratorConfig
from hifigan_rt.errors import CheckpointError, ConfigError, MelError, WeightMismatch
from hifigan_rt.graph import MAX_FRAMES, Layer, LeakyRelu, bind, build_graph

TINY = GeneratorConfig(4, (2,), (4,), "2", (3,), ((1,),), num_mels=2)


# Parameters: the paper. Multiply-accumulates: VOCODE (26.41 G per second, V1). Reach: NaN runs of streaming_hifigan.
@pytest.mark.parametrize(
    ("preset", "parameters", "macs", "first_sample", "last_sample", "frames"),
    [
        ("v1", 13_926_017, 307_052_544, -3258, 3513, 13),
        ("v2", 925_985, 19_255_296, -3258, 3513, 13),
        ("v3", 1_462_273, 22_482_944, -2582, 2837, 11),
    ],
)
def test_published_figures(preset, parameters, macs, first_sample, last_sample, frames):
    graph = build_graph(PRESETS[preset].generator)
    assert graph.parameter_count == parameters
    assert graph.macs_per_frame == macs
    field = graph.receptive_field
    assert (field.first_sample, field.last_sample) == (first_sample, last_sample)
    assert (field.left_frames, field.right_frames) == (frames, frames)


# FORMATS of the family: rates, kernels, dilations and the reach that independent projects measured.
@pytest.mark.parametrize(
    ("rates", "kernels", "first_sample", "last_sample", "frames"),
    [
        ((4, 4, 4, 4), (8, 8, 8, 8), -6041, 6296, 24),
        ((8, 8, 2, 2, 2), (16, 16, 4, 4, 4), -6574, 7085, 13),
        ((8, 8, 4, 2), (16, 16, 4, 4), -6328, 6839, 13),
    ],
)
def test_reach_of_other_published_configs(rates, kernels, first_sample, last_sample, frames):
    field = build_graph(GeneratorConfig(512, rates, kernels, "1", (3, 7, 11), ((1, 3, 5),) * 3)).receptive_field
    assert (field.first_sample, field.last_sample) == (first_sample, last_sample)
    assert (field.left_frames, field.right_frames) == (frames, frames)


def test_hand_worked_cost():
    # conv_pre 2*4*7 per frame; ups 4*2*4 per frame; two rows per frame: resblock 2*2*3, conv_post 2*1*7.
    assert build_graph(TINY).macs_per_frame == 56 + 32 + 2 * (12 + 14)


@pytest.mark.parametrize(("frames", "samples"), [(1, 256), (2, 512), (831, 831 * 256)])
def test_output_length_is_whole_hops_for_even_stages(frames, samples):
    assert build_graph(PRESETS["v1"].generator).output_length(frames) == samples


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32])
def test_output_length_of_a_number_of_numpys_does_not_overflow(kind):
    frames = min(np.iinfo(kind).max, 10_000_000)
    samples = build_graph(PRESETS["v1"].generator).output_length(kind(frames))
    assert (type(samples), samples) == (int, frames * 256)


def test_output_length_gains_a_sample_at_each_odd_stage():
    graph = build_graph(GeneratorConfig(8, (2, 3), (5, 6), "2", (3,), ((1,),)))
    # (10 * 2 + 1) * 3 + 1: kernel - rate is 3 in both stages.
    assert graph.output_length(10) == 64


@pytest.mark.parametrize("frames", [0, -1, MAX_FRAMES + 1])
def test_output_length_refuses_absurd_frames(frames):
    with pytest.raises(MelError, match=rf"T={frames} frames: it must have from 1 to"):
        build_graph(TINY).output_length(frames)


def test_names_equal_the_originals_parameters():
    names = list(build_graph(PRESETS["v3"].generator).weight_shapes())
    assert names[:4] == ["conv_pre.weight", "conv_pre.bias", "ups.0.weight", "ups.0.bias"]
    assert "resblocks.8.convs.1.weight" in names
    assert "resblocks.11.convs1.2.bias" in build_graph(PRESETS["v1"].generator).weight_shapes()


def test_the_layers_are_the_network():
    """Two stages of two blocks of type 1, layer by layer."""
    graph = build_graph(
        GeneratorConfig(8, (4, 3), (8, 6), "1", (3, 5), ((1, 3), (2,)), num_mels=2, layers_without_bias=("conv_post",))
    )
    inner = LeakyRelu(0.1)
    assert [(layer.name, layer.inputs, layer.residual) for layer in graph.layers[:9]] == [
        ("conv_pre", ("mel",), None),
        ("ups.0", ("conv_pre",), None),
        ("resblocks.0.convs1.0", ("ups.0",), None),
        ("resblocks.0.convs2.0", ("resblocks.0.convs1.0",), "ups.0"),
        ("resblocks.0.convs1.1", ("resblocks.0.convs2.0",), None),
        ("resblocks.0.convs2.1", ("resblocks.0.convs1.1",), "resblocks.0.convs2.0"),
        ("resblocks.1.convs1.0", ("ups.0",), None),
        ("resblocks.1.convs2.0", ("resblocks.1.convs1.0",), "ups.0"),
        ("ups.1", ("resblocks.0.convs2.1", "resblocks.1.convs2.0"), None),
    ]
    assert [layer.activation for layer in graph.layers] == [None, *[inner] * (len(graph.layers) - 2), LeakyRelu(0.01)]
    assert [layer.name for layer in graph.layers if not layer.bias] == ["conv_post"]
    assert graph.layers[4] == Layer(
        "resblocks.0.convs1.1",
        "conv",
        4,
        4,
        3,
        1,
        3,
        (3, 3),
        inner,
        bias=True,
        inputs=("resblocks.0.convs2.0",),
        residual=None,
    )
    assert graph.layers[8] == Layer(
        "ups.1", "conv_transpose", 4, 2, 6, 3, 1, (1, 1), inner, bias=True, inputs=graph.layers[8].inputs, residual=None
    )


def test_every_value_is_freed_once_after_its_last_reader():
    graph = build_graph(PRESETS["v1"].generator)
    there = {"mel"}
    for layer in graph.layers:
        assert there.issuperset(layer.inputs)
        assert layer.residual is None or layer.residual in there
        there.add(layer.name)
        freed = graph.last_reads[layer.name]
        assert there.issuperset(freed)
        there.difference_update(freed)
        assert len(there) <= 5  # the upsampled rows, the results of two blocks, and two inside the third
    assert there == {"conv_post"}


class TestBind:
    def weights(self):
        return seeded_weights(build_graph(TINY).weight_shapes(), 0)

    def test_lists_every_difference_in_one_error(self):
        weights = self.weights()
        del weights["conv_post.bias"], weights["ups.0.weight"]
        weights["speaker.weight"] = np.zeros(3)
        weights["conv_pre.weight"] = np.zeros((4, 3, 7))
        with pytest.raises(WeightMismatch) as caught:
            bind(build_graph(TINY), weights)
        assert caught.value.missing == ("ups.0.weight", "conv_post.bias")
        assert caught.value.unexpected == ("speaker.weight",)
        assert caught.value.misshapen == {"conv_pre.weight": ((4, 3, 7), (4, 2, 7))}
        assert str(caught.value) == (
            "the weights do not fit the architecture: 2 missing, 1 unexpected, 1 of another shape\n"
            "  missing     ups.0.weight\n"
            "  missing     conv_post.bias\n"
            "  unexpected  speaker.weight\n"
            "  shape       conv_pre.weight: found [4, 3, 7], needed [4, 2, 7]"
        )

    @pytest.mark.parametrize(
        ("stored", "bound"), [("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
    )
    def test_dtypes(self, stored, bound):
        weights = {name: array.astype(stored) for name, array in self.weights().items()}
        generator = bind(build_graph(TINY), weights)
        for name, array in generator.weights.items():
            assert array.dtype == bound
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, weights[name])

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_refuses_values_that_are_not_finite(self, value):
        weights = self.weights()
        weights["conv_post.weight"][0, 1, 2] = value
        with pytest.raises(CheckpointError, match=r"conv_post.weight holds 1 values that are NaN or infinite"):
            bind(build_graph(TINY), weights)

    @pytest.mark.parametrize("layer", ["conv_pre", "ups.0", "conv_post"])
    def test_refuses_a_layer_of_zeros_that_all_of_a_mel_goes_through(self, layer):
        weights = self.weights()
        weights[f"{layer}.weight"][:] = 0
        with pytest.raises(CheckpointError, match=rf"{layer}.weight is zero throughout, so that every mel gives the"):
            bind(build_graph(TINY), weights)

    def test_takes_a_residual_layer_of_zeros(self):
        weights = self.weights()
        weights["resblocks.0.convs.0.weight"][:] = 0
        bind(build_graph(TINY), weights)

    def test_equals_itself_alone(self):
        generator = bind(build_graph(TINY), self.weights())
        assert generator == generator
        assert generator != bind(build_graph(TINY), self.weights())

    def test_refuses_values_beyond_float32(self):
        weights = self.weights()
        weights["conv_post.weight"] = weights["conv_post.weight"].astype(np.float64)
        weights["conv_post.weight"][0, 1, 2] = -1e39
        with pytest.raises(CheckpointError, match=r"conv_post.weight holds values up to 1e\+39 in size"):
            bind(build_graph(TINY), weights)

    @pytest.mark.parametrize("dtype", ["int32", "complex64", "bool"])
    def test_refuses_other_dtypes(self, dtype):
        weights = self.weights()
        weights["conv_post.bias"] = weights["conv_post.bias"].astype(dtype)
        with pytest.raises(CheckpointError, match=rf"conv_post.bias has dtype {dtype}: float16, float32 or float64"):
            bind(build_graph(TINY), weights)


def test_a_layer_without_bias_that_is_not_there():
    with pytest.raises(ConfigError, match="layers_without_bias names conv_mid: the generator has no such layer"):
        build_graph(replace(TINY, layers_without_bias=("conv_mid", "conv_pre")))


def test_layers_that_mirror_need_more_frames_than_they_add():
    graph = build_graph(replace(TINY, padding_mode="reflect", resblock_kernel_sizes=(11,)))
    # conv_pre and conv_post add 3 rows, the residual block 5 at two rows a frame.
    assert graph.least_frames == 4
    assert graph.output_length(4) == 8
    with pytest.raises(MelError, match=r"mel has T=3 frames: .* needs at least 4"):
        graph.output_length(3)
    assert build_graph(replace(TINY, padding_mode="reflect", conv_pre_kernel_size=1)).least_frames == 2
    assert build_graph(replace(TINY, padding_mode="replicate")).least_frames == 1


def test_rows_that_are_kept():
    odd = GeneratorConfig(8, (5, 3), (10, 6), "2", (3,), ((1,),))
    assert build_graph(odd).output_length(4) == (4 * 5 + 1) * 3 + 1
    kept = build_graph(replace(odd, upsample_paddings=((3, 2), (2, 1))))
    assert [kept.output_length(frames) for frames in (1, 4)] == [15, 60]
    causal = build_graph(replace(odd, causal=True))
    assert causal.output_length(4) == 60
    assert (causal.receptive_field.first_sample, causal.receptive_field.right_frames) == (0, 0)
    assert [layer.padding for layer in causal.layers if layer.kind == "conv_transpose"] == [(0, 5), (0, 3)]


def test_the_matrix_of_a_linear_layer_is_a_convolution():
    graph = build_graph(replace(TINY, pre_linear=3))
    assert (graph.num_mels, graph.layers[0].name, graph.weight_shapes()["lin_pre.weight"]) == (3, "lin_pre", (2, 3, 1))
    weights = seeded_weights(graph.weight_shapes(), 0)
    weights["lin_pre.weight"] = weights["lin_pre.weight"][:, :, 0]
    assert bind(graph, weights).weights["lin_pre.weight"].shape == (2, 3, 1)
