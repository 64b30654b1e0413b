"""What an exported file says of itself, and what is known of the machine it was measured on."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from engine import __version__
from engine.evaluation.predict import Predictor
from engine.export.gate import NumberFormat

# Where no threshold was measured.
DEFAULT_THRESHOLD = 0.5
_INPUT = "image: (height, width, 3) uint8 RGB, any size, turned as EXIF says"
_OUTPUTS = (
    "boxes_xyxy: (n, 4) float32, pixels of the image; labels: (n,) int64, places in class_names; "
    "scores: (n,) float32; best first"
)


def metadata_of(predictor: Predictor, precision: NumberFormat) -> dict[str, str]:
    """All that a program needs to use the file; every value is text, lists and tables as JSON."""
    transform: Any = predictor.detector.network.transform
    threshold, per_class = thresholds_of(predictor)
    return {
        "engine_version": __version__,
        "run": predictor.file.name,
        "epoch": str(predictor.epoch + 1),
        "arch": predictor.model.arch,
        "precision": precision,
        "class_names": json.dumps(list(predictor.class_names)),
        "threshold": f"{threshold:g}",
        "thresholds": json.dumps(per_class),
        "input": _INPUT,
        "outputs": _OUTPUTS,
        "preprocessing": json.dumps({
            "inside": True, "scale": 1 / 255, "mean": list(transform.image_mean), "std": list(transform.image_std),
            "resize": input_size(predictor), "interpolation": "bilinear", "pad_to_multiple": transform.size_divisible,
        }),
        "nms": "inside",
    }


def input_size(predictor: Predictor) -> dict[str, Any]:
    """To what size the model brings a photo: one, or bounds of its sides."""
    transform: Any = predictor.detector.network.transform
    if transform.fixed_size is not None:
        return {"fixed": list(transform.fixed_size)}
    return {"min": transform.min_size[-1], "max": transform.max_size}


def thresholds_of(predictor: Predictor) -> tuple[float, dict[str, float]]:
    """The score from which a detection counts, overall and by class: those of the run's best F1, where known."""
    measured = predictor.thresholds
    return (measured.overall, measured.per_class) if measured is not None else (DEFAULT_THRESHOLD, {})


def machine() -> str:
    """The processor that times were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def sha256_of(path: Path) -> str:
    """A file's checksum.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
