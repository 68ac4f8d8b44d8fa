from hifigan_rt.errors import did_you_mean


def test_the_nearest_name_is_suggested_and_none_where_none_is_near():
    assert did_you_mean("openvin", ["native", "openvino"]) == "; did you mean 'openvino'?"
    assert did_you_mean("tensorrt", iter(["native", "openvino"])) == ""
    assert did_you_mean("x", []) == ""
