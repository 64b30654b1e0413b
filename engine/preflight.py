"""Everything that can be found wrong before the first step: recipes, datasets, weights.

`preflight` looks at all recipes and reports all problems at once; nothing is written.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.annotations import Audit, audit
from engine.catalogue import ARCHS, WeightsFile
from engine.errors import Problem, RecipeError, Where, has_errors
from engine.recipe.load import LoadedRecipe, load_recipes
from engine.recipe.schema import Model

# Long enough for a slow line, short enough that an offline check doesn't hang.
_REACH_TIMEOUT_S = 4.0


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


def preflight(
    paths: Sequence[Path], *, overrides: Sequence[str] = (), on_progress: Progress | None = None
) -> list[Report]:
    """Check recipes, their datasets and their weights.

    Args:
        paths: Recipe files.
        overrides: `--set` values, "key=value".
        on_progress: Told a recipe's file name, images looked at and images in all.

    Returns:
        One report a file, in order. A dataset shared by several recipes is read once.
    """
    audits: dict[str, Audit] = {}
    reports = []
    for path in paths:
        try:
            recipes = load_recipes(path, overrides=overrides)
        except RecipeError as error:
            reports.append(Report(path, (), tuple(error.problems), None))
            continue
        reports.append(_examine(path, recipes, audits, on_progress))
    return reports


def _examine(
    path: Path, recipes: Sequence[LoadedRecipe], audits: dict[str, Audit],
    on_progress: Progress | None,
) -> Report:
    problems: dict[Problem, None] = {}  # a set that keeps its order: a sweep's runs share most problems
    found: Audit | None = None
    for loaded in recipes:
        dataset, classes = loaded.recipe.dataset, loaded.recipe.classes
        key = dataset.model_dump_json() + classes.model_dump_json()
        if key not in audits:
            tell = (lambda done, total: on_progress(path.name, done, total)) if on_progress else None
            audits[key] = audit(dataset, classes, on_progress=tell)
        found = audits[key]
        where = Where(str(path), item="model.weights")
        for problem in (*found.problems, *check_weights(loaded.recipe.model, where)):
            problems[problem] = None
    return Report(path, tuple(recipes), tuple(problems), found)


def hub_checkpoints_dir() -> Path:
    """Where torch hub keeps weights files.

    Source:
        torch.hub.get_dir, told again because importing torch takes seconds.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))  # noqa: PTH118 - "~" is expanded next
    return Path(home).expanduser() / "hub" / "checkpoints"


def check_weights(model: Model, where: Where) -> list[Problem]:
    """Whether the weights that a model asks for are at hand or can be had."""
    arch = ARCHS[model.arch]
    if model.weights_path is not None:
        if model.weights_path.is_file():
            return []
        return [
            Problem(
                "W103", where, f"there is no weights file {model.weights_path}",
                'correct the path (it is relative to the recipe), or choose "coco", "imagenet" or "none"',
            )
        ]
    published = {"coco": arch.coco, "imagenet": arch.imagenet}.get(model.weights)
    if published is None or (hub_checkpoints_dir() / published.name).is_file():
        return []
    return [_check_reachable(published, where)]


def _check_reachable(weights: WeightsFile, where: Where) -> Problem:
    target = hub_checkpoints_dir() / weights.name
    request = urllib.request.Request(weights.url, method="HEAD")  # noqa: S310 - an https address of our own table
    try:
        with urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S):  # noqa: S310
            pass
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return Problem(
            "W101", where, f"{weights.name} isn't on this machine and can't be fetched ({reason})",
            f"fetch {weights.url} elsewhere and copy it to {target}, or set model.weights to a file",
        )
    return Problem(
        "W100", where, f"{weights.name} ({weights.size_mb} MB) will be fetched when the run starts",
        f"nothing to do; it is kept as {target}", "note",
    )
