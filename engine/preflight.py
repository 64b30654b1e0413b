"""Everything that can be found wrong before the first step: recipes, datasets, and what the night needs.

`preflight` looks at all recipes and reports all problems at once; nothing is queued or trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.annotations import Audit, audit, vanishing_boxes
from engine.annotations.codes import FOLDER_MISSING
from engine.annotations.findings import in_order
from engine.annotations.records import SPLITS
from engine.catalogue import ARCHS
from engine.errors import Problem, RecipeError, Where, has_errors
from engine.needs import WeightsCheck, allocator_problems, device_problems, disk_problems, memory_problems
from engine.recipe.load import LoadedRecipe, load_recipes
from engine.recipe.schema import Model, Recipe
from engine.tracking.facts import Wishes
from engine.tracking.make import missing_packages, tracker_missing


@dataclass(frozen=True, slots=True)
class Report:
    """What was found about one recipe file.

    Attributes:
        path: The recipe file.
        recipes: The runs it makes; empty when it can't be read.
        problems: All of them.
        audit: Its dataset as read; None when it wasn't reached.
    """

    path: Path
    recipes: tuple[LoadedRecipe, ...]
    problems: tuple[Problem, ...]
    audit: Audit | None

    @property
    def ok(self) -> bool:
        """Whether its runs may be queued."""
        return not has_errors(self.problems)


Progress = Callable[[str, int, int], None]

# Optimizer -> its default learning rate, and one far above all that detectors are published with, for any batch.
_LEARNING_RATES = {"sgd": (0.005, 1.0), "adamw": (0.0001, 0.05)}


def preflight(
    paths: Sequence[Path],
    *,
    overrides: Sequence[str] = (),
    on_progress: Progress | None = None,
    runs_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> list[Report]:
    """Check recipes, their datasets, and whether this machine has what their runs need.

    Args:
        paths: Recipe files.
        overrides: `--set` values, "key=value".
        on_progress: Told a recipe's file name, images looked at and images in all.
        runs_dir: Where the runs will be kept; None leaves out whether they have room there.
        cache_dir: Where to remember what was found in datasets; None to remember nothing.

    Returns:
        One report a file, in order. A dataset shared by several recipes is read once.
    """
    examiner = _Examiner(on_progress, cache_dir)
    reports = [examiner.examine(path, overrides) for path in paths]
    common = memory_problems()
    if runs_dir is not None:
        queueable = [loaded.recipe for report in reports if report.ok for loaded in report.recipes]
        common += disk_problems(runs_dir, queueable)
    return [_with(report, common) if report.ok and report.recipes else report for report in reports]


def _with(report: Report, problems: Sequence[Problem]) -> Report:
    """A report with problems that all recipes share, errors still first."""
    return replace(report, problems=in_order([*problems, *report.problems]))


@dataclass(frozen=True, slots=True)
class _Examiner:
    """Looks at one recipe file after another and at nothing twice."""

    on_progress: Progress | None
    cache_dir: Path | None
    weights: WeightsCheck = field(default_factory=WeightsCheck)
    audits: dict[str, Audit] = field(default_factory=dict)

    def examine(self, path: Path, overrides: Sequence[str]) -> Report:
        """Everything about one recipe file but what concerns all of them."""
        try:
            recipes = load_recipes(path, overrides=overrides)
        except RecipeError as error:
            return Report(path, (), tuple(error.problems), None)
        problems: dict[Problem, None] = {}  # a set that keeps its order: a sweep's runs share most problems
        found: Audit | None = None
        seen: set[tuple[int, Model, str, str]] = set()
        for loaded in recipes:
            recipe = loaded.recipe
            found = self._audit(path, recipe)
            problems |= dict.fromkeys(_rate_problems(loaded))
            asked = (id(found), recipe.model, recipe.hardware.device, recipe.hardware.allocator)
            if asked not in seen:  # the runs of a sweep mostly need the same
                seen.add(asked)
                problems |= dict.fromkeys([*_named_in(loaded, found.problems), *self._of_one_run(loaded, found)])
        return Report(path, tuple(recipes), in_order(problems), found)

    def _audit(self, path: Path, recipe: Recipe) -> Audit:
        key = recipe.dataset.model_dump_json() + recipe.classes.model_dump_json()
        if key not in self.audits:
            progress = self.on_progress
            tell = (lambda done, total: progress(path.name, done, total)) if progress else None
            self.audits[key] = audit(recipe.dataset, recipe.classes, cache_dir=self.cache_dir, on_progress=tell)
        return self.audits[key]

    def _of_one_run(self, loaded: LoadedRecipe, found: Audit) -> list[Problem]:
        recipe, model = loaded.recipe, loaded.recipe.model
        vanishing = vanishing_boxes(
            found, recipe.classes.names, min_size=model.input_min_size, max_size=model.input_max_size,
            stretch=ARCHS[model.arch].family == "ssd",
        )
        return [
            *vanishing,
            *self.weights.problems(model, _place(loaded, "model.weights")),
            *device_problems(recipe.hardware, _place(loaded, "hardware.device")),
            *allocator_problems(recipe.hardware, _place(loaded, "hardware.allocator")),
            *_tracker_problems(loaded),
        ]


def _rate_problems(loaded: LoadedRecipe) -> list[Problem]:
    """A learning rate that is out of all proportion; that of smaller slips only steps can tell."""
    optimizer = loaded.recipe.optimizer
    usual, greatest = _LEARNING_RATES[optimizer.name]
    if optimizer.lr <= greatest:
        return []
    found = f"learning rate {optimizer.lr:g}: above {greatest:g}, {optimizer.name} hardly ever trains a detector"
    fix = f"{usual:g} is usual with {optimizer.name}"
    return [Problem("T309", _place(loaded, "optimizer.lr"), found, fix, "warning")]


def _tracker_problems(loaded: LoadedRecipe) -> list[Problem]:
    """Trackers that are asked for and not installed."""
    asked = loaded.recipe.tracking
    wishes = Wishes(asked.tensorboard, asked.mlflow or "", asked.wandb or "")
    return [tracker_missing(name, _place(loaded, f"tracking.{name}")) for name in missing_packages(wishes)]


def _place(loaded: LoadedRecipe, key: str) -> Where:
    """Where a key of a recipe was written; the recipe itself for a default or a `--set`."""
    source = loaded.sources.get(key)
    if source is None or not source.path:
        return Where(str(loaded.path), item=key)
    return Where(source.path, source.value_line or source.line, source.value_column, item=key)


def _named_in(loaded: LoadedRecipe, problems: Sequence[Problem]) -> list[Problem]:
    """The problems, those about a path that leads nowhere with the recipe's line that names it."""
    named: dict[str, str] = {}
    for split in SPLITS:
        for root in loaded.recipe.dataset.roots(split):
            for part in ("images", "annotations"):
                key = f"dataset.{split}.{part}"
                if key in loaded.sources:
                    named[str(getattr(root, part))] = f"named by {_place(loaded, key)}"
    return [
        replace(problem, where=replace(problem.where, item=named[problem.where.path]))
        if problem.code == FOLDER_MISSING and problem.where.path in named and not problem.where.item
        else problem
        for problem in problems
    ]
