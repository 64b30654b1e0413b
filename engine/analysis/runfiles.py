"""What a run leaves of its measuring: ground truth, detections, and what was made of them.

The worker writes the first two whenever an epoch is the best so far. The analysis is made when somebody asks
for it, and kept beside them; it knows of which files it is, so that it is never told of others.
"""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.analysis.analyse import analyse, best_thresholds
from engine.analysis.cocofile import parse_detections, parse_ground_truth, parse_info
from engine.analysis.schema import FORMAT, Analysis, Source, Speed, Thresholds
from engine.analysis.tables import Detections, GroundTruth
from engine.errors import EngineError
from engine.rundir import RunDir, write_bytes_atomic


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """Where an evaluation lies; making one touches no disk.

    Attributes:
        ground_truth: COCO's ground truth.
        detections: COCO's list of results.
        analysis: The `Analysis` of both.
        plots: Folder of its pictures.
    """

    ground_truth: Path
    detections: Path
    analysis: Path
    plots: Path

    @classmethod
    def of_run(cls, run_dir: RunDir, split: str) -> EvaluationFiles:
        """Those of a split of a run."""
        return cls(
            run_dir.ground_truth(split), run_dir.detections(split), run_dir.analysis(split), run_dir.evaluation / split
        )

    @classmethod
    def in_folder(cls, folder: Path) -> EvaluationFiles:
        """Those that a person wants in a folder."""
        return cls(folder / "ground_truth.json", folder / "detections.json", folder / "analysis.json", folder)

    def written(self) -> list[Path]:
        """The three files."""
        return [self.ground_truth, self.detections, self.analysis]


class Content(NamedTuple):
    """Ground truth and detections as files hold them."""

    ground_truth: bytes
    detections: bytes

    @property
    def digest(self) -> str:
        """Tells this pair from others."""
        return f"{zlib.crc32(self.ground_truth):08x}{zlib.crc32(self.detections):08x}"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured on some images.

    Attributes:
        truth: What there was to find.
        found: What was found.
        source: By which model.
    """

    truth: GroundTruth
    found: Detections
    source: Source


def read_measured(run_dir: RunDir, split: str = "val") -> Measured | None:
    """The ground truth and detections of a split; None when it wasn't measured.

    Raises:
        DataError: The files are damaged.
        OSError: They can't be read.
    """
    files = EvaluationFiles.of_run(run_dir, split)
    content = _read(files)
    return None if content is None else _parsed(files, content)


def load_analysis(run_dir: RunDir, split: str = "val") -> Analysis | None:
    """The analysis of a split, made and kept when it is missing or of other files; None when it wasn't measured.

    Raises:
        DataError: The files are damaged.
        OSError: They can't be read.
    """
    files = EvaluationFiles.of_run(run_dir, split)
    content = _read(files)
    if content is None:
        return None
    kept = read_analysis(files.analysis)
    if kept is not None and kept.source.digest == content.digest:
        return kept
    analysis = analyse_content(content, files)
    with contextlib.suppress(OSError):  # a folder that can only be read
        save_analysis(files, analysis)
    return analysis


def read_thresholds(run_dir: RunDir, split: str = "val") -> Thresholds | None:
    """The score thresholds of the best F1; None when nothing was measured or nothing was found."""
    try:
        analysis = load_analysis(run_dir, split)
    except (EngineError, OSError):
        return None
    return None if analysis is None else thresholds_of(analysis)


def thresholds_of(analysis: Analysis) -> Thresholds | None:
    """The score thresholds of the best F1; None when nothing was found."""
    if analysis.best is None:
        return None
    overall = analysis.best.score
    return Thresholds(
        overall=overall, per_class={one.name: one.best.score if one.best else overall for one in analysis.classes}
    )


def thresholds_in(content: Content) -> Thresholds | None:
    """The score thresholds of the best F1 of what was just measured; None when nothing was found.

    Raises:
        DataError: They aren't COCO's, or don't fit together.
    """
    measured = _parsed(EvaluationFiles.in_folder(Path()), content)
    return best_thresholds(measured.truth, measured.found)


def encode_measured(
    ground_truth: dict[str, object], detections: list[dict[str, object]], *, model: str, split: str, epoch: int | None
) -> Content:
    """Ground truth and detections as they are written.

    Args:
        ground_truth: COCO's ground truth.
        detections: COCO's list of results.
        model: What to call the model.
        split: What it was measured on.
        epoch: Zero-based epoch of the weights.
    """
    info = {"model": model, "split": split, "epoch": epoch}
    return Content(msgspec.json.encode({**ground_truth, "info": info}), msgspec.json.encode(detections))


def save_measured(files: EvaluationFiles, content: Content) -> None:
    """Write ground truth and detections in one step each.

    Raises:
        OSError: The disk is full.
    """
    # Image ids name places in the split, so that detections of before fit too, should only the first be written.
    write_bytes_atomic(files.ground_truth, content.ground_truth)
    write_bytes_atomic(files.detections, content.detections)


def save_analysis(files: EvaluationFiles, analysis: Analysis) -> None:
    """Write an analysis in one step.

    Raises:
        OSError: The disk is full.
    """
    write_bytes_atomic(files.analysis, analysis_json(analysis))


def analysis_json(analysis: Analysis) -> bytes:
    """An analysis as it is written and printed."""
    return msgspec.json.format(msgspec.json.encode(analysis), indent=1)


def analyse_content(content: Content, files: EvaluationFiles, speed: Speed | None = None) -> Analysis:
    """Analyse ground truth and detections.

    Args:
        content: Both, as they are written.
        files: Where they are from, for messages.
        speed: What was measured while detecting.

    Raises:
        DataError: They aren't COCO's, or don't fit together.
    """
    measured = _parsed(files, content)
    return analyse(measured.truth, measured.found, source=measured.source, speed=speed)


def read_analysis(path: Path) -> Analysis | None:
    """An analysis as it was written; None when there is none of this version."""
    try:
        analysis = msgspec.json.decode(path.read_bytes(), type=Analysis)
    except (OSError, msgspec.DecodeError):
        return None
    return analysis if analysis.format == FORMAT else None


def _read(files: EvaluationFiles) -> Content | None:
    try:
        return Content(files.ground_truth.read_bytes(), files.detections.read_bytes())
    except FileNotFoundError:
        return None


def _parsed(files: EvaluationFiles, content: Content) -> Measured:
    truth = parse_ground_truth(content.ground_truth, str(files.ground_truth))
    found = parse_detections(content.detections, str(files.detections), truth)
    model, split, epoch = parse_info(content.ground_truth)
    source = Source(model=model or files.detections.name, split=split, epoch=epoch, digest=content.digest)
    return Measured(truth, found, source)
