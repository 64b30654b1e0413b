"""Make a file of a run's best model, let the gate judge it, and only then give it its name.

Nothing is overwritten unasked. A file that the gate refuses is kept beside, under another name.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch

from engine import __version__
from engine.annotations import ImageRecord, load_rgb, read_split
from engine.errors import DataError, EngineError
from engine.evaluation.predict import Predictor, load_predictor
from engine.export.forward import forward_of
from engine.export.gate import TOLERANCES, GateReport, NumberFormat, Pixels, Tolerance, run_gate, spread
from engine.export.metadata import input_size, machine, metadata_of, sha256_of, thresholds_of
from engine.modelfile import ModelFile
from engine.models.detector import Detection
from engine.recipe.load import read_resolved
from engine.recipe.schema import Recipe
from engine.rundir import RunDir, write_bytes_atomic

Target = Literal["onnx", "torchscript"]
Tell = Callable[[str, int, int], None]

_ONNX_LIBRARIES = ("onnx", "onnxruntime", "onnxslim")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants exported.

    Attributes:
        target: Kind of file.
        precision: Number format of the network.
        num_images: Validation images that the gate looks at, spread over all; 0 takes all.
        num_calibration: Training images that int8 takes its ranges from; 0 takes all.
        max_ap_drop: AP that may be lost; None for the number format's own limit.
        overwrite: Replace a former export.
    """

    target: Target = "onnx"
    precision: NumberFormat = "fp32"
    num_images: int = 200
    num_calibration: int = 100
    max_ap_drop: float | None = None
    overwrite: bool = False

    @property
    def tolerance(self) -> Tolerance:
        """What the gate allows."""
        usual = TOLERANCES[self.precision]
        return usual if self.max_ap_drop is None else replace(usual, ap_drop=self.max_ap_drop)


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was judged.

    Attributes:
        path: Where it is: under its name, or put aside when it was refused.
        report: What the gate found.
        facts: All that the JSON beside the file says.
        reused: It was there already, made of the same checkpoint.
    """

    path: Path
    report: GateReport
    facts: dict[str, Any]
    reused: bool = False


def _tell_nobody(_what: str, _done: int, _total: int) -> None:
    """Default of `tell`."""


def export_model(file: ModelFile, wish: Wish, tell: Tell = _tell_nobody) -> Exported:
    """Export a model.

    Args:
        file: The checkpoint; it must lie in its run, whose validation images the gate needs.
        wish: What is wanted.
        tell: Told what is being done, and how far it is.

    Raises:
        EngineError: A library is missing (X401), the file is there already (X402), the number format isn't there
            for this kind of file (X403), the model can't be written (X405), or there are no images to judge or
            calibrate by (X406).
        OSError: The disk is full.
    """
    run_dir = run_of(file)
    require_libraries(wish)
    path = run_dir.export(wish.target, wish.precision)
    if path.exists() and not wish.overwrite:
        raise EngineError.of(
            "X402", str(path), "this model was exported before", "use it, or replace it with --overwrite"
        )
    recipe = read_resolved(run_dir.resolved)
    judges = spread(_records(recipe, "val"), wish.num_images)
    predictor = load_predictor(file, "cpu")
    with _beside(path) as fresh:
        tell("exporting", 0, 1)
        _write(predictor, recipe, wish, fresh, tell)
        exported, _ = opened(fresh, wish.target)
        report = run_gate(
            predictor.detector, exported, judges, wish.tolerance, lambda done, total: tell("comparing", done, total)
        )
        kept = path if report.passed else run_dir.export_rejected(path)
        facts = _facts(report, wish, fresh, predictor)
        write_bytes_atomic(run_dir.export_gate(kept), json.dumps(facts, indent=2).encode())
        fresh.replace(kept)
    return Exported(kept, report, facts)


def former_export(file: ModelFile, wish: Wish) -> Exported | None:
    """An export that passed the gate, of the same checkpoint and unchanged since; None without one."""
    run_dir = run_of(file)
    path = run_dir.export(wish.target, wish.precision)
    try:
        facts = json.loads(run_dir.export_gate(path).read_bytes())
        report = msgspec.convert({one.name: facts[one.name] for one in fields(GateReport)}, GateReport)
        checksums = facts["file_sha256"], facts["checkpoint_sha256"]
        same = checksums == (sha256_of(path), sha256_of(file.checkpoint))
    except (OSError, ValueError, KeyError, TypeError):  # msgspec's are ValueErrors
        return None
    return Exported(path, report, facts, reused=True) if same and report.passed else None


def check_file(file: ModelFile, path: Path, wish: Wish, tell: Tell = _tell_nobody) -> GateReport:
    """Let the gate judge a file that is there, such as one that other tools have changed since.

    Raises:
        EngineError: The file is damaged or not one of ours (X404), of other classes (X407), or there are no images
            to judge by (X406).
    """
    require_libraries(wish)
    recipe = read_resolved(run_of(file).resolved)
    exported, names = opened(path, wish.target)
    if tuple(names) != recipe.classes.names:
        told = f"its classes are {', '.join(names)}, the run's {', '.join(recipe.classes.names)}"
        raise EngineError.of("X407", str(path), told, "name the run that the file was exported from")
    judges = spread(_records(recipe, "val"), wish.num_images)
    detector = load_predictor(file, "cpu").detector
    return run_gate(detector, exported, judges, wish.tolerance, lambda done, total: tell("comparing", done, total))


def require_libraries(wish: Wish) -> None:
    """Refuse, before anything is done, what can't be made here.

    Raises:
        EngineError: A library is missing (X401), or the number format isn't there for this kind of file (X403).
    """
    if wish.target != "onnx":
        if wish.precision != "fp32":
            raise EngineError.of(
                "X403", "", f"{wish.precision} is made for ONNX only", "use --to onnx, or leave --precision out"
            )
        return
    missing = [name for name in _ONNX_LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError.of(
            "X401", "", f"ONNX needs libraries that aren't installed: {', '.join(missing)}",
            'pip install "detection-engine[export]"',
        )


def run_of(file: ModelFile) -> RunDir:
    """The run that a checkpoint lies in.

    Raises:
        EngineError: It lies in none (X406).
    """
    if file.run_dir is None:
        raise EngineError.of(
            "X406", str(file.checkpoint), "no recipe lies by it, so there are no images to judge an export by",
            "name a run, or put the run's resolved.json beside the checkpoint",
        )
    return file.run_dir


def opened(path: Path, target: Target) -> tuple[Callable[[Pixels], Detection], list[str]]:
    """An exported file as a function from pixels to detections, and its class names.

    Raises:
        EngineError: The file is damaged or not one of ours (X404).
    """
    if target == "torchscript":
        from engine.export.torchscript import open_torchscript as open_it  # noqa: PLC0415 - like the other
    else:
        from engine.export.onnxfile import open_onnx as open_it  # noqa: PLC0415 - an optional extra
    return open_it(path)


# --- making ---


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path`, gone afterwards unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _write(predictor: Predictor, recipe: Recipe, wish: Wish, path: Path, tell: Tell) -> None:
    forward = forward_of(predictor.detector)
    metadata = metadata_of(predictor, wish.precision)
    if wish.target == "torchscript":
        from engine.export.torchscript import write_torchscript  # noqa: PLC0415 - like the other

        write_torchscript(forward, path, metadata)
        return
    from engine.export.onnxfile import onnx_of, write_onnx  # noqa: PLC0415 - an optional extra

    model = onnx_of(forward)
    if wish.precision != "fp32":
        from engine.export.precision import to_fp16, to_int8  # noqa: PLC0415 - an optional extra

        model = to_fp16(model) if wish.precision == "fp16" else to_int8(model, _calibration(recipe, wish, tell))
    write_onnx(model, path, metadata)


def _records(recipe: Recipe, split: Literal["train", "val"]) -> Sequence[ImageRecord]:
    read = read_split(recipe.dataset, recipe.classes, split)
    if not read.records:
        first = next((str(problem) for problem in read.problems), "there are none")
        raise EngineError.of(
            "X406", recipe.name, f"no {split} image of the run can be read: {first}",
            "put the dataset back where the recipe says it is",
        )
    return read.records


def _calibration(recipe: Recipe, wish: Wish, tell: Tell) -> Iterator[Pixels]:
    chosen = spread(_records(recipe, "train"), wish.num_calibration)
    for done, record in enumerate(chosen, 1):
        try:
            yield np.asarray(load_rgb(record.image_path, apply_exif=record.apply_exif), dtype=np.uint8)
        except DataError:
            continue  # the ranges come from the others
        tell("calibrating", done, len(chosen))


def _facts(report: GateReport, wish: Wish, path: Path, predictor: Predictor) -> dict[str, Any]:
    return {
        **report.as_dict(), "target": wish.target, "precision": wish.precision, "size_bytes": path.stat().st_size,
        "run": predictor.file.name, "arch": predictor.model.arch, "epoch": predictor.epoch + 1,
        "input_size": input_size(predictor), "threshold": thresholds_of(predictor)[0],
        "class_names": list(predictor.class_names), "file_sha256": sha256_of(path),
        "checkpoint_sha256": sha256_of(predictor.file.checkpoint), "engine_version": __version__,
        "torch_version": torch.__version__, "machine": machine(), "threads": torch.get_num_threads(),
    }
