"""Rewrites ONNX files as other exporters would have written them: the same network in other nodes and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Rewriting = Callable[[ModelProto], None]


def arrays(model: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def set_array(model: ModelProto, name: str, array: np.ndarray) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def insert(graph: GraphProto, nodes: Iterable[NodeProto], before: int) -> None:
    all_nodes = list(graph.node)
    all_nodes[before:before] = nodes
    del graph.node[:]
    graph.node.extend(all_nodes)


def lose_names(model: ModelProto) -> None:
    """Number all values and nodes, as exporters that fold constants do."""
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {}

    def renamed(name: str) -> str:
        return name if not name or name in kept else names.setdefault(name, f"onnx::Thing_{len(names)}")

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    for index, node in enumerate(graph.node):
        node.name = f"n{index}"
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]


def constants_as_nodes(model: ModelProto) -> None:
    """Hold all weights in Constant nodes, as tf2onnx and old exporters do."""
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer]
    del model.graph.initializer[:]
    insert(model.graph, nodes, 0)


def identities(model: ModelProto) -> None:
    """Hand on each weight and each activation through an Identity."""
    graph = model.graph
    weights = [tensor.name for tensor in graph.initializer]
    nodes = [helper.make_node("Identity", [name], [f"{name}.same"]) for name in weights]
    for node in graph.node:
        node.input[:] = [f"{name}.same" if name in weights else name for name in node.input]
        nodes.append(node)
        if node.op_type == "LeakyRelu":
            output = node.output[0]
            node.output[0] = f"{output}.inner"
            nodes.append(helper.make_node("Identity", [f"{output}.inner"], [output]))
    copies = [helper.make_node(node.op_type, node.input, node.output, node.name) for node in nodes]
    for copy, node in zip(copies, nodes, strict=True):
        copy.attribute.extend(node.attribute)
    del graph.node[:]
    graph.node.extend(copies)


def typed_fields(model: ModelProto) -> None:
    """Write weights into fields of floats and integers instead of bytes."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        if array.dtype == np.int64:
            tensor.int64_data.extend(array.reshape(-1).tolist())
        else:
            tensor.float_data.extend(array.reshape(-1).tolist())


def clamp_audio(model: ModelProto) -> None:
    """Clamp the audio behind its tanh to -1 and 1, as icefall's exports for sherpa-onnx do, which changes nothing."""
    graph = model.graph
    tanh = next(node for node in graph.node if node.op_type == "Tanh")
    output, tanh.output[0] = tanh.output[0], "unclamped"
    graph.initializer.extend(
        numpy_helper.from_array(np.float32(bound), name) for bound, name in ((-1, "least"), (1, "most"))
    )
    clip = helper.make_node("Clip", ["unclamped", "least", "most"], [output], "clip")
    insert(graph, [clip], list(graph.node).index(tanh) + 1)


def halves(*, raw: bool) -> Rewriting:
    """Round weights to float16 and cast them back in the graph; the shared divisors of means stay."""

    def rewrite(model: ModelProto) -> None:
        casts = []
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype != np.float32:
                continue
            name = tensor.name
            half = array.astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            if not raw:
                tensor.ClearField("raw_data")
                tensor.int32_data.extend(half.view(np.uint16).reshape(-1).tolist())
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        insert(model.graph, casts, 0)

    return rewrite


