"""Networks in smaller numbers, and everything about boxes in float32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.export.precision import to_fp16

WEIGHTS = np.full((1, 1, 1, 1), 1.00048828125, np.float32)  # between two numbers of float16


def graph_of(*nodes: onnx.NodeProto, **weights: NDArray[np.float32]) -> onnx.ModelProto:
    """Nodes from "image" to "boxes_xyxy", both float32, (1, 1, 2, 2)."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in ("image", "boxes_xyxy")]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(model: onnx.ModelProto, image: float) -> float:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"image": np.full((1, 1, 2, 2), image, np.float32)})
    assert found.dtype == np.float32
    return float(found.flat[0])


def node(kind: str, inputs: list[str], output: str, scope: str) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{scope}/{kind}_{output}")


def test_values_between_nodes_about_boxes_are_never_rounded() -> None:
    model = to_fp16(graph_of(
        node("Conv", ["image", "weights"], "features", "/backbone"), node("Relu", ["features"], "active", "/backbone"),
        node("Add", ["active", "offset"], "moved", ""), node("Mul", ["moved", "one"], "boxes_xyxy", ""),
        weights=np.ones((1, 1, 1, 1), np.float32), offset=np.float32(2048.25).reshape(1), one=np.float32(1).reshape(1),
    ))  # fmt: skip
    assert run(model, 0.5) == 2048.75  # float16 knows 2048 and 2050
    types = {one.name: one.data_type for one in model.graph.initializer}
    assert types == {"weights_float16": TensorProto.FLOAT16, "offset": TensorProto.FLOAT, "one": TensorProto.FLOAT}


def test_the_network_itself_is_in_float16() -> None:
    model = to_fp16(graph_of(
        node("Conv", ["image", "weights"], "features", "/backbone"), node("Relu", ["features"], "boxes_xyxy", "/head"),
        weights=WEIGHTS,
    ))
    assert run(model, 1.0) == 1.0
    casts = [one for one in model.graph.node if one.op_type == "Cast"]
    assert len(casts) == 2  # none between two nodes of the network


def test_a_value_and_a_weight_that_both_kinds_of_nodes_want() -> None:
    model = to_fp16(graph_of(
        node("Conv", ["image", "weights"], "features", "/backbone"),
        node("Relu", ["features"], "active", "/backbone"), node("Conv", ["features", "weights"], "plain", ""),
        node("Add", ["active", "plain"], "boxes_xyxy", ""),
        weights=WEIGHTS,
    ))
    assert run(model, 1.0) == 1.0 + float(WEIGHTS.flat[0])


def test_shapes_are_taken_of_values_in_either_format() -> None:
    model = to_fp16(graph_of(
        node("Conv", ["image", "weights"], "features", "/backbone"), node("Shape", ["features"], "size", "/backbone"),
        node("Shape", ["image"], "other", ""), node("Reshape", ["features", "size"], "reshaped", "/backbone"),
        node("Reshape", ["reshaped", "other"], "boxes_xyxy", ""), weights=WEIGHTS,
    ))
    assert run(model, 1.0) == 1.0
    assert len([one for one in model.graph.node if one.op_type == "Cast"]) == 2


def test_last_layers_stay_in_float32() -> None:
    model = to_fp16(graph_of(
        node("Relu", ["image"], "active", "/rpn_head"),
        node("Conv", ["active", "weights"], "boxes_xyxy", "/rpn_head/bbox_pred"), weights=WEIGHTS,
    ))
    assert run(model, 1.0) == float(WEIGHTS.flat[0])
