"""TorchScript, for programs that have torch and torchvision but not engine; float32 only."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from engine.errors import EngineError
from engine.export.forward import Forward
from engine.export.gate import Pixels
from engine.export.tracing import example_photo, quietly
from engine.models.detector import Detection
from engine.rundir import write_bytes_atomic

METADATA = "metadata.json"


def write_torchscript(forward: Forward, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a traced model; its metadata is an extra file within.

    Raises:
        OSError: The disk is full or can't be written.
    """
    buffer = io.BytesIO()
    with quietly(), torch.no_grad():
        traced = torch.jit.trace(forward, (example_photo(),), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={METADATA: json.dumps(dict(metadata))})
    write_bytes_atomic(path, buffer.getvalue())


def open_torchscript(path: Path) -> tuple[Callable[[Pixels], Detection], list[str]]:
    """A TorchScript file as a function from pixels to detections, and its class names.

    Raises:
        EngineError: The file is missing, damaged or not one of ours (X404).
    """
    extra = {METADATA: ""}
    try:
        with quietly():
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        names = json.loads(json.loads(extra[METADATA])["class_names"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise EngineError.of(
            "X404", str(path), "the file is missing, damaged or not a TorchScript model that `engine export` wrote",
            "export the model again",
        ) from error

    def look(pixels: Pixels) -> Detection:
        with torch.no_grad():
            boxes, labels, scores = module(torch.from_numpy(pixels.copy()))
        return {"boxes_xyxy": boxes, "labels": labels, "scores": scores}

    return look, names