def weight_norm(model: ModelProto) -> None:
    """Compute weights from a direction and a length, as PyTorch's exporter does without folding constants."""
    nodes = []
    for tensor in list(model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        if array.ndim != 3:
            continue
        name = tensor.name
        norm = np.sqrt((array.astype(np.float64) ** 2).sum((1, 2), keepdims=True))
        tensor.CopyFrom(numpy_helper.from_array((array * 3).astype(np.float32), f"{name}_v"))
        model.graph.initializer.append(numpy_helper.from_array(norm.astype(np.float32), f"{name}_g"))
        nodes += [
            helper.make_node("ReduceL2", [f"{name}_v"], [f"{name}.norm"], axes=[1, 2], keepdims=1),
            helper.make_node("Div", [f"{name}_v", f"{name}.norm"], [f"{name}.direction"]),
            helper.make_node("Mul", [f"{name}.direction", f"{name}_g"], [name]),
        ]
    insert(model.graph, nodes, 0)


def time_major(model: ModelProto) -> None:
    """Take mels as [B, T, M], as transformers and PaddleSpeech do, and normalise them."""
    graph = model.graph
    mel = graph.input[0].name
    bands = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    for node in graph.node:
        node.input[:] = ["mel.normal" if name == mel else name for name in node.input]
    rng = np.random.default_rng(0)
    for name, array in (("some.mean", rng.normal(size=bands)), ("some.scale", rng.uniform(0.5, 2, bands))):
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    nodes = [
        helper.make_node("Sub", [mel, "some.mean"], ["mel.centred"]),
        helper.make_node("Div", ["mel.centred", "some.scale"], ["mel.scaled"]),
        helper.make_node("Transpose", ["mel.scaled"], ["mel.normal"], perm=[0, 2, 1]),
    ]
    insert(graph, nodes, 0)
    graph.input[0].CopyFrom(helper.make_tensor_value_info(mel, TensorProto.FLOAT, ["B", "T", bands]))


def separate_padding(mode: str) -> Rewriting:
    """Pad before each convolution in a node of its own, as PyTorch does for padding that is not of zeros."""

    def rewrite(model: ModelProto) -> None:
        nodes = []
        for node in model.graph.node:
            pads = next((item for item in node.attribute if item.name == "pads"), None)
            if node.op_type == "Conv" and pads is not None and any(pads.ints):
                left, right = pads.ints
                pads.ints[:] = [0, 0]
                amounts = numpy_helper.from_array(np.array([0, 0, left, 0, 0, right]), f"{node.name}.pads")
                model.graph.initializer.append(amounts)
                padded = f"{node.name}.padded"
                nodes.append(helper.make_node("Pad", [node.input[0], amounts.name], [padded], mode=mode))
                node.input[0] = padded
            nodes.append(node)
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)

    return rewrite


def trimmed(model: ModelProto) -> None:
    """Pad causal convolutions at both ends and keep as many rows as their input has, as ParallelWaveGAN does."""
    graph, nodes = model.graph, []
    for name, value in (("of time", 2), ("nothing", [0]), ("time", [2]), ("each", [1])):
        graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    for node in graph.node:
        nodes.append(node)
        pads = next((item for item in node.attribute if item.name == "pads"), None)
        if node.op_type != "Conv" or pads is None or not any(pads.ints):
            continue
        pads.ints[1] = pads.ints[0]
        output, source = node.output[0], node.input[0]
        node.output[0] = f"{output}.longer"
        nodes += [
            helper.make_node("Shape", [source], [f"{output}.shape"]),
            helper.make_node("Gather", [f"{output}.shape", "of time"], [f"{output}.rows"]),
            helper.make_node("Unsqueeze", [f"{output}.rows", "nothing"], [f"{output}.end"]),
            helper.make_node("Slice", [f"{output}.longer", "nothing", f"{output}.end", "time", "each"], [output]),
        ]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def sums_from_zeros(model: ModelProto) -> None:
    """Begin the sums of residual blocks with zeros of the same shape, as NeMo does."""
    position = next(index for index, node in enumerate(model.graph.node) if node.output[0] == "resblocks.1.sum")
    node = model.graph.node[position]
    first = node.input[0]
    node.input[0] = "begun"
    nodes = [
        helper.make_node("Shape", [first], ["zeros.shape"]),
        helper.make_node("ConstantOfShape", ["zeros.shape"], ["zeros"]),
        helper.make_node("Add", ["zeros", first], ["begun"]),
    ]
    insert(model.graph, nodes, position)


def change_attribute(op_type: str, index: int, name: str, value: object) -> Rewriting:
    """Another value of an attribute of the n-th node of a kind."""

    def rewrite(model: ModelProto) -> None:
        node = [node for node in model.graph.node if node.op_type == op_type][index]
        kept = [item for item in node.attribute if item.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return rewrite
