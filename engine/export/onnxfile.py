"""ONNX: from a detector to a file that says what it is, and back to something that detects.

The TorchScript-based exporter is used on purpose (docs/decisions.md tells why): it follows sizes that only
the photo decides, and results that may be empty.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import onnxslim
import torch

from engine.errors import EngineError
from engine.export.forward import Forward
from engine.export.gate import Pixels
from engine.export.runner import OUTPUTS, Model, ModelError
from engine.export.tracing import example_photo, quietly
from engine.models.detector import Detection
from engine.rundir import write_bytes_atomic

INPUT = "image"
# The oldest that has all that is needed, so that older onnxruntimes read it.
OPSET = 17
# What the exporter, the simplifier and the checker are known to raise.
_FAULTS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, torch.onnx.OnnxExporterError,
    onnx.checker.ValidationError, onnx.shape_inference.InferenceError,
)


def onnx_of(forward: Forward) -> onnx.ModelProto:
    """Trace a forward pass into a simplified ONNX model.

    Raises:
        EngineError: The exporter or the simplifier gave up (X405).
    """
    dynamic = {INPUT: {0: "height", 1: "width"}} | {name: {0: "num_found"} for name in OUTPUTS}
    try:
        with tempfile.TemporaryDirectory() as folder, quietly(), torch.no_grad():
            traced = Path(folder) / "traced.onnx"
            torch.onnx.export(
                forward, (example_photo(),), traced, dynamo=False, opset_version=OPSET, input_names=[INPUT],
                output_names=list(OUTPUTS), dynamic_axes=dynamic,
            )
            model: onnx.ModelProto = onnxslim.slim(onnx.load(traced))
            onnx.checker.check_model(model)
    except _FAULTS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EngineError.of(
            "X405", "", f"the model can't be written as ONNX: {reason}",
            "try the newest torch and onnx that engine allows, or --to torchscript",
        ) from error
    return model


def write_onnx(model: onnx.ModelProto, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a model with what a program needs to know about it.

    Raises:
        OSError: The disk is full or can't be written.
    """
    onnx.helper.set_model_props(model, dict(metadata))
    model.producer_name = "engine"
    write_bytes_atomic(path, model.SerializeToString())


def open_onnx(path: Path) -> tuple[Callable[[Pixels], Detection], list[str]]:
    """An ONNX file as a function from pixels to detections, and its class names.

    Raises:
        EngineError: The file is missing, damaged or not one of ours (X404).
    """
    try:
        model = Model(path, threads=torch.get_num_threads())
    except ModelError as error:
        found = str(error).removeprefix(f"{path}: ")
        raise EngineError.of("X404", str(path), found, "export the model again") from error

    def look(pixels: Pixels) -> Detection:
        found = model.detect(pixels)
        return {
            "boxes_xyxy": torch.from_numpy(found.boxes_xyxy), "labels": torch.from_numpy(found.labels),
            "scores": torch.from_numpy(found.scores),
        }

    return look, model.class_names
