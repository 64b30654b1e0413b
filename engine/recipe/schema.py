"""The frozen `Recipe`: every key a recipe may hold, its type, range, default and meaning.

Strict on purpose: an unknown key or a value of the wrong type is an error, never a guess. Each
field's description is what `docs/recipe-reference.md` prints. The sections are in `engine.recipe.sections`.
"""

from __future__ import annotations

from pydantic import Field

from engine.recipe.sections.base import ContradictionError, Fault, Section
from engine.recipe.sections.dataset import Classes, Dataset, SplitName, SplitPaths
from engine.recipe.sections.model import WEIGHTS_WORDS, Model
from engine.recipe.sections.running import AskedPrecision, Hardware, Precision, Previews, Queue, Recovery, Tracking
from engine.recipe.sections.training import (
    Augmentation,
    EarlyStopping,
    Evaluation,
    Metric,
    Optimizer,
    Schedule,
    Training,
)

__all__ = [
    "WEIGHTS_WORDS", "AskedPrecision", "Augmentation", "Classes", "ContradictionError", "Dataset", "EarlyStopping",
    "Evaluation", "Fault", "Hardware", "Metric", "Model", "Optimizer", "Precision", "Previews", "Queue", "Recipe",
    "Recovery", "Schedule", "Section", "SplitName", "SplitPaths", "Tracking", "Training",
]


class Recipe(Section):
    """One training run, whole."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        examples=["desk-r50"],
        json_schema_extra={"words": "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"},
    )
    """Name of the run: letters, digits, dot, dash and underscore."""
    dataset: Dataset
    classes: Classes
    model: Model = Field(default_factory=Model)
    training: Training = Field(default_factory=Training)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    schedule: Schedule = Field(default_factory=Schedule)
    augmentation: Augmentation = Field(default_factory=Augmentation)
    early_stopping: EarlyStopping | None = None
    evaluation: Evaluation = Field(default_factory=Evaluation)
    previews: Previews = Field(default_factory=Previews)
    tracking: Tracking = Field(default_factory=Tracking)
    recovery: Recovery = Field(default_factory=Recovery)
    queue: Queue = Field(default_factory=Queue)
    hardware: Hardware = Field(default_factory=Hardware)
