"""Overnight training of object detectors from TOML recipes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from engine.prediction.model import Model

__version__ = "0.1.0"
__all__ = ["load"]


def load(
    source: str | os.PathLike[str] | int, device: str = "auto", precision: Literal["fp32", "bf16", "auto"] = "fp32", *,
    runs_dir: str | os.PathLike[str] = "runs",
) -> Model:
    """A trained model, to be used in a notebook or a program.

    Args:
        source: A run's folder, its id, number or recipe's name within `runs_dir`, or a checkpoint file.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        precision: Number format of the convolutions and products; "bf16" is faster where the chip has it, "auto" takes
            it there.
        runs_dir: Where runs are looked for by name.

    Raises:
        engine.errors.EngineError: There is no such model or device, or the model is damaged.
        TypeError: An argument is of another type.
        ValueError: There is no such precision.
    """
    if not isinstance(source, (str, os.PathLike, int)) or isinstance(source, bool):
        raise TypeError(f"a model is a run's name or a path, not {source!r}")
    if not isinstance(device, str):
        raise TypeError(f'device is a name such as "cpu", not {device!r}')
    if precision not in ("fp32", "bf16", "auto"):
        raise ValueError(f'precision is "fp32", "bf16" or "auto", not {precision!r}')
    from pathlib import Path  # noqa: PLC0415 - importing engine costs next to nothing, torch included

    from engine.prediction.model import load_model  # noqa: PLC0415

    path = Path(str(source) if isinstance(source, int) else source)
    return load_model(path, device, precision, runs_dir=Path(runs_dir))
