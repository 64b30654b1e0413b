"""Smaller number formats: convolutions and fully connected layers in float16 or int8, boxes in float32.

What is made smaller are the backbone and the heads, up to their last layers. Sizes, anchors, decoding and
suppression stay as they are: a pixel off in a photo of 800 is more than 8 bits can tell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.transformers import float16

from engine.export.onnxfile import INPUT
from engine.export.tracing import quietly

_LAYERS = ("Conv", "Gemm", "MatMul")
# Scopes that the exporter names nodes after; everything else is arithmetic about boxes.
_NETWORK = ("/backbone/", "/rpn_head/", "/box_head/", "/box_predictor/", "/head/")
# The last layers, whose outputs are boxes and scores.
_LAST = ("/cls_logits", "/bbox_pred", "/bbox_reg", "/bbox_ctrness", "/cls_score", "/module_list")


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its network in float16; input and outputs are as before."""
    keep = [node.name for node in model.graph.node if not _is_inner(node.name)]
    with quietly():
        half: onnx.ModelProto = float16.convert_float_to_float16(
            model, keep_io_types=True, node_block_list=keep,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, "Shape", "Gather", "Slice", "Reshape", "Concat"],
        )
    return half


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
