"""Smaller number formats: convolutions and fully connected layers in float16 or int8, boxes in float32.

What is made smaller are the backbone and the heads, up to their last layers. Sizes, anchors, decoding and
suppression stay as they are: a pixel off in a photo of 800 is more than 8 bits can tell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization

from engine.export.onnxfile import INPUT
from engine.export.tracing import quietly

_LAYERS = ("Conv", "Gemm", "MatMul")
# Scopes that the exporter names nodes after; everything else is arithmetic about boxes.
_NETWORK = ("/backbone/", "/rpn_head/", "/box_head/", "/box_predictor/", "/head/")
# The last layers, whose outputs are boxes and scores.
_LAST = ("/cls_logits", "/bbox_pred", "/bbox_reg", "/bbox_ctrness", "/cls_score", "/module_list")

# What has no float16 on every device, or holds its values in attributes.
_FLOAT32_ONLY = frozenset({"Cast", "Constant", "ConstantOfShape", "Resize"})


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its network in float16; input and outputs are as before.

    Every value between two nodes that stay in float32 stays so too. Converters round all of them on their way, and a
    float16 tells pixels beyond 1024 by whole ones only, boxes that suppression has moved apart by class among them.
    """
    with quietly():
        half = onnx.shape_inference.infer_shapes(model)
    graph = half.graph
    halver = _Halver.of(graph)
    nodes = [made for node in graph.node for made in halver.halved(node)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in (*graph.initializer, *halver.weights) if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return half


@dataclass(frozen=True, slots=True)
class _Halver:
    """Puts a network's nodes into float16, with casts where values come from and go to others.

    Attributes:
        floats: Names of the float32 values that nodes make or take.
        initializers: Weights by name.
        outside: Names of values that are wanted in float32: by other nodes, or as outputs.
        halves: Values that are there in float16.
        weights: Weights in float16.
    """

    floats: frozenset[str]
    initializers: Mapping[str, onnx.TensorProto]
    outside: frozenset[str]
    halves: set[str] = field(default_factory=set)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _Halver:
        """For a graph whose types are inferred."""
        values = (*graph.input, *graph.output, *graph.value_info)
        floats = {one.name for one in values if one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        weights = {one.name: one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
        known = frozenset(floats | weights.keys())
        # A shape is the same in any number format.
        others = (node for node in graph.node if node.op_type != "Shape" and not _is_halved(node, known))
        outside = {name for node in others for name in node.input} | {one.name for one in graph.output}
        return cls(known, weights, frozenset(outside))

    def halved(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """What takes a node's place."""
        if not _is_halved(node, self.floats):
            if node.op_type == "Shape" and node.input[0] in self.halves:
                node.input[0] = _half(node.input[0])
            yield node
            return
        made = [name for name in node.output if name in self.floats]
        for name in dict.fromkeys(node.input):
            if name in self.floats and name not in self.halves:
                yield from self._half_of(name)
        self.halves.update(made)
        for names in (node.input, node.output):
            names[:] = [_half(name) if name in self.halves else name for name in names]
        yield node
        for name in made:
            if name in self.outside:
                yield onnx.helper.make_node("Cast", [_half(name)], [name], to=onnx.TensorProto.FLOAT)

    def _half_of(self, name: str) -> Iterator[onnx.NodeProto]:
        self.halves.add(name)
        if name in self.initializers:
            values = onnx.numpy_helper.to_array(self.initializers[name]).astype(np.float16)
            self.weights.append(onnx.numpy_helper.from_array(values, _half(name)))
        else:
            yield onnx.helper.make_node("Cast", [name], [_half(name)], to=onnx.TensorProto.FLOAT16)


def _half(name: str) -> str:
    return f"{name}_float16"


def _is_halved(node: onnx.NodeProto, floats: frozenset[str]) -> bool:
    """Whether a node belongs to the network and computes in its numbers."""
    return _is_inner(node.name) and node.op_type not in _FLOAT32_ONLY and not floats.isdisjoint(node.output)


def to_int8(model: onnx.ModelProto, photos: Iterable[NDArray[np.uint8]]) -> onnx.ModelProto:
    """The model with weights and activations of its layers in 8 bits.

    Args:
        model: In float32, simplified.
        photos: Training photos, (H, W, 3) uint8 RGB, from which the ranges of activations are taken.
    """
    chosen = [node.name for node in model.graph.node if node.op_type in _LAYERS and _is_inner(node.name)]
    with tempfile.TemporaryDirectory() as folder, quietly():
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source, target, _Photos(photos), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=list(_LAYERS), nodes_to_quantize=chosen,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            # A single photo's outlier must not stretch the scale for all others.
            extra_options={"CalibMovingAverage": True},
        )
        return onnx.load(target)


def _is_inner(name: str) -> bool:
    return name.startswith(_NETWORK) and not any(part in name for part in _LAST)


class _Photos(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Photos one after another, as onnxruntime asks for them."""

    def __init__(self, photos: Iterable[NDArray[np.uint8]]) -> None:
        self._photos: Iterator[NDArray[np.uint8]] = iter(photos)

    def get_next(self) -> dict[str, Any] | None:
        """The next photo, or None when there are no more."""
        photo = next(self._photos, None)
        return None if photo is None else {INPUT: np.ascontiguousarray(photo)}
