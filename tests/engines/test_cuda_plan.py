"""The plan of engine `cuda` by hand-worked cases: rows, order of weights, shared memory, files of kernels."""

import sys
import zipfile

import numpy as np
import pytest

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import cuda_archive, cuda_kernels
from hifigan_rt.engines.cuda_plan import SHARED_BYTES, build_plan
from hifigan_rt.engines.cuda_rows import ValueRows, rows_of_values
from hifigan_rt.engines.cuda_weights import columns_of, exponent_of, halves_of, pack
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.graph import Layer, build_graph
from native_generators import V1_LIKE, lopsided, make_case, random_case

V1 = GeneratorConfig(512, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3)


def test_rows_of_v1():
    rows = rows_of_values(build_graph(V1))
    assert rows["conv_pre"] == ValueRows(1, 3, 0)
    assert rows["ups.0"] == ValueRows(8, 3 * 8 + 4, 0)
    # 11 taps with dilations 1, 3 and 5, each followed by 11 taps without.
    assert rows["resblocks.2.convs2.2"] == ValueRows(8, 28 + 5 * (1 + 3 + 5) + 3 * 5, 0)
    assert rows["conv_post"] == ValueRows(256, 3258, 0)


def test_float16_reads_two_planes_up_to_the_first_upsampling():
    values = build_plan(make_case(V1_LIKE, 1).generator, "float16").values
    assert [value.planes for value in values[:2]] == [2, 2]  # the mel and the first layer's value
    assert {value.planes for value in values[2:]} == {1}


@pytest.mark.parametrize("seed", range(30))
def test_rows_are_those_of_the_graph(seed):
    graph = (lopsided(random_case(seed), seed) if seed % 2 else random_case(seed)).generator.graph
    last = rows_of_values(graph)[graph.layers[-1].name]
    assert (last.rate, last.lag) == (graph.hop_length, -graph.receptive_field.first_sample)
    assert all(frames * last.rate + last.surplus == graph.output_length(frames) for frames in (1, 2, 9))


def conv(kind, c_in, c_out, kernel, stride=1, padding=(0, 0)):
    return Layer(
        "layer", kind, c_in, c_out, kernel, stride, 1, padding, None, bias=True, inputs=("mel",), residual=None
    )


def test_a_transposed_convolution_is_a_convolution_of_its_phases():
    # One channel, rate 2, kernel 5: row t takes taps of the same parity.
    weight = np.arange(1.0, 6).reshape(1, 1, 5)
    columns = columns_of(conv("conv_transpose", 1, 1, 5, stride=2), weight)
    assert columns.shape == (16, 1, 3)
    np.testing.assert_array_equal(columns[0, 0], [5, 3, 1])  # rows before, before that, its own: taps 4, 2, 0
    np.testing.assert_array_equal(columns[8, 0], [0, 4, 2])
    assert not columns[1:8].any()


def test_weights_lie_in_the_order_of_the_products():
    """By PTX's own drawing of mma.m16n8k16: lane l holds column l / 4, channels 2 (l % 4), + 1, + 8 and + 9."""
    columns = np.random.default_rng(0).standard_normal((32, 40, 3)).astype(np.float16)
    packed = pack(columns.astype(np.float32), 32, 1, 32)
    # [group][tap][step][16 columns][lane][8]
    order = packed.reshape(2, 3, 2, 2, 32, 8)
    whole = np.zeros((32, 64, 3), np.float16)
    whole[:, :40] = columns
    for group, tap, step, pair, lane, number in np.ndindex(order.shape):
        column = pair * 16 + number // 4 * 8 + lane // 4
        channel = group * 32 + step * 16 + lane % 4 * 2 + number // 2 % 2 * 8 + number % 2
        assert order[group, tap, step, pair, lane, number] == whole[column, channel, tap]


def test_values_are_rounded_as_numpy_rounds_them():
    rng = np.random.default_rng(3)
    sizes = rng.uniform(1, 2, 20_000) * 2.0 ** rng.integers(-40, 15, 20_000) * rng.choice([-1, 1], 20_000)
    halfway = (np.arange(4096) + 0.5) * 2.0**-24
    edges = [0.0, -0.0, 2.0**-14, np.nextafter(2.0**-14, 0, dtype=np.float32), 2.0**-25, 65504.0, -1e-30]
    values = np.concatenate([sizes, halfway, -halfway, edges]).astype(np.float32).reshape(-1, 1)
    np.testing.assert_array_equal(halves_of(values).view(np.uint16), values.astype(np.float16).view(np.uint16))


def test_two_planes_are_the_value_to_22_bits():
    columns = np.random.default_rng(1).uniform(1, 2, (16, 16, 1)).astype(np.float32)
    high, low = pack(columns, 16, 2, 16).reshape(2, -1).astype(np.float64)
    one = pack(columns, 16, 1, 16)
    np.testing.assert_array_equal(high, one)
    order = np.argsort(pack(np.arange(256.0).reshape(16, 16, 1), 16, 1, 16))
    np.testing.assert_allclose((high + low)[order], columns.reshape(-1), rtol=2.0**-22)


