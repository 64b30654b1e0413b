"""The device bundle: a folder or zip that detects with onnxruntime, numpy and Pillow alone.

It holds the model, its labels, a runner, and a README with what was measured and what suits which device.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError
from engine.export import runner
from engine.export.exporting import Exported
from engine.export.readme import readme
from engine.rundir import write_atomic, write_bytes_atomic

MODEL, RUNNER, LABELS, README, REQUIREMENTS, GATE = (
    "model.onnx", "detect.py", "labels.txt", "README.md", "requirements.txt", "gate.json",
)
NAMES = frozenset({MODEL, RUNNER, LABELS, README, REQUIREMENTS, GATE})
_REQUIREMENTS = "onnxruntime>=1.17\nnumpy>=1.24\npillow>=9.4\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: The folder or zip.
        size_bytes: Of all that is in it.
    """

    path: Path
    size_bytes: int


def require_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a place where something is that isn't a former bundle.

    Raises:
        EngineError: Something is there already (X409).
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if overwrite and _is_bundle(path):
        return
    fix = "name another place" if overwrite else "name another place, or replace a former bundle with --overwrite"
    raise EngineError.of("X409", str(path), "something is there already", fix)


def make_bundle(exported: Exported, path: Path, *, overwrite: bool = False) -> Bundle:
    """Put a bundle together.

    Args:
        exported: An ONNX model that passed the gate.
        path: A new or empty folder, or a file that ends in .zip.
        overwrite: Replace a former bundle.

    Raises:
        EngineError: Something else is there already (X409).
        OSError: The disk is full or can't be written.
    """
    require_free(path, overwrite=overwrite)
    parts = _parts(exported)
    if path.suffix.lower() == ".zip":
        _write_zip(parts, path)
    else:
        for name, content in parts.items():
            write_bytes_atomic(path / name, content())
    files = [path] if path.is_file() else [path / name for name in parts]
    return Bundle(path, sum(file.stat().st_size for file in files))


def _parts(exported: Exported) -> dict[str, Callable[[], bytes]]:
    """What is in a bundle; the model is read only when it is written."""
    gate = exported.path.with_name(f"{exported.path.name}.gate.json")
    labels = "".join(f"{name}\n" for name in exported.facts["class_names"])
    return {
        MODEL: exported.path.read_bytes,
        RUNNER: Path(runner.__file__).read_bytes,
        LABELS: labels.encode,
        README: readme(exported).encode,
        REQUIREMENTS: _REQUIREMENTS.encode,
        GATE: gate.read_bytes,
    }


def _write_zip(parts: dict[str, Callable[[], bytes]], path: Path) -> None:
    folder = path.stem
    with tempfile.TemporaryFile() as scratch:
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(f"{folder}/{name}", content())
        scratch.seek(0)
        write_atomic(path, lambda file: shutil.copyfileobj(scratch, file))


def _is_bundle(path: Path) -> bool:
    """Whether nothing but a bundle is there."""
    if path.is_dir():
        return {one.name for one in path.iterdir()} <= NAMES
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(name).name for name in archive.namelist()} == NAMES
    except (OSError, zipfile.BadZipFile):
        return False