@pytest.mark.parametrize(("largest", "exponent"), [(1.0, 0), (1.99, 0), (2.0, -1), (0.3, 2), (1e-9, 30), (0.0, 0)])
def test_weights_are_scaled_to_1_and_above(largest, exponent):
    assert exponent_of(np.array([largest / 2, -largest])) == exponent


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_no_layer_asks_for_more_shared_memory_than_any_card_has(precision):
    wide = GeneratorConfig(64, (4, 2), (1000, 4), "1", (301, 3), ((1, 11), (1, 99)), num_mels=200)
    for case in (make_case(wide, 2), *(random_case(seed) for seed in range(8))):
        for launch in build_plan(case.generator, precision).launches:
            assert 0 < launch.shared_bytes <= SHARED_BYTES
            assert all(branch.columns % max(launch.columns, 1) == 0 for branch in launch.branches)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_is_loaded_ahead_of_the_widest_layer_lies_in_the_weights(precision):
    # 16,384 columns, behind which there is hardly anything.
    wide = GeneratorConfig(256, (128,), (128,), "2", (1,), ((1,),), num_mels=4, conv_post_kernel_size=1)
    plan = build_plan(make_case(wide, 1).generator, precision)
    planes = 2 if precision == "float32" else 1
    branch = next(branch for launch in plan.launches for branch in launch.branches if branch.columns == 16384)
    after_the_last_step = branch.weights + 256 * 16384 * 2 * planes
    assert after_the_last_step + 3 * 16384 * 32 * planes <= len(plan.weights)


def test_more_resblocks_than_the_kernels_average():
    many = GeneratorConfig(8, (2,), (4,), "2", (3,) * 17, ((1,),) * 17, num_mels=4)
    with pytest.raises(EngineError, match=r"at most 16 values, and layer conv_post reads 17: use engine 'torch'"):
        build_plan(make_case(many, 2).generator, "float32")


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        (80, "sm_80.cubin"),
        (87, "forward.ptx"),
        (89, "sm_80.cubin"),
        (90, "sm_90a.cubin"),
        (100, "forward.ptx"),
        (120, "sm_120.cubin"),
        (121, "sm_120.cubin"),
    ],
)
def test_a_card_gets_code_of_its_generation(capability, name, tmp_path, monkeypatch):
    path = tmp_path / "cuda_kernels.zip"
    members = ("sm_80.cubin", "sm_90a.cubin", "sm_120.cubin", "forward.ptx")
    cuda_archive.write(path, {member: member.encode() for member in members})
    monkeypatch.setattr(cuda_kernels, "archive", lambda: path)
    assert cuda_kernels.image_for(capability) == (name.encode(), name)


def test_intermediate_code_comes_back_as_it_was(tmp_path):
    code = b"""\t.reg .f32 \t%f<4892>;
    mov.u64 %SPL, __local_depot0;
    mov.u32 %r2470, %ctaid.x;
$L__BB0_2:
    @%p11 st.local.f32 [%rd805+4], %f4345; ld.param.u32 %r805, [%rd7+-88]; fma.rn.f32 %f9, %f9, 0f00000000, %f4345;
"""
    cuda_archive.write(tmp_path / "kernels.zip", {cuda_archive.FORWARD: code})
    assert cuda_archive.read(tmp_path / "kernels.zip", cuda_archive.FORWARD) == code


def test_a_python_without_lzma(tmp_path, monkeypatch):
    cuda_archive.write(tmp_path / "kernels.zip", {"sm_80.cubin": b"code"})
    monkeypatch.setattr(cuda_kernels, "archive", lambda: tmp_path / "kernels.zip")
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(EngineUnavailable, match=r"Python's module lzma, and this Python was built without: .* liblzma"):
        cuda_kernels.image_for(80)


def test_files_of_kernels_that_are_wrong(tmp_path, monkeypatch):
    path = tmp_path / "cuda_kernels.zip"
    path.write_bytes(b"no archive")
    monkeypatch.setattr(cuda_kernels, "archive", lambda: path)
    with pytest.raises(EngineUnavailable, match=r"cannot be read from .*cuda_kernels.zip: .*; install it again"):
        cuda_kernels.image_for(80)
    for member, content in (("sm_80.cubin.xz", b"no code"), ("sm_80.cubin", b"packed by nobody")):
        with zipfile.ZipFile(path, "w") as kernels:
            kernels.writestr(member, content)
        with pytest.raises(EngineUnavailable, match=r"cannot be read from .*cuda_kernels.zip: .*; install it again"):
            cuda_kernels.image_for(80)
    monkeypatch.setattr(cuda_kernels, "archive", lambda: None)
    with pytest.raises(EngineUnavailable, match=r"which this build does not hold: build it with HIFIGAN_RT_CUDA=1 pip"):
        cuda_kernels.image_for(80)
